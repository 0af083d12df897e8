"""The torture chamber: faults by the thousand, and what docs/reliability.md says of them.

    python -m torture --minutes 2

Tries a case of each room in turn (docs/reliability.md says what a room is), each in processes and a folder of
its own, and goes on where it was stopped: what the present commit has tried is not tried again. A case that
fails leaves its folder and one line with the command that repeats it. Ends with a table, and with status 1
where something that is promised did not hold.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from nas.engine.machine.stopping import sigterm_as_interrupt
from torture import faults, keeping
from torture.chamber import Chamber
from torture.record import Tried, revision
from torture.rooms import ROOMS, room_of


def parse(words: Sequence[str] | None = None) -> Namespace:
    """The command line; `words` in place of the process's own."""
    parser = ArgumentParser(prog="python -m torture", description=str(__doc__).splitlines()[0])
    parser.add_argument(
        "--minutes", type=float, help="begin no further case after so long; default: try all cases"
    )
    parser.add_argument("--seed", type=int, default=0, help="what the cases are made of (default: 0)")
    parser.add_argument("--room", nargs="+", choices=ROOMS, default=list(ROOMS), help="default: all of them")
    parser.add_argument("--case", help="try this case alone, once more where it has been tried")
    parser.add_argument(
        "--plants", action="store_true", help="plant each fault and see that its room goes red"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("outputs/torture"), help="default: outputs/torture"
    )
    parser.add_argument(
        "--keep", action="store_true", help="the record goes into torture/results and docs/reliability.md"
    )
    given = parser.parse_args(words)
    if given.keep and (given.case is not None or set(given.room) != set(ROOMS)):
        parser.error("--keep: the record is of all rooms; leave --room and --case out")
    return given


def main(words: Sequence[str] | None = None) -> int:
    """Tries what is asked for and says what became of it; the exit status."""
    given = parse(words)
    missing = faults.prepare(given.folder / "kept")
    if missing is not None:
        print(f"not tried: {missing}")
    rooms = [room_of(name, given.folder.absolute()) for name in given.room]
    chamber = Chamber(given.folder, rooms, given.seed, revision(), given.minutes)
    found: list[Tried]
    try:
        with sigterm_as_interrupt():
            if given.case is not None:
                found = [chamber.one(given.case)]
                print(f"{found[0].room} {found[0].case}: {found[0].verdict} {found[0].said}".rstrip())
            elif given.plants:
                found = chamber.plants()
            else:
                chamber.go()
                found = chamber.tried()
    except LookupError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on")
        return 130
    if given.case is None and not given.plants:
        print(keeping.table(chamber))
    if given.keep:
        keeping.keep(chamber)
    return int(any(one.verdict == "failed" for one in found))


if __name__ == "__main__":
    sys.exit(main())
