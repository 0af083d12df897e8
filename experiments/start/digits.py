"""Does the start experiment find anything? Searched cells beside random ones, each evaluated once.

    python -m experiments.start.digits --folder outputs/experiments/start_digits

Each search is `experiment=start/digits`, each random cell the same with `method=random`; each evaluation is
`experiment=start/evaluate_digits` with the seed of its search. Stop it and start it again: finished steps are
kept. Writes `digits.csv`, `digits.md` and `digits.png` into the results folder (default: FOLDER/results).
With `--keep` they go beside this file, and the random cells into the record that evaluations are compared
with (`random_cells=start_digits`).
"""

import argparse
import json
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf
from scipy.stats import mannwhitneyu

from experiments.pipeline import finish, markdown, read_summary, run_all, run_step, spread
from experiments.records import as_csv, difference, origin, several, told
from nas.analysis import plots
from nas.analysis.random_cells import SCHEMA, SHIPPED, Standing, conditions_of
from nas.domains.networks import size_overrides
from nas.files import write_text
from nas.running.config import instantiate, plain, quoted, register_resolvers

EXPERIMENT, EVALUATION, RECORD = "start/digits", "start/evaluate_digits", "start_digits"
RANDOM, SEARCHED = "random", "searched"
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Cell:
    """One cell: how it comes about, and where.

    Attributes:
        kind: `random` or `searched`.
        seed: of its search (or draw) and of its evaluation.
        folder: holds the run folders `search` and `evaluate`.
        overrides: of both steps.
    """

    kind: str
    seed: int
    folder: Path
    overrides: tuple[str, ...]

    @property
    def summaries(self) -> tuple[dict, dict]:
        """Those of search and evaluation; empty where there is none."""
        return read_summary(self.folder / "search"), read_summary(self.folder / "evaluate")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `words` in place of the process's own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="searches; at least 2")
    parser.add_argument("--first", type=int, default=10, help="the first of their seeds")
    parser.add_argument("--random", type=int, default=30, help="random cells; at least 2")
    parser.add_argument("--first-random", type=int, default=30, help="the first of their seeds")
    parser.add_argument("--folder", type=Path, default=Path("outputs/experiments/start_digits"))
    parser.add_argument("--results", type=Path, help="where the record goes (default: FOLDER/results)")
    parser.add_argument("--keep", action="store_true", help="the record goes into the repository")
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time, one thread each")
    parser.add_argument("--record-only", action="store_true", help="sums up what there is, runs nothing")
    parser.add_argument("overrides", nargs="*", help="more overrides of every step")
    arguments = parser.parse_args(words)
    for name, least in (("seeds", 2), ("random", 2), ("jobs", 1)):
        if getattr(arguments, name) < least:
            parser.error(f"--{name} {getattr(arguments, name)}: must be at least {least}")
    return arguments


def plan(arguments: argparse.Namespace) -> list[Cell]:
    """The cells, searched ones first."""
    folder = arguments.folder.resolve()
    return [
        Cell(kind, seed, folder / kind / f"seed{seed}", tuple(arguments.overrides))
        for kind, first, number in (
            (SEARCHED, arguments.first, arguments.seeds),
            (RANDOM, arguments.first_random, arguments.random),
        )
        for seed in range(first, first + number)
    ]


def run(cell: Cell) -> None:
    """Searches and evaluates, unless it has been done."""
    common = [f"seed={cell.seed}", "trainer.enable_progress_bar=false", *cell.overrides]
    method = ["method=random"] if cell.kind == RANDOM else []
    run_step("search", cell.folder / "search", [f"experiment={EXPERIMENT}", *method, *common])
    # Compared when all of them are there: the record that is made here cannot be asked yet.
    found = [f"genotype={quoted(cell.folder / 'search')}", "random_cells=null"]
    run_step("evaluate", cell.folder / "evaluate", [f"experiment={EVALUATION}", *found, *common])


def rows_of(cells: Sequence[Cell]) -> list[dict[str, object]]:
    """One flat row an evaluated cell, with where it lies among the random ones."""
    done = [cell for cell in cells if cell.summaries[1].get("status") == "finished"]
    random = [cell.summaries[1]["test_accuracy"] for cell in done if cell.kind == RANDOM]
    rows = []
    for cell in done:
        search, evaluate = cell.summaries
        accuracy = evaluate["test_accuracy"]
        standing = Standing(sum(one < accuracy for one in random), random.count(accuracy), len(random))
        rows.append(
            {
                "cells": cell.kind,
                "seed": cell.seed,
                "test_accuracy": accuracy,
                "percentile": round(standing.percentile, 2) if cell.kind == SEARCHED else "",
                "params": evaluate["params"],
                "num_skip": search["num_skip"],
                "search_seconds": round(search["seconds"]),
                "evaluate_seconds": round(evaluate["seconds"]),
                "commit": str(evaluate["git_commit"])[:12],
                "genotype": evaluate["genotype"],
            }
        )
    return rows


