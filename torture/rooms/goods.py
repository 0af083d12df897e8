"""What somebody may send: valid files and folders of every kind, and the commands that read them."""

import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from nas.running.words import quoted
from torture.commands import command, held
from torture.kinds import CELLS, FEW, KINDS, RECIPE, TEXT
from torture.record import revision
from torture.rooms import samples

GIVEN, RUN = "given", "run"
OWN = ("size=null", "dataset.source.test_share=0.3", *CELLS, "dataset.batch_size=4", "trainer.max_epochs=1")
DRAWN = ("space=nasbench201", "method=random", "space.cells_per_stage=1", "space.init_channels=2", *FEW)
MINE = """# @package _global_
trainer:
  log_every_n_steps: 1
"""


@dataclass(frozen=True)
class Ware:
    """Something that somebody sends.

    Attributes:
        make: writes it into a folder; the goods have runs to copy from.
        commands: what reads it: command and words, `{given}` being the folder, `{evaluate}` and `{search}`
            runs of one's own.
        files: what is spoilt, each with the places of the commands that read it.
    """

    make: Callable[[Path, "Goods"], None]
    commands: tuple[tuple[str, ...], ...]
    files: Mapping[str, tuple[int, ...]]


class Goods:
    """Runs that nothing is wrong with, made once for a commit.

    Args:
        folder: where they are kept.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    @cached_property
    def _commit(self) -> str:
        return revision()

    def run(self, name: str) -> Path:
        """The folder of a run: a kind of `torture.kinds`, `exported`, `sweep` or `latency`.

        Raises:
            Failed: it does not run, whatever is tried on it.
        """
        place = self.folder / name
        done = place / "commit.txt"
        if done.is_file() and done.read_text() == self._commit:
            return place / RUN
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        words = self._words(name, place / RUN)
        ended = command(*words, place=place, plant=False)
        held(ended.status == 0, f"{name} does not run: {ended.last}")
        done.write_text(self._commit)
        return place / RUN

    def _words(self, name: str, run: Path) -> list[str]:
        if name == "sweep":
            return ["search", "-m", *DRAWN, "seed=0,1", f"hydra.sweep.dir={quoted(run)}"]
        if name == "exported":
            return [
                "export",
                f"run={quoted(self.run('evaluate'))}",
                "images=2",
                f"hydra.run.dir={quoted(run)}",
            ]
        kind = next(kind for kind in KINDS if kind.name == name)
        return [kind.command, *kind.typed({}, run)]


def _copied(name: str) -> Callable[[Path, Goods], None]:
    return lambda folder, goods: shutil.copytree(goods.run(name), folder, dirs_exist_ok=True)


def _written(files: Callable[[], Mapping[str, bytes]]) -> Callable[[Path, Goods], None]:
    def make(folder: Path, goods: Goods) -> None:
        for name, content in files().items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    return make


def _pictures() -> dict[str, bytes]:
    found = {}
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 255, (9, 11, 3)).astype(np.uint8)
        path = f"{'cat' if number % 2 else 'dog'}/{number:02d}.png"
        found[path] = samples.encoded("png", Image.fromarray(pixels))
    return found


def _listing() -> dict[str, bytes]:
    found = {path.replace("/", "_"): content for path, content in _pictures().items()}
    lines = [f"{path},{path[:3]}\n" for path in found]
    return {"files.csv": ("file,label\n" + "".join(lines)).encode(), **found}


def _arrays() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 3, 8, 8)).astype(np.uint8)
    return {"a.npz": samples.saved(np.savez, {"images": images, "labels": np.arange(40) % 3})}


def _texts() -> dict[str, bytes]:
    rng = random.Random(0)
    words = [f"w{number}" for number in range(30)]
    return {
        f"{part}.txt": "".join(" ".join(rng.choices(words, k=9)) + "\n" for _ in range(lines)).encode()
        for part, lines in (("train", 200), ("valid", 80), ("test", 40))
    }


def _texts_read() -> tuple[str, ...]:
    kept = [one for one in TEXT if not one.startswith(("dataset=", "dataset.fraction", "trainer.max_epochs"))]
    return ("dataset=corpus", "size=null", "trainer.max_epochs=1", "space.hidden_size=4", *kept)


SEARCHED = (
    ("search", "resume={given}"), ("derive", "run={given}", "samples=4", "keep=2"), ("cost",
    "genotype={given}"),
    ("evaluate", "run={given}", *RECIPE, *FEW, "trainer.max_epochs=1"), ("report", "folder={given}"),
)  # fmt: skip
EVALUATED = (
    ("predict", "model={given}", "input={picture}"), ("export", "run={given}", "format=safetensors",
    "images=2"),
    ("evaluate", "resume={given}"), ("report", "folder={given}"),
    ("evaluate", "genotype=DARTS_V2", "init={given}", *RECIPE, *FEW, "trainer.max_epochs=1"),
)  # fmt: skip
SWEPT = (("sweeps", "folder={given}"), ("report", "folder={given}"))
TABLE = ("tabular.file={given}/table.csv", "tabular.metric=cifar10_test", "tabular.costs={given}/costs.csv")
EVALUATION = ("evaluate", "genotype=DARTS_V2", *RECIPE, *FEW, "trainer.max_epochs=1")
ALL = tuple(range(5))
WARES: Mapping[str, Ware] = {
    "genotype": Ware(
        _written(lambda: {"cell.json": samples.genotype_json()[0]}),
        (("cost", "genotype={given}/cell.json"),),
        {"cell.json": (0,)},
    ),
    "genotypes": Ware(
        _written(lambda: {"cell.txt": samples.genotype_texts()[5]}),
        (("cost", "genotype={given}/cell.txt"),),
        {"cell.txt": (0,)},
    ),
    "search-run": Ware(
        _copied("search-darts1"),
        SEARCHED,
        {
            "config.yaml": ALL, "checkpoints/epoch=0002.ckpt": (0, 1), "summary.json": (0, 3, 4),
            "genotype.json": (2, 3, 4), "split.json": (0, 3), "metrics.csv": (0, 4), "architecture.csv": (0,
            4),
            "genotypes.jsonl": (0, 4), "overrides.yaml": (0, 4),
        },
    ),
    "evaluate-run": Ware(
        _copied("evaluate"),
        EVALUATED,
        {
            "config.yaml": ALL, "checkpoints/epoch=0002.ckpt": (0, 1, 2, 4), "summary.json": (0, 1, 2, 3),
            "genotype.json": (1, 2, 3), "network.json": (0, 1), "confusion.csv": (3,), "metrics.csv": (2, 3),
            "overrides.yaml": (2, 3),
        },
    ),
    "onnx": Ware(
        _copied("exported"), (("predict", "model={given}/model.onnx", "input={picture}"),),
        {"model.onnx": (0,)}
    ),
    "safetensors": Ware(
        _copied("exported"), ((*EVALUATION, "init={given}/model.safetensors"),), {"model.safetensors": (0,)}
    ),
    "sweep": Ware(
        _copied("sweep"),
        SWEPT,
        dict.fromkeys(
            ("multirun.yaml", "0/summary.json", "1/config.yaml", "0/overrides.yaml", "1/job.json",
            "0/genotype.json"),
            (0, 1),
        ),
    ),
    "table": Ware(
        _written(
            lambda: {"table.csv": samples.table("cifar10_test"), "costs.csv": samples.table("edgegpu_ms")}
        ),
        (
            ("search", *DRAWN, *TABLE),
            ("blackbox", TABLE[0], "reward.metric=cifar10_test", "seeds=2", "budget.queries=2"),
        ),
        {"table.csv": (0, 1), "costs.csv": (0,)},
    ),
    "latency": Ware(
        _copied("latency"),
        (
            ("derive", "run={search}", "latency.table={given}", "latency.any_device=true", "samples=4",
            "keep=2"),
            ("report", "folder={given}"),
        ),
        {"latency.json": (0, 1), "summary.json": (1,), "config.yaml": (1,)},
    ),
    "corpus": Ware(
        _written(_texts),
        (
            ("search", *_texts_read(), "dataset.root={given}"),
            ("search", *_texts_read(), "dataset.root={given}", "dataset.tokenizer=characters"),
        ),
        {"train.txt": (0, 1), "valid.txt": (0, 1), "test.txt": (0,)},
    ),
    "arrays": Ware(
        _written(_arrays), (("search", "dataset=arrays", "dataset.file={given}/a.npz", *OWN),),
        {"a.npz": (0,)}
    ),
    "listing": Ware(
        _written(_listing),
        (("search", "dataset=csv", "dataset.file={given}/files.csv", *OWN),),
        {"files.csv": (0,), "cat_01.png": (0,)},
    ),
    "pictures": Ware(
        _written(_pictures),
        (
            ("search", "dataset=folder", "dataset.root={given}", "dataset.source.image_size=8", *OWN),
            ("predict", "model={evaluate}", "input={given}"),
        ),
        {"cat/01.png": (0, 1), "dog/00.png": (0,)},
    ),
    "record": Ware(
        _written(lambda: {"cells.json": samples.random_cells()[0]}),
        ((*EVALUATION, "random_cells={given}/cells.json"),),
        {"cells.json": (0,)},
    ),
    "configurations": Ware(
        _written(lambda: {"experiment/mine.yaml": MINE.encode()}),
        (("search", "--config-dir={given}", "experiment=mine", *CELLS, "trainer.max_epochs=1"),),
        {"experiment/mine.yaml": (0,)},
    ),
}  # fmt: skip


def words_of(ware: Ware, number: int, given: Path, goods: Goods, place: Path) -> list[str]:
    """A command of a ware, and what is typed behind it."""
    name, *words = ware.commands[number]
    known = {"{given}": lambda: given, "{search}": lambda: goods.run("search-darts1")}
    known |= {"{evaluate}": lambda: goods.run("evaluate"), "{picture}": lambda: picture(place)}
    found = []
    for one in words:
        for mark, path in known.items():
            if mark in one:
                one = one.replace(mark, str(path()))
        found.append(one)
    writes = name not in ("cost", "report", "sweeps") and not any(one.startswith("resume=") for one in found)
    return [name, *found, *([f"hydra.run.dir={place / 'mine'}"] if writes else [])]


def picture(place: Path) -> Path:
    """A picture of one's own, black."""
    path = place / "picture.png"
    path.write_bytes(samples.encoded("png", Image.fromarray(np.zeros((8, 8), np.uint8))))
    return path
