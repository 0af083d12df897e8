"""DARTS and DrNAS on NAS-Bench-201 at a reduced scale: every method from several seeds, looked up.

    python -m experiments.drnas.reduced --data data --table nb201.csv.gz --seeds 0 1 2 3 --jobs 2

Each search is `experiment=drnas/nb201_reduced` on one thread, or that of `--experiment`, in its own folder.
Start it again when it was stopped: finished searches are kept, begun ones go on, then others begin. The
searches need no table. What they found is looked up afterwards, epoch by epoch, so a protocol can be fixed on
one table (`--search-table`, watched while they run) and judged by another (`--table`). Writes `reduced.csv`,
`reduced.md` and figures into `--results`, at the end and with `--record-only` at any time.
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from experiments import pipeline
from experiments.drnas.figures import draw_all
from experiments.drnas.record import collect, report, rows_of
from experiments.pipeline import Chain, Experiment
from nas.analysis.benchmark_table import BenchmarkTable, read_csv
from nas.running.config import quoted

METHODS = ("darts1", "darts2", "drnas_nb201")


def parse(words: Sequence[str] | None = None) -> Namespace:
    """The command line; `words` in place of the process's own."""
    parser = pipeline.options(__doc__, "drnas_reduced", seeds=(0, 1, 2, 3))
    parser.add_argument("--table", type=Path, required=True, help="CSV table of the record: 200 epochs")
    parser.add_argument("--search-table", type=Path, help="CSV table that searches watch, such as 12 epochs")
    parser.add_argument("--experiment", default="drnas/nb201_reduced", help="the protocol of all methods")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="choices of method=")
    return pipeline.parsed(parser, words, "every search: trainer.max_epochs=2")


def places(arguments: Namespace) -> list[tuple[tuple[str], int]]:
    """The searches, a seed of all methods before the next seed, so that an early stop leaves whole seeds."""
    return [((method,), seed) for seed in arguments.seeds for method in arguments.methods]


def plan(arguments: Namespace) -> list[Chain]:
    """A chain of one search each, whose run folder is that of the chain."""
    chains = []
    for (method,), seed in places(arguments):
        protocol = [f"experiment={arguments.experiment}", f"method={method}"]
        search = [*protocol, *pipeline.every_run(arguments, seed)]
        if arguments.search_table is not None:
            search.append(f"tabular.file={quoted(arguments.search_table.resolve())}")
            search += [] if method == "random" else ["analysis.exploration.samples=100"]
        folder = pipeline.folder_of(arguments, (method,), seed)
        chains.append(Chain((method,), seed, folder, (*search, *arguments.overrides), found=""))
    return chains


def tables(arguments: Namespace) -> tuple[BenchmarkTable, BenchmarkTable | None]:
    """The figures of the record, and those that searches watch."""
    watched = arguments.search_table
    return read_csv(arguments.table), None if watched is None else read_csv(watched)


main = Experiment(parse, (plan,), places, collect, rows_of, report, draw_all, given=tables).main

if __name__ == "__main__":
    main()