def report(cells: Sequence[Cell], rows: Sequence[dict]) -> str:
    """The record as Markdown; the README's table."""
    kinds = {
        RANDOM: f"random (`experiment={EXPERIMENT} method=random`)",
        SEARCHED: f"searched (`experiment={EXPERIMENT}`)",
    }
    of = {kind: [row for row in rows if row["cells"] == kind] for kind in kinds}
    percent = {kind: [100 * row["test_accuracy"] for row in of[kind]] for kind in kinds}
    table = [
        {
            "cells": words,
            "test accuracy": spread(percent[kind]).replace(" (", " % ("),
            "median": f"{statistics.median(percent[kind]):.2f} %",
            "lowest to highest": f"{min(percent[kind]):.2f} to {max(percent[kind]):.2f} %",
            "parameters": spread([row["params"] / 1e3 for row in of[kind]]).split(" (")[0] + " k",
        }
        for kind, words in kinds.items()
    ]
    found = sorted(of[SEARCHED], key=lambda row: row["seed"])
    each = ", ".join(f"{100 * row['test_accuracy']:.2f}" for row in found)
    better = ", ".join(f"{row['percentile']:.0f}" for row in found)
    evaluations = [cell.summaries[1] for cell in cells if cell.summaries[1]]
    configs = [_config(cell) for cell in cells if cell.summaries[1]]
    threads = several(config.hardware.threads for config in configs)
    torch = origin(evaluations)[-1].split("; ")[-1]
    means = difference(percent[SEARCHED], percent[RANDOM])
    rank = mannwhitneyu(percent[SEARCHED], percent[RANDOM]).pvalue
    average = statistics.mean(row["percentile"] for row in found)
    among = (
        f"Difference of the means: {means} points. The searched cells, seed by seed: {each} %; percentiles "
        f"among the {len(of[RANDOM])} random cells: {better}; on average {average:.0f}, where 50 would be no "
        f"better than random (Mann-Whitney test: p = {rank:.2g})."
    )
    device = told(evaluations, "device")
    made = f"Device: {device}; threads: {threads}; {torch}; test images: {_test(configs[0])}."
    return "\n".join([markdown(table), *(textwrap.fill(text, 118) + "\n" for text in (among, made))])


def _config(cell: Cell):
    register_resolvers()
    return OmegaConf.load(cell.folder / "evaluate" / "config.yaml")


def _test(config) -> str:
    number = len(instantiate(config.dataset.source).test().labels)
    return f"{number} of {config.dataset.name}, of which one is {100 / number:.2f} %"


def random_cells(cells: Sequence[Cell]) -> str:
    """The random cells as the record that evaluations are compared with (JSON).

    Raises:
        SystemExit: they were not all evaluated alike.
    """
    drawn = [cell for cell in cells if cell.kind == RANDOM]
    summaries = [cell.summaries[1] for cell in drawn]
    found = []
    for cell, summary in zip(drawn, summaries, strict=True):
        config = _config(cell)
        sizes = size_overrides(config, instantiate(config.space))
        found.append(conditions_of(plain(config), sizes, summary["split_hash"]))
    if any(one != found[0] for one in found):
        raise SystemExit("the random cells were not all evaluated by one recipe on the same images")
    names = {"device": "device", "commit": "git_commit"}
    origins = {name: told(summaries, key) for name, key in names.items()}
    origins["torch"] = several(one["versions"]["torch"] for one in summaries)
    origins["threads"] = several(_config(cell).hardware.threads for cell in drawn)
    rows = [
        {"seed": cell.seed}
        | {key: summary[key] for key in ("test_accuracy", "test_loss", "params", "macs", "genotype")}
        for cell, summary in zip(drawn, summaries, strict=True)
    ]
    head = {"schema": SCHEMA, "what": f"{len(rows)} random cells of experiment={EVALUATION}"}
    # JSON of one cell a line.
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    body = json.dumps(head | {"origin": origins, "conditions": found[0]}, indent=1)
    return f'{body[:-2]},\n "cells": [\n{lines}\n ]\n}}\n'


def record(arguments: argparse.Namespace, cells: Sequence[Cell]) -> None:
    """Sums up what there is."""
    rows = rows_of(cells)
    counts = [sum(row["cells"] == kind for row in rows) for kind in (SEARCHED, RANDOM)]
    if min(counts) < 2:
        raise SystemExit(f"{arguments.folder}: fewer than two searched or two random cells are evaluated")
    if arguments.keep and counts != [arguments.seeds, arguments.random]:
        raise SystemExit(f"{arguments.folder}: --keep takes whole records; {sum(counts)} cells are evaluated")
    results = HERE / "results" if arguments.keep else arguments.results or arguments.folder / "results"
    text = report(cells, rows)
    if arguments.keep:
        write_text(SHIPPED / f"{RECORD}.json", random_cells(cells), parents=True)
    write_text(results / "digits.csv", as_csv(rows), parents=True)
    write_text(results / "digits.md", text, parents=True)
    groups = {
        kind: [100 * row["test_accuracy"] for row in rows if row["cells"] == kind]
        for kind in (RANDOM, SEARCHED)
    }
    plots.draw_comparison(
        groups, results / "digits.png", "test accuracy (%)", "Digits, one evaluation a cell"
    )
    print(text)
    for name in ("digits.csv", "digits.md", "digits.png"):
        print(results / name)


def main(words: Sequence[str] | None = None) -> None:
    """Searches and evaluates, then sums up; status 1 if a step failed, 130 after Ctrl-C."""
    arguments = parse(words)
    cells = plan(arguments)
    finish(
        arguments.folder,
        lambda: (
            [] if arguments.record_only else run_all(cells, run, lambda c: c.folder.exists(), arguments.jobs)
        ),
        lambda: record(arguments, cells),
    )


if __name__ == "__main__":
    main()
