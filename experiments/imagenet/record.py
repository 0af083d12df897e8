"""What the runs of `experiments.imagenet.reduced` found: one `Cell` a cell, as CSV and as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.records import (
    Found,
    difference,
    provenance,
    read_run,
    scaled,
    sections,
    spread,
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


@dataclass(frozen=True)
class Cell(Found):
    """A cell as far as its runs have come; a published one has an empty search.

    Attributes:
        genotype: the cell.
    """

    genotype: Genotype

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return self.place[0]


def collect(kind: str, seed: int, path: Path) -> Cell | None:
    """Reads the run folders `search` and `evaluation` below `path`; None if there is no cell yet."""
    cells = [path / step / "genotype.json" for step in ("evaluation", "search")]
    cell = next((cell for cell in cells if cell.exists()), None)
    if cell is None:
        return None
    return Cell((kind,), seed, read_run(path / "search"), read_run(path / "evaluation"), load(cell, "darts"))


def rows_of(runs: Sequence[Cell]) -> list[dict[str, object]]:
    """One flat row a cell: how well its network does, what it costs, what the runs took."""
    rows = []
    for run in runs:
        last = run.search.epochs[-1] if run.search.trained else {}
        share = last.get("architecture_accuracy")
        rows.append(
            {"kind": run.kind, "seed": run.seed}
            | {"search": run.search.get("status"), "evaluation": run.evaluation.get("status")}
            | {"test_accuracy": run.accuracy}
            | {f"{part}_accuracy": run.evaluation.accuracy(part) for part in ("valid", "train")}
            | {name: run.evaluation.get(name) for name in ("params", "macs")}
            | {"num_skip": count_skips(run.genotype), "search_epochs": run.search.get("epochs")}
            | {"search_architecture_accuracy": None if share is None else 100 * share}
            | {"search_seconds": run.search.get("seconds")}
            | {name: run.evaluation.get(name) for name in ("epochs", "seconds")}
            | {"genotype": str(run.genotype)}
        )
    return rows


def report(runs: Sequence[Cell], planned: int) -> str:
    """The record as Markdown: kinds, found against random, every cell, and how.

    Args:
        runs: what there is; only finished evaluations are averaged over.
        planned: how many cells there are to be.
    """
    done = [run for run in runs if run.evaluation.finished]
    found, drawn = ([run.accuracy for run in done if run.kind == kind] for kind in (FOUND, RANDOM))
    return sections(
        f"{len(done)} of {planned} cells evaluated.",
        *titled("Mean +- sample standard deviation over seeds.", _summaries(done)),
        *(("## Found against random", _against(found, drawn)) if found and drawn else ()),
        *titled("## Each cell", _each(runs)),
        "## How",
        _provenance(runs),
    )


def _summaries(runs: Sequence[Cell]) -> list[dict[str, str]]:
    rows = []
    for kind, words in KINDS.items():
        group = [run for run in runs if run.kind == kind]
        evaluated, searched = [run.evaluation for run in group], [run.search for run in group]
        row = {
            "cell": words,
            "test accuracy (%)": spread(run.accuracy for run in group),
            "parameters (k)": spread(one.get("params") / 1e3 for one in evaluated),
            "multiply-adds (M)": spread(one.get("macs") / 1e6 for one in evaluated),
            "search (minutes)": spread(one.get("seconds") / 60 for one in searched if one.trained),
            "evaluation (minutes)": spread(one.get("seconds") / 60 for one in evaluated),
        }
        rows += [row] if group else []
    return rows


def _against(found: Sequence[float], drawn: Sequence[float]) -> str:
    points = difference(found, drawn, "{} points (standard error {:.2f}, from the spread of both)")
    return (
        f"Test accuracy of cells found less that of random ones: {points}; n = {len(found)} and "
        f"{len(drawn)}. Worst found {min(found):.2f} %, best random {max(drawn):.2f} %. The cells differ in "
        "size, and a difference of this experiment says nothing about ImageNet."
    )


def _each(runs: Sequence[Cell]) -> list[dict[str, object]]:
    return [
        {
            "cell": KINDS[run.kind],
            "seed": run.seed,
            "evaluation": run.evaluation.get("status") or "not begun",
            "test accuracy (%)": run.accuracy,
            "validation (%)": run.evaluation.accuracy("valid"),
            "training (%)": run.evaluation.accuracy("train"),
            "parameters (k)": scaled(run.evaluation.get("params"), 1e-3),
            "multiply-adds (M)": scaled(run.evaluation.get("macs"), 1e-6),
            "skip connections": count_skips(run.genotype),
            "epochs": run.evaluation.get("epochs"),
        }
        for run in runs
    ]


def _provenance(runs: Sequence[Cell]) -> str:
    everything = [one for run in runs for one in (run.search, run.evaluation)]
    trained, evaluated = [run.search for run in runs if run.search.trained], [run.evaluation for run in runs]
    return provenance(
        everything,
        (run.seed for run in runs),
        f"- data: {told(everything, 'dataset')}; split of the searches {told(trained, 'split_hash')}, images "
        f"of the evaluations {told(evaluated, 'split_hash')}",
        f"- epochs of searches {told(trained, 'epochs')}, of evaluations {told(evaluated, 'epochs')}",
    )
