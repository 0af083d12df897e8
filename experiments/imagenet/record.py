"""What the runs of `experiments.imagenet.reduced` found: one `Cell` a cell, as CSV and as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.records import (
    Found,
    columns,
    difference,
    means,
    provenance,
    read_run,
    sections,
    table,
    titled,
    told,
)
from nas.engine.rows import count_skips
from nas.genotype import Genotype, load

FOUND, RANDOM, PUBLISHED, ENLARGED = "found", "random", "published", "enlarged"
KINDS = {
    FOUND: "found by the search",
    RANDOM: "random",
    PUBLISHED: "DrNAS's published cell",
    ENLARGED: "DrNAS's published cell, 224x224, auxiliary head",
}
RECORD = columns("""
    kind seed search=search.status evaluation=evaluation.status test_accuracy=accuracy
    valid_accuracy=evaluation.valid_accuracy*100 train_accuracy=evaluation.train_accuracy*100
    evaluation.params evaluation.macs num_skip search_epochs=search.epochs
    search_architecture_accuracy=search.last.architecture_accuracy*100 search_seconds=search.seconds
    evaluation.epochs evaluation.seconds genotype
""")
SHOWN = {
    "cell": "name",
    "seed": "seed",
    "evaluation": "evaluation.status",
    "test accuracy (%)": "accuracy",
    "validation (%)": "evaluation.valid_accuracy*100",
    "training (%)": "evaluation.train_accuracy*100",
    "parameters (k)": "evaluation.params/1e3",
    "multiply-adds (M)": "evaluation.macs/1e6",
    "skip connections": "num_skip",
    "epochs": "evaluation.epochs",
}
MEANS = {title: SHOWN[title] for title in ("test accuracy (%)", "parameters (k)", "multiply-adds (M)")} | {
    "search (minutes)": "minutes",
    "evaluation (minutes)": "evaluation.seconds/60",
}


@dataclass(frozen=True)
class Cell(Found):
    """A cell as far as its runs have come; a published one has an empty search.

    Attributes:
        genotype: the cell.
    """

    genotype: Genotype

    @property
    def name(self) -> str:
        """Its kind in words."""
        return KINDS[self.kind]

    @property
    def num_skip(self) -> int:
        """How many skip connections it has."""
        return count_skips(self.genotype)


def collect(kind: str, seed: int, path: Path) -> Cell | None:
    """Reads the run folders `search` and `evaluation` below `path`; None if there is no cell yet."""
    cells = [path / step / "genotype.json" for step in ("evaluation", "search")]
    cell = next((cell for cell in cells if cell.exists()), None)
    if cell is None:
        return None
    return Cell((kind,), seed, read_run(path / "search"), read_run(path / "evaluation"), load(cell, "darts"))


def rows_of(runs: Sequence[Cell]) -> list[dict[str, object]]:
    """One flat row per cell: how well its network does, what it costs, what the runs took."""
    return table(runs, RECORD)


def report(runs: Sequence[Cell], planned: int) -> str:
    """The record as Markdown: kinds, found against random, every cell, and how."""
    done = [run for run in runs if run.evaluation.finished]
    groups = {kind: [run for run in done if run.kind == kind] for kind in KINDS}
    summaries = [{"cell": KINDS[kind], **means(group, MEANS)} for kind, group in groups.items() if group]
    chosen, drawn = ([run.accuracy for run in groups[kind]] for kind in (FOUND, RANDOM))
    return sections(
        f"{len(done)} of {planned} cells evaluated.",
        *titled("Mean +- sample standard deviation over seeds.", summaries),
        *(("## Found against random", _against(chosen, drawn)) if chosen and drawn else ()),
        *titled("## Each cell", table(runs, SHOWN)),
        *("## How", _provenance(runs)),
    )


def _against(chosen: Sequence[float], drawn: Sequence[float]) -> str:
    points = difference(chosen, drawn, "{} points (standard error {:.2f}, from the spread of both)")
    return (
        f"Test accuracy of cells found less that of random ones: {points}; n = {len(chosen)} and "
        f"{len(drawn)}. Worst found {min(chosen):.2f} %, best random {max(drawn):.2f} %. The cells differ in "
        "size, and a difference of this experiment says nothing about ImageNet."
    )


def _provenance(runs: Sequence[Cell]) -> str:
    everything = [item for run in runs for item in (run.search, run.evaluation)]
    trained, evaluated = [run.search for run in runs if run.search.trained], [run.evaluation for run in runs]
    return provenance(
        everything,
        (run.seed for run in runs),
        f"- data: {told(everything, 'dataset')}; split of the searches {told(trained, 'split_hash')}, images "
        f"of the evaluations {told(evaluated, 'split_hash')}",
        f"- epochs of searches {told(trained, 'epochs')}, of evaluations {told(evaluated, 'epochs')}",
    )
