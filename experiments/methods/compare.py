"""All methods on the digits in the space of NAS-Bench-201, by one small protocol, beside random cells.

    python -m experiments.methods.compare --folder outputs/experiments/methods

Each search is `experiment=start/digits method=<name>` with the settings below, each evaluation
`experiment=start/evaluate_digits`, which says where the cell lies among 30 random ones. Stop it and start it
again: finished steps are kept. Writes `methods.csv`, `methods.md` and `methods.png` into the results folder
(default: FOLDER/results; with `--keep` beside this file, and the table goes into docs/methods.md).
"""

import statistics
import textwrap
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from experiments import pipeline
from experiments.drawing import draw_rows
from experiments.pipeline import Chain, Experiment
from experiments.records import Found, columns, markdown, origin, read_run, spread, table, told
from nas.files import write_text
from nas.running.config import quoted

# Seconds and a few epochs in place of hours and 50 to 250: what a method adds keeps its own
# numbers, and rates of alpha by Adam are a hundred times its own, as in experiment=start/digits.
ADAM = ("method.architecture_optimizer.lr=0.03",)
TWO_STAGES = tuple(f"method.stages.{stage}.{key}" for stage in (0, 1) for key in ("epochs=3", "freeze=1"))
# The benchmark's own depth, five cells, would take minutes.
THREE_STAGES = tuple(
    f"method.stages.{stage}.{key}"
    for stage in (0, 1, 2)
    for key in ("epochs=2", "freeze=0", f"cells={stage + 1}")
)
OWN = {
    "darts1": ADAM,
    "darts2": ADAM,
    "drnas_nb201": ADAM,
    "snas": ADAM,
    "gdas": ADAM,
    "dsnas": ("method.architecture_optimizer.lr=0.1",),
    "proxyless": ("method.architecture_optimizer.lr=0.1",),
    "parsec": ("method.architecture_optimizer.lr=0.1",),
    "rsps": (),
    "pcdarts": ("method.architecture_optimizer.lr=0.06", "method.stages.0.freeze=2"),
    "gaea": (),
    "gaea_pcdarts": (),
    "sdarts_rs": ADAM,
    "sdarts_adv": ADAM,
    "beta_darts": ADAM,
    "darts_minus": ADAM,
    "fairdarts": ("method.architecture_optimizer.lr=0.3",),
    "milenas": ADAM,
    "oles": ADAM,
    "rdarts_l2": ADAM,
    "rdarts_dp": ADAM,
    "enas": (),
    "darts_es": ADAM,
    "darts_ada": ADAM,
    "darts_pt": ADAM,
    "bayesnas": (),
    "drnas_nb201_progressive": (*ADAM, *TWO_STAGES),
    "pdarts_nb201": (*ADAM, *THREE_STAGES),
}
PROTOCOL = (
    "experiment=start/digits",
    "trainer.max_epochs=6",
    "space.cells_per_stage=1",
    "method.weight_optimizer.lr=0.1",
)
COLUMNS = columns("""
    method=kind seed evaluation.test_accuracy percentile=evaluation.random_cells_percentile
    evaluation.params search.num_skip search_seconds=search.seconds:.1f
    seconds_per_step=pace:.4f commit=evaluation.git_commit:.12 evaluation.genotype
""")
HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs" / "methods.md"
MARKS = ("<!-- results:methods -->\n", "<!-- /results:methods -->")


class Compared(Found):
    """A method's search and its evaluation."""

    @property
    def pace(self) -> float:
        """Seconds per step of the search, validation and record included."""
        return self.search.get("seconds") / self.search.get("steps")


def parse(words: Sequence[str] | None = None) -> Namespace:
    """The command line; `words` in place of the process's own."""
    parser = pipeline.options(__doc__, "methods", seeds=None)
    parser.add_argument("--methods", nargs="+", default=list(OWN), choices=list(OWN), metavar="METHOD")
    parser.add_argument("--seeds", type=int, default=3, help="searches of each method; at least 2")
    parser.add_argument("--keep", action="store_true", help="the record goes into the repository")
    arguments = pipeline.parsed(parser, words, "every step", seeds=2)
    if arguments.keep:
        arguments.results = HERE / "results"
    return arguments


