"""The torture chamber: faults by the thousand, and what docs/reliability.md says of them.

    python -m torture --minutes 2

Tries a case of each room (docs/reliability.md says what a room is) and goes on with the room that has had the
least time, each case in processes and a folder of its own. It goes on where it was stopped: what the present
commit of the code has tried is not tried again. A case that fails leaves its folder and one line with the
command that repeats it. Ends with a table, and with status 1 where something that is promised did not hold.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from nas.engine.machine.stopping import sigterm_as_interrupt
from nas.errors import ConfigError
from nas.running.locks import FolderLock
from torture import faults, keeping
from torture.chamber import Chamber
from torture.record import Tried, revision, revisions
from torture.rooms import ROOMS, room_of


def parse(words: Sequence[str] | None = None) -> Namespace:
    """The command line; `words` in place of the process's own."""
    parser = ArgumentParser(prog="python -m torture", description=str(__doc__).splitlines()[0])
    parser.add_argument(
        "--minutes",
        type=float,
        help="begin no further case after so long, but for the first of a room; default: try all cases",
    )
    parser.add_argument("--seed", type=int, default=0, help="what the cases are made of (default: 0)")
    parser.add_argument("--room", nargs="+", choices=ROOMS, default=list(ROOMS), help="default: all of them")
    parser.add_argument("--case", help="try this case alone, once more where it has been tried")
    parser.add_argument(
        "--plants",
        nargs="*",
        metavar="PLANT",
        help="plant each fault that the present commit has not seen, or those of these names, and see that "
        "its room goes red",
    )
    parser.add_argument(
        "--since",
        metavar="COMMIT",
        help="count what held at this commit of the code, or one after it, as tried; the table says where",
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("outputs/torture"), help="default: outputs/torture"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="the record goes into torture/results and docs/reliability.md: that of the cases of all rooms, "
        "or with --plants that of these plants, beside those that are kept of others",
    )
    given = parser.parse_args(words)
    if given.plants is not None and given.case is not None:
        parser.error("--plants: a plant has its own cases; leave --case out")
    if given.keep and given.plants is None and (given.case is not None or set(given.room) != set(ROOMS)):
        parser.error("--keep: the record of the cases is of all rooms; leave --room and --case out")
    return given


def main(words: Sequence[str] | None = None) -> int:
    """Tries what is asked for and says what became of it; the exit status."""
    given = parse(words)
    given.folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FolderLock(given.folder.absolute(), f"--folder {given.folder}")
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        return _tried(given)
    finally:
        lock.release()


def _tried(given: Namespace) -> int:
    missing = faults.prepare(given.folder / "kept")
    if missing is not None:
        print(f"not tried: {missing}")
    rooms = [room_of(name, given.folder.absolute()) for name in given.room]
    found: list[Tried]
    try:
        commits = [revision()] if given.since is None else revisions(given.since)
        chamber = Chamber(given.folder, rooms, given.seed, commits, given.minutes)
        with sigterm_as_interrupt():
            if given.case is not None:
                found = [chamber.one(given.case)]
                print(f"{found[0].room} {found[0].case}: {found[0].verdict} {found[0].said}".rstrip())
            elif given.plants is not None:
                found = chamber.plants(given.plants)
            else:
                chamber.go()
                found = chamber.tried()
    except LookupError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on")
        return 130
    if given.case is None and given.plants is None:
        print(keeping.table(chamber))
    if given.keep and given.plants is None:
        keeping.keep(chamber)
    elif given.keep:
        keeping.keep_plants(chamber, [room_of(name, given.folder.absolute()) for name in ROOMS])
    return int(any(one.verdict == "failed" for one in found))


if __name__ == "__main__":
    sys.exit(main())
