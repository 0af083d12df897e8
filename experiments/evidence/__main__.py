"""Asks the papers' claims of collapse again: searches kept as text, and a page that says what they show.

    python -m experiments.evidence --data <folder of CIFAR-10> --table <CSV> --search-table <CSV, 12 epochs>

Goes on where the records stop. Finished searches are in `--results`, in the repository, and are not repeated
unless `--anew` asks for it; run folders go to `--folder` and can be continued. Writes the records,
docs/evidence.md and its pictures at the end, when it is stopped too, and with `--record-only` at any time.
"""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments import pipeline
from experiments.evidence.figures import draw_all
from experiments.evidence.page import counted, page
from experiments.evidence.reference import make_reference, read_reference, same_tables, write_reference
from experiments.evidence.rows import ROWS, Plan, Row, read_plan
from experiments.evidence.searches import Search, read_searches, take, write_searches
from experiments.pipeline import Chain
from nas.errors import ConfigError, require
from nas.files import write_text
from nas.running.config import quoted

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "evidence.md"
Searches = dict[tuple[str, int], Search]


def parse(words: Sequence[str] | None = None) -> Namespace:
    """The command line; `words` in place of the process's own."""
    parser = ArgumentParser(
        prog="python -m experiments.evidence", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--data", type=Path, help="folder of CIFAR-10 (dataset.root)")
    parser.add_argument(
        "--table", type=Path, help="CSV table of NAS-Bench-201, 200 epochs: searches are judged by it"
    )
    parser.add_argument(
        "--search-table", type=Path, help="CSV table of 12 epochs, which black-box searches see"
    )
    parser.add_argument("--jobs", type=int, default=1, help="searches at a time, one thread each")
    parser.add_argument("--row", nargs="+", default=[], metavar="NAME", help="these rows alone")
    parser.add_argument(
        "--anew", action="store_true", help="searches the rows of --row again, whatever is kept"
    )
    parser.add_argument(
        "--plan", action="store_true", help="says what is missing and what it takes, runs nothing"
    )
    parser.add_argument(
        "--record-only", action="store_true", help="writes the page from what is kept, runs nothing"
    )
    parser.add_argument(
        "--take", type=Path, metavar="FOLDER", help="keeps what lies finished in <FOLDER>/<row>/seed<k>"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("outputs/experiments/evidence"), help="of the run folders"
    )
    parser.add_argument("--results", type=Path, default=HERE / "results", help="of the records")
    parser.add_argument(
        "--page", type=Path, default=PAGE, help="what is written of them; pictures/ beside it"
    )
    parser.add_argument("--rows", type=Path, default=ROWS, help="YAML file of the rows")
    arguments = parser.parse_args(words)
    if arguments.jobs < 1:
        parser.error(f"--jobs {arguments.jobs}: must be at least 1")
    if arguments.anew and not arguments.row:
        parser.error("--anew: name the rows that are searched again, --row <name>")
    return arguments


def main(words: Sequence[str] | None = None) -> None:
    """Runs what is missing and writes the page.

    Raises:
        SystemExit: 2 for a mistake of the user's, 1 where a search failed, 130 after Ctrl-C.
    """
    arguments = parse(words)
    try:
        status = _run(arguments)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    if status:
        raise SystemExit(status)


def _run(arguments: Namespace) -> int:
    plan = read_plan(arguments.rows)
    rows = [plan.row(name) for name in arguments.row] or list(plan.rows)
    kept: Searches = {(search.row, search.seed): search for search in read_searches(arguments.results)}
    if arguments.take is not None:
        require(arguments.take.is_dir(), f"--take {arguments.take}: there is no such folder")
        print(f"{_gather(arguments.take, rows, kept)} searches taken from {arguments.take}")
    if arguments.plan:
        print(price(rows, kept))
        return 0
    status = 0
    if arguments.take is None and not arguments.record_only:
        status = _search(arguments, plan, rows, kept)
    _record(arguments, plan, kept)
    return status


def _record(arguments: Namespace, plan: Plan, kept: Searches) -> None:
    reference = read_reference(arguments.results)
    given = (arguments.table, arguments.search_table)
    if arguments.table is not None and not arguments.record_only and not same_tables(reference, *given):
        reference = make_reference(arguments.table, arguments.search_table)
        write_reference(arguments.results, reference)
    searches = list(kept.values())
    write_searches(arguments.results, searches, plan)
    write_text(arguments.page, page(plan, searches, reference), parents=True)
    by_row = {row.name: counted(row, searches) for row in plan.rows}
    for path in (arguments.page, *draw_all(plan, by_row, reference, arguments.page.parent / "pictures")):
        print(path)


def missing(rows: Sequence[Row], kept: Searches) -> list[tuple[Row, int]]:
    """The searches that are still to be run, a seed of all rows of a tier before the next seed."""
    left = [
        (row, seed)
        for row in rows
        for seed in row.seeds
        if seed not in {search.seed for search in counted(row, list(kept.values()))}
    ]
    return sorted(left, key=lambda item: (item[0].tier, item[1]))


def price(rows: Sequence[Row], kept: Searches) -> str:
    """What is missing, and the hours of a core that it takes by what recorded searches took."""
    every = [search.number("seconds") or 0.0 for search in kept.values()]
    lines, total, guessed = [], 0.0, False
    left = missing(rows, kept)
    for row in rows:
        seeds = [seed for other, seed in left if other == row]
        if not seeds:
            continue
        own = [search.number("seconds") or 0.0 for search in counted(row, list(kept.values()))]
        known = own or every
        hours = len(seeds) * sum(known) / len(known) / 3600 if known else None
        about = "" if own else ", by the mean of other rows" if known else ", nothing is recorded to go by"
        guessed |= not own
        total += hours or 0.0
        took = "?" if hours is None else f"{hours:.1f}"
        lines.append(f"tier {row.tier}  {row.name:20} {len(seeds):2} searches  {took:>6} hours{about}")
    if left and not every:
        return "\n".join([*lines, f"{len(left)} searches; a first recorded one will tell what they take"])
    words = " at least, since second order and larger scales take several times as long" if guessed else ""
    return "\n".join([*lines, f"{len(left)} searches, {total:.1f} hours of one core{words}"])


def _gather(folder: Path, rows: Sequence[Row], kept: Searches) -> int:
    """Adds finished run folders to what is kept; says how many."""
    count = 0
    for row in rows:
        for seed in row.seeds:
            search = take(folder / row.name / f"seed{seed}", row, seed)
            if search is not None:
                kept[row.name, seed] = search
                count += 1
    return count


def _search(arguments: Namespace, plan: Plan, rows: Sequence[Row], kept: Searches) -> int:
    """Runs what is missing, tier by tier; what has finished is kept whatever happens."""
    folder = arguments.folder.resolve()
    before: Mapping[tuple[str, int], Search] = {}
    if arguments.anew:
        folder = folder.with_name(f"{folder.name}_anew")
        names = {row.name for row in rows}
        before = {place: kept.pop(place) for place in list(kept) if place[0] in names}
    _gather(folder, rows, kept)
    left = missing(rows, kept)
    require(
        not left or arguments.table is not None,
        f"--table: {len(left)} searches are missing, and are judged by it",
    )
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    failed: list[str] = []
    try:
        for tier in sorted({row.tier for row, _ in left}):
            chains = [_chain(arguments, folder, row, seed) for row, seed in left if row.tier == tier]
            failed = pipeline.run_all(chains, arguments.jobs)
            _gather(folder, rows, kept)
            if failed:
                print(
                    f"tier {tier} is not complete, so the next does not begin:",
                    *failed,
                    sep="\n",
                    file=sys.stderr,
                )
                break
    except KeyboardInterrupt:
        print(f"{folder}: stopped; the same command goes on", flush=True)
        _gather(folder, rows, kept)
        kept |= {place: search for place, search in before.items() if place not in kept}
        _record(arguments, plan, kept)
        raise SystemExit(130) from None
    for place, old in before.items():
        again = kept.setdefault(place, old)
        if again is not old:
            print(f"{place[0]}, seed {place[1]}: {old.accuracy:.2f} as kept, {again.accuracy:.2f} anew")
    return 1 if failed else 0


def _chain(arguments: Namespace, folder: Path, row: Row, seed: int) -> Chain:
    words = [
        *row.settings,
        *pipeline.every_run(arguments, seed),
        f"tabular.file={quoted(arguments.table.resolve())}",
    ]
    return Chain((row.name,), seed, folder / row.name / f"seed{seed}", tuple(words), found="")


if __name__ == "__main__":
    main()