def places(arguments: Namespace) -> list[tuple[tuple[str], int]]:
    """The searches, method by method."""
    return [((method,), seed) for method in arguments.methods for seed in range(arguments.seeds)]


def plan(arguments: Namespace) -> list[Chain]:
    """A search and an evaluation of every method and seed, the first seeds first."""
    chains = []
    for (method,), seed in sorted(places(arguments), key=lambda place: place[1]):
        folder = pipeline.folder_of(arguments, (method,), seed)
        common = [f"seed={seed}", "trainer.enable_progress_bar=false", *arguments.overrides]
        search = (*PROTOCOL, f"method={method}", *OWN[method], *common)
        evaluation = ("experiment=start/evaluate_digits", f"genotype={quoted(folder / 'search')}", *common)
        chains.append(Chain((method,), seed, folder, search, {"evaluate": evaluation}))
    return chains


def collect(method: str, seed: int, path: Path) -> Compared | None:
    """Reads the run folders `search` and `evaluate` below `path`; None if the cell is not evaluated yet."""
    search, evaluation = read_run(path / "search"), read_run(path / "evaluate")
    return Compared((method,), seed, search, evaluation) if evaluation.finished else None


def rows_of(cells: Sequence[Compared]) -> list[dict[str, object]]:
    """One flat row for each evaluated cell."""
    return table(cells, COLUMNS)


def _by_method(cells: Sequence[Compared]) -> dict[str, list[Compared]]:
    groups: dict[str, list[Compared]] = {}
    for cell in cells:
        groups.setdefault(cell.kind, []).append(cell)
    return groups


def report(cells: Sequence[Compared], planned: int) -> str:
    """The record as Markdown."""
    rows = [
        {
            "method": f"`{method}`",
            "test accuracy, %": spread(cell.accuracy for cell in group),
            "percentile among random cells": spread(
                cell.evaluation.get("random_cells_percentile") for cell in group
            ),
            "seconds per step": f"{statistics.median(cell.pace for cell in group):.3f}",
            "parameters": f"{statistics.mean(cell.evaluation.get('params') for cell in group) / 1e3:.1f} k",
        }
        for method, group in _by_method(cells).items()
    ]
    evaluations = [cell.evaluation for cell in cells]
    few = (
        f"{len(cells)} of {planned} searches. 50 would be no better than a random cell. With so few seeds of "
        "so short searches two methods differ by chance, and this table says that they run and find "
        f"something, not which is best. Device: {told(evaluations, 'device')}; "
        f"{origin(evaluations)[-1].split('; ')[-1]}."
    )
    return "\n".join([markdown(rows), textwrap.fill(few, 118) + "\n"])


def check(arguments: Namespace, cells: Sequence[Compared]) -> None:
    """With `--keep` writes the table into docs/methods.md.

    Raises:
        SystemExit: searches are missing, or the page has no place for the table.
    """
    if not arguments.keep:
        return
    if len(cells) < len(places(arguments)):
        raise SystemExit(f"{arguments.folder}: --keep takes whole records; {len(cells)} cells are evaluated")
    text = DOCS.read_text(encoding="utf-8")
    if not all(mark in text for mark in MARKS):
        raise SystemExit(f"{DOCS}: has no place for the table between {MARKS[0].strip()} and {MARKS[1]}")
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    write_text(DOCS, f"{before}{MARKS[0]}{report(cells, len(cells))}{MARKS[1]}{after}")


def draw_all(cells: Sequence[Compared], folder: Path) -> list[Path]:
    """Draws the accuracies of all methods."""
    groups = {method: [cell.accuracy for cell in group] for method, group in _by_method(cells).items()}
    title = "Digits, NAS-Bench-201, one evaluation per cell"
    return [draw_rows(groups, folder / "methods.png", "test accuracy (%)", title)]


main = Experiment(
    parse, (plan,), places, collect, rows_of, report, draw_all, name="methods", check=check
).main

if __name__ == "__main__":
    main()
