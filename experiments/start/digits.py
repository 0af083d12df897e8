"""Does the start experiment find anything? Searched cells beside random ones, each evaluated once.

    python -m experiments.start.digits --folder outputs/experiments/start_digits

Each search is `experiment=start/digits`, each random cell the same with `method=random`; each evaluation is
`experiment=start/evaluate_digits` with the seed of its search. Stop it and start it again: finished steps are
kept. Writes `digits.csv`, `digits.md` and `digits.png` into the results folder (default: FOLDER/results).
With `--keep` they go beside this file, and the random cells into the record that evaluations are compared
with (`random_cells=start_digits`).
"""

import json
import statistics
import textwrap
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from scipy.stats import mannwhitneyu

from experiments import pipeline
from experiments.pipeline import Chain, Experiment
from experiments.records import (
    Found,
    columns,
    difference,
    markdown,
    origin,
    read_run,
    several,
    spread,
    table,
    told,
)
from nas.analysis import plots
from nas.analysis.random_cells import SCHEMA, SHIPPED, Standing, conditions_of
from nas.domains.networks import size_overrides
from nas.files import write_text
from nas.running.config import instantiate, plain, quoted, register_resolvers

EXPERIMENT, EVALUATION, RECORD = "start/digits", "start/evaluate_digits", "start_digits"
RANDOM, SEARCHED = "random", "searched"
COLUMNS = columns("""
    cells=kind seed evaluation.test_accuracy percentile=seed evaluation.params search.num_skip
    search_seconds=search.seconds:.0f evaluate_seconds=evaluation.seconds:.0f
    commit=evaluation.git_commit:.12 evaluation.genotype
""")
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Cell(Found):
    """A cell that has been evaluated.

    Attributes:
        config: of its evaluation.
    """

    config: DictConfig


def parse(words: Sequence[str] | None = None) -> Namespace:
    """The command line; `words` in place of the process's own."""
    parser = pipeline.options(__doc__, "start_digits", seeds=None)
    parser.add_argument("--seeds", type=int, default=10, help="searches; at least 2")
    parser.add_argument("--first", type=int, default=10, help="the first of their seeds")
    parser.add_argument("--random", type=int, default=30, help="random cells; at least 2")
    parser.add_argument("--first-random", type=int, default=30, help="the first of their seeds")
    parser.add_argument("--keep", action="store_true", help="the record goes into the repository")
    arguments = pipeline.parsed(parser, words, "every step", seeds=2, random=2)
    if arguments.keep:
        arguments.results = HERE / "results"
    return arguments


def places(arguments: Namespace) -> list[tuple[tuple[str], int]]:
    """The cells, searched ones first."""
    groups = {
        SEARCHED: range(arguments.first, arguments.first + arguments.seeds),
        RANDOM: range(arguments.first_random, arguments.first_random + arguments.random),
    }
    return [((kind,), seed) for kind, seeds in groups.items() for seed in seeds]


def plan(arguments: Namespace) -> list[Chain]:
    """A search or a draw, and an evaluation, of every cell."""
    chains = []
    for (kind,), seed in places(arguments):
        folder = pipeline.folder_of(arguments, (kind,), seed)
        common = [f"seed={seed}", "trainer.enable_progress_bar=false", *arguments.overrides]
        method = ["method=random"] if kind == RANDOM else []
        # Compared when all of them are there: the record that is made here cannot be asked yet.
        genotype = [f"genotype={quoted(folder / 'search')}", "random_cells=null"]
        search = (f"experiment={EXPERIMENT}", *method, *common)
        evaluation = (f"experiment={EVALUATION}", *genotype, *common)
        chains.append(Chain((kind,), seed, folder, search, {"evaluate": evaluation}))
    return chains


def collect(kind: str, seed: int, path: Path) -> Cell | None:
    """Reads the run folders `search` and `evaluate` below `path`; None if the cell is not evaluated yet."""
    search, evaluation = read_run(path / "search"), read_run(path / "evaluate")
    if not evaluation.finished:
        return None
    register_resolvers()
    return Cell((kind,), seed, search, evaluation, OmegaConf.load(path / "evaluate" / "config.yaml"))


def _of(cells: Sequence[Cell], kind: str) -> list[Cell]:
    return [cell for cell in cells if cell.kind == kind]


def _percentile(cell: Cell, cells: Sequence[Cell]) -> float:
    """Where a cell lies among the random ones."""
    random = [other.accuracy for other in _of(cells, RANDOM)]
    worse = sum(accuracy < cell.accuracy for accuracy in random)
    return round(Standing(worse, random.count(cell.accuracy), len(random)).percentile, 2)


def rows_of(cells: Sequence[Cell]) -> list[dict[str, object]]:
    """One flat row an evaluated cell, with where it lies among the random ones."""
    rows = table(cells, COLUMNS)
    for cell, row in zip(cells, rows, strict=True):
        row["percentile"] = _percentile(cell, cells) if cell.kind == SEARCHED else ""
    return rows


