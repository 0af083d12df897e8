"""DARTS and DrNAS on NAS-Bench-201 at a reduced scale: every method from several seeds, looked up.

    python -m experiments.drnas.reduced --data data --table nb201.csv.gz --seeds 0 1 2 3 --jobs 2

Each search is `experiment=drnas/nb201_reduced` on one thread, in a folder of its own. Stop it and start it
again: finished searches are kept, stopped ones go on at their last epoch, and then the others begin. The
searches need no table. What they found is looked up afterwards, epoch by epoch, so a protocol can be fixed on
one table (`--search-table`, watched while they run) and judged by another (`--table`). Writes `reduced.csv`,
`reduced.md` and figures into `--results`, at the end and with `--record-only` at any time.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.drnas.figures import draw_all
from experiments.drnas.record import METRIC, collect, report, runs_csv
from experiments.pipeline import finish, read_summary, run_all, run_step
from nas.analysis.benchmark_table import read_csv
from nas.files import write_text
from nas.running.config import quoted

METHODS = ("darts1", "darts2", "drnas_nb201")


@dataclass(frozen=True)
class Step:
    """One search.

    Attributes:
        method: the choice of `method`.
        seed: of the search.
        folder: its run folder.
        overrides: what it is started with.
    """

    method: str
    seed: int
    folder: Path
    overrides: tuple[str, ...]


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `words` in place of the process's own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the images (dataset.root)")
    parser.add_argument("--table", type=Path, required=True, help="CSV table of the record: 200 epochs")
    parser.add_argument("--search-table", type=Path, help="CSV table that searches watch, such as 12 epochs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="choices of method=")
    parser.add_argument("--jobs", type=int, default=1, help="searches at a time, one thread each")
    parser.add_argument("--folder", type=Path, default=Path("outputs/experiments/drnas_reduced"))
    parser.add_argument("--results", type=Path, help="where the record goes (default: FOLDER/results)")
    parser.add_argument("--record-only", action="store_true", help="sums up what there is, searches nothing")
    parser.add_argument("overrides", nargs="*", help="more overrides of every search: trainer.max_epochs=2")
    arguments = parser.parse_args(words)
    if arguments.jobs < 1:
        parser.error(f"--jobs {arguments.jobs}: must be at least 1")
    return arguments


def plan(arguments: argparse.Namespace) -> list[Step]:
    """The searches, a seed of all methods before the next seed, so that an early stop leaves whole seeds."""
    steps = []
    for seed in arguments.seeds:
        for method in arguments.methods:
            overrides = ["experiment=drnas/nb201_reduced", f"method={method}", f"seed={seed}"]
            overrides += ["hardware.threads=1", "trainer.enable_progress_bar=false"]
            if arguments.data is not None:
                overrides.append(f"dataset.root={quoted(arguments.data.resolve())}")
            if arguments.search_table is not None:
                overrides.append(f"tabular.file={quoted(arguments.search_table.resolve())}")
                if method != "random":
                    overrides.append("analysis.exploration.samples=100")
            folder = arguments.folder.resolve() / method / f"seed{seed}"
            steps.append(Step(method, seed, folder, (*overrides, *arguments.overrides)))
    return steps


def search(step: Step) -> dict:
    """Runs or resumes a search, unless it has finished."""
    return run_step("search", step.folder, step.overrides)


def _begun(step: Step) -> bool:
    return bool(read_summary(step.folder))


def record(arguments: argparse.Namespace, steps: Sequence[Step]) -> None:
    """Looks up what there is and writes the record."""
    table = read_csv(arguments.table)
    second = None if arguments.search_table is None else read_csv(arguments.search_table)
    places = [(step.method, step.seed, step.folder) for step in steps]
    runs = [run for run in (collect(*place, table, second) for place in places) if run is not None]
    if not runs:
        raise SystemExit(f"{arguments.folder}: no search has finished an epoch yet")
    results = arguments.results or arguments.folder / "results"
    write_text(results / "reduced.csv", runs_csv(runs), parents=True)
    text = report(runs, table, len(steps))
    write_text(results / "reduced.md", text, parents=True)
    pictures = draw_all(runs, table, METRIC, results)
    print(text)
    for path in (results / "reduced.csv", results / "reduced.md", *pictures):
        print(path)


def main(words: Sequence[str] | None = None) -> None:
    """Searches, then sums up; status 1 if a search failed, 130 after Ctrl-C."""
    arguments = parse(words)
    steps = plan(arguments)
    read_csv(arguments.table)  # a table that cannot be read is found now, not after the searches
    finish(
        arguments.folder,
        lambda: [] if arguments.record_only else run_all(steps, search, _begun, arguments.jobs),
        lambda: record(arguments, steps),
    )


if __name__ == "__main__":
    main()
