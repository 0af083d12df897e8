"""Commands that faults are tried on, each the smallest that has everything it is about."""

import csv
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nas.running.words import quoted

T = TypeVar("T")
RAN = Path(__file__).resolve().parent.parent / "experiments/methods/results/matrix.csv"

QUIET = ("hardware.threads=1", "trainer.enable_progress_bar=false")
FEW = ("dataset.batch_size=16", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1", *QUIET)
RECIPE = ("recipe.num_cells=3", "recipe.init_channels=2")
CELLS = ("space.num_cells=3", "space.num_nodes=2", "space.init_channels=2", *RECIPE, *FEW)
CELLS201 = (
    "space=nasbench201", "space.cells_per_stage=1", "space.init_channels=4",
    "recipe=nasbench201", "recipe.cells_per_stage=1", "recipe.init_channels=4",
)  # fmt: skip
TEXT = (
    "space=darts_rnn", "dataset=wikitext_mini", "dataset.fraction=0.1", "dataset.batch_size=16",
    "trainer.limit_train_batches=2", "trainer.limit_val_batches=2", "trainer.max_epochs=2", *QUIET,
)  # fmt: skip
SPARSE = (
    "space=dso_small", "space.levels=2", "space.init_channels=2", "recipe=dso_cifar10",
    "recipe.blocks_per_stage=[1,1,1]", "recipe.init_channels=4", "recipe.auxiliary_weight=0",
    "method.warmup_epochs=1", "method.prune_every=1", "method.gamma=1.0", *FEW, "dataset.batch_size=64",
)  # fmt: skip
STAGES = "method.stages=[{epochs: 1, partial: 2}, {epochs: 2, partial: 1, keep: 3}]"


@dataclass(frozen=True)
class Kind:
    """A command that is tried.

    Attributes:
        name: of the kind, fit for a file's name.
        command: what is started.
        overrides: what is typed; `{source}` is the folder of the run that it goes on from.
        source: the kind of that run; empty for none.
        resumes: whether it is continued; else it is repeated into a fresh folder.
        every: whether it is tried at every write, and not at a few moments alone.
        measures: names of files that hold measurements alone.
    """

    name: str
    command: str
    overrides: tuple[str, ...]
    source: str = ""
    resumes: bool = False
    every: bool = True
    measures: tuple[str, ...] = ()

    def typed(self, sources: Mapping[str, Path], run: Path) -> list[str]:
        """The words behind the command, with the folder that it is to write."""
        given = quoted(sources[self.source]) if self.source else ""
        words = [one.replace("{source}", given) for one in self.overrides]
        return [*words, f"hydra.run.dir={quoted(run)}"]


def _search(method: str, *overrides: str, name: str = "", every: bool = True) -> Kind:
    return Kind(
        name or f"search-{method}", "search", (f"method={method}", *overrides), resumes=True, every=every
    )


KINDS = (
    _search("darts1", *CELLS, "trainer.max_epochs=2"),
    _search("drnas_progressive", *CELLS, "space.init_channels=4", STAGES, "trainer.max_epochs=3"),
    _search("dsonas", *SPARSE, "trainer.max_epochs=3"),
    _search("gdas", *CELLS201, *FEW, "trainer.max_epochs=2"),
    _search("darts1_rnn", *TEXT, "space.hidden_size=8"),
    Kind(
        "evaluate", "evaluate", (
            "genotype=DARTS_V2", "dataset.valid=0.2", "recipe.drop_path=0.3", *RECIPE, *FEW,
            "trainer.max_epochs=2",
        ), resumes=True,
    ),
    Kind(
        "evaluate-text", "evaluate",
        ("genotype=DARTS_V2", *TEXT, "recipe.hidden_size=8", "trainer.limit_test_batches=4"), resumes=True,
    ),
    Kind("derive", "derive", ("run={source}", "samples=4", "keep=2"), "search-darts1"),
    Kind("export", "export", ("run={source}", "format=safetensors", "images=2"), "evaluate"),
    Kind(
        "latency", "latency",
        ("dataset=digits", "latency.rounds=2", "latency.warmup=1", "debug=fast", "traceback=false", *RECIPE),
        measures=("latency.json", "latency.csv", "networks.csv"),
    ),
    _search(
        "darts1", *CELLS, "trainer.max_epochs=2", "dataset.num_workers=1", name="search-workers", every=False
    ),
)  # fmt: skip


def others() -> list[Kind]:
    """A search by every other method, in the first of these spaces in which it ran when that was recorded."""
    with RAN.open(newline="", encoding="utf-8") as file:
        ran = {
            (row["method"], row["space"])
            for row in csv.DictReader(file)
            if row["verdict"] in ("runs", "draws")
        }
    known = {kind.overrides[0] for kind in KINDS}
    found = []
    for method in dict.fromkeys(method for method, _ in sorted(ran)):
        space = next(
            (one for one in ("nasbench201", "darts", "dso_small", "darts_rnn") if (method, one) in ran), None
        )
        if space is not None and f"method={method}" not in known:
            words = (f"space={space}", "debug=fast", "traceback=false", "trainer.max_epochs=2", *QUIET)
            found.append(_search(method, *words, every=False))
    return found


def spread(count: int) -> list[int]:
    """The numbers 1 to `count` so that any first few of them are spread over all."""
    bits = count.bit_length()
    turned = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(2**bits))
    return [number for number in turned if 1 <= number <= count]


def in_turn(*lists: Iterable[T]) -> Iterator[T]:
    """One of each after the other, as long as there are any; none is asked before its turn."""
    left = [iter(one) for one in lists]
    while left:
        for one in list(left):
            try:
                yield next(one)
            except StopIteration:
                left.remove(one)


def drawn(seed: int, *words: object) -> random.Random:
    """Random numbers of a seed and a place."""
    return random.Random(f"{seed} {' '.join(map(str, words))}")