def report(cells: Sequence[Cell], planned: int) -> str:
    """The record as Markdown; the README's table."""
    kinds = {
        RANDOM: f"random (`experiment={EXPERIMENT} method=random`)",
        SEARCHED: f"searched (`experiment={EXPERIMENT}`)",
    }
    percent = {kind: [cell.accuracy for cell in _of(cells, kind)] for kind in kinds}
    params = {
        kind: spread(cell.evaluation.get("params") / 1e3 for cell in _of(cells, kind)) for kind in kinds
    }
    table = [
        {
            "cells": words,
            "test accuracy": spread(percent[kind]).replace(" (", " % ("),
            "median": f"{statistics.median(percent[kind]):.2f} %",
            "lowest to highest": f"{min(percent[kind]):.2f} to {max(percent[kind]):.2f} %",
            "parameters": params[kind].split(" (")[0] + " k",
        }
        for kind, words in kinds.items()
    ]
    each = ", ".join(f"{accuracy:.2f}" for accuracy in percent[SEARCHED])
    better = [_percentile(cell, cells) for cell in _of(cells, SEARCHED)]
    rank = mannwhitneyu(percent[SEARCHED], percent[RANDOM]).pvalue
    among = (
        f"Difference of the means: {difference(percent[SEARCHED], percent[RANDOM])} points. The searched "
        f"cells, seed by seed: {each} %; percentiles among the {len(percent[RANDOM])} random cells: "
        f"{', '.join(f'{p:.0f}' for p in better)}; on average {statistics.mean(better):.0f}, where 50 "
        f"would be no better than random (Mann-Whitney test: p = {rank:.2g})."
    )
    evaluations = [cell.evaluation for cell in cells]
    torch = origin(evaluations)[-1].split("; ")[-1]
    threads, tested = several(cell.config.hardware.threads for cell in cells), _test(cells[0].config)
    made = f"Device: {told(evaluations, 'device')}; threads: {threads}; {torch}; test images: {tested}."
    return "\n".join([markdown(table), *(textwrap.fill(text, 118) + "\n" for text in (among, made))])


def _test(config: DictConfig) -> str:
    number = len(instantiate(config.dataset.source).test().labels)
    return f"{number} of {config.dataset.name}, of which one is {100 / number:.2f} %"


def random_cells(drawn: Sequence[Cell]) -> str:
    """The random cells as the record that evaluations are compared with (JSON).

    Raises:
        SystemExit: they were not all evaluated alike.
    """
    conditions = []
    for cell in drawn:
        sizes = size_overrides(cell.config, instantiate(cell.config.space))
        conditions.append(conditions_of(plain(cell.config), sizes, cell.evaluation.get("split_hash")))
    if any(other != conditions[0] for other in conditions):
        raise SystemExit("the random cells were not all evaluated by one recipe on the same images")
    evaluations = [cell.evaluation for cell in drawn]
    origins = {
        name: told(evaluations, key) for name, key in {"device": "device", "commit": "git_commit"}.items()
    }
    origins["torch"] = several(evaluation.get("versions")["torch"] for evaluation in evaluations)
    origins["threads"] = several(cell.config.hardware.threads for cell in drawn)
    keys = ("test_accuracy", "test_loss", "params", "macs", "genotype")
    rows = [{"seed": cell.seed} | {key: cell.evaluation.get(key) for key in keys} for cell in drawn]
    head = {"schema": SCHEMA, "what": f"{len(rows)} random cells of experiment={EVALUATION}"}
    # JSON of one cell per line.
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    body = json.dumps(head | {"origin": origins, "conditions": conditions[0]}, indent=1)
    return f'{body[:-2]},\n "cells": [\n{lines}\n ]\n}}\n'


def check(arguments: Namespace, cells: Sequence[Cell]) -> None:
    """Refuses a record with gaps; with `--keep` the random cells become a record of their own.

    Raises:
        SystemExit: it is refused.
    """
    counts = [len(_of(cells, kind)) for kind in (SEARCHED, RANDOM)]
    if min(counts) < 2:
        raise SystemExit(f"{arguments.folder}: fewer than two searched or two random cells are evaluated")
    if arguments.keep:
        if counts != [arguments.seeds, arguments.random]:
            raise SystemExit(
                f"{arguments.folder}: --keep takes whole records; {sum(counts)} cells are evaluated"
            )
        write_text(SHIPPED / f"{RECORD}.json", random_cells(_of(cells, RANDOM)), parents=True)


def draw_all(cells: Sequence[Cell], folder: Path) -> list[Path]:
    """Draws the accuracies of both kinds."""
    groups = {kind: [cell.accuracy for cell in _of(cells, kind)] for kind in (RANDOM, SEARCHED)}
    title = "Digits, one evaluation a cell"
    return [plots.draw_comparison(groups, folder / "digits.png", "test accuracy (%)", title, (0, 100))]


main = Experiment(parse, (plan,), places, collect, rows_of, report, draw_all, name="digits", check=check).main

if __name__ == "__main__":
    main()
