"""Disks that are full, break or are read-only from a write on; folders that go; two runs in one; clocks."""

import errno
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from torture import faults
from torture.commands import Ended, command, finish, guarded, held, start, until_stopped
from torture.faults import Fault
from torture.kinds import KINDS, Kind, drawn, in_turn, spread
from torture.room import Case, Outcome, Plant
from torture.rooms.kills import FIRST, in_place
from torture.wholes import Whole, Wholes, again, goes_on, same_end

# What a disk says, and whether it goes on saying so.
ERRORS = (("ENOSPC", True), ("EIO", False), ("EROFS", True), ("EDQUOT", False), ("EIO", True))
# What is done to a folder while a run waits at a write.
DEEDS = ("deleted", "moved", "replaced", "read-only", "second-run", "clock")
PLACES = 6


class Disk:
    """A run meets a disk that does not take a write: it says so once, and what was there goes on.

    Args:
        folder: where the runs are kept that others are held against.
    """

    name = "disk"
    about = (
        "ENOSPC, EIO, EROFS, EDQUOT and short writes at every write; folders deleted, moved, made read-only; "
        "two runs in one folder; a clock set back"
    )
    holds = "one message that says what is kept, status not 0, and what was kept goes on to the same end"

    def __init__(self, folder: Path):
        self.wholes = Wholes(folder.parent / "wholes")
        self.kinds = {kind.name: kind for kind in KINDS if kind.every}

    @property
    def plants(self) -> Mapping[str, Plant]:
        """Faults that it must see."""
        return PLANTS

    def cases(self, seed: int) -> Iterator[Case]:
        """One of each kind in turn, spread over its writes."""
        return in_turn(*(self._of(kind, seed) for kind in self.kinds.values()))

    def _of(self, kind: Kind, seed: int) -> Iterator[Case]:
        writes = self.wholes.of(kind).writes
        cell = {"kind": kind.name, "cell": kind.name}
        order, random = spread(len(writes)), drawn(seed, "disk", kind.name)
        by_error = []
        for turn in range(len(ERRORS)):
            for number, at in enumerate(order):
                error, lasting = ERRORS[(number + turn) % len(ERRORS)]
                name = f"{kind.name}_k={at:03d}_{error}{'_on' if lasting else ''}"
                by_error.append(Case(name, cell | {"at": at, "error": error, "lasting": lasting}))
        short = [
            Case(f"{kind.name}_k={at:03d}_short", cell | {"at": at, "error": "short"})
            for at in order
            if writes[at - 1].startswith("write")
        ]
        deeds = [
            Case(f"{kind.name}_{deed}={number}", cell | {"at": random.randint(1, len(writes)), "deed": deed})
            for number in range(PLACES)
            for deed in DEEDS
        ]
        yield from in_turn(by_error, short, deeds)

    def run(self, case: Case, folder: Path) -> Outcome:
        """Lets a run meet its disk."""
        kind = self.kinds[case.options["kind"]]
        whole, sources = self.wholes.of(kind), self.wholes.sources(kind)
        run, words = folder / "run", kind.typed(sources, folder / "run")
        if case.options.get("deed") == "read-only" and os.geteuid() == 0:
            return Outcome("not tried", "root writes to folders that are read-only")
        if case.options.get("deed") == "clock":
            armed = faults.armed(run, folder / "notes", Fault(case.options["at"], "clock"))
            done = command(kind.command, *words, place=folder, variables=armed)
            held((done.status, done.err) == (0, whole.err), f"status {done.status}: {done.last}")
            same_end(kind, whole, run)
            return Outcome("held")
        if "deed" in case.options:
            self._meanwhile(case, kind, whole, sources, folder)
            return Outcome("held")
        short = case.options["error"] == "short"
        fault = (
            Fault(case.options["at"], "short")
            if short
            else Fault(case.options["at"], "fail", case.options["error"], case.options["lasting"])
        )
        armed = faults.armed(run, folder / "notes", fault)
        done = command(kind.command, *words, place=folder, variables=armed)
        if done.status == 0:
            # What failed was not needed, such as the removal of what is gone anyway.
            same_end(kind, whole, run)
            return Outcome("held")
        told(done, "No space left on device" if short else os.strerror(getattr(errno, case.options["error"])))
        same_end(kind, whole, goes_on(kind, whole, sources, run, folder))
        return Outcome("held")

    def _meanwhile(
        self, case: Case, kind: Kind, whole: Whole, sources: dict[str, Path], folder: Path
    ) -> None:
        """Does something to the folder of a run that waits at a write."""
        run, words, deed = folder / "run", kind.typed(sources, folder / "run"), case.options["deed"]
        armed = faults.armed(run, folder / "notes", Fault(case.options["at"], "stop"))
        begun = time.monotonic()
        process = start(kind.command, *words, place=folder, variables=armed)
        moved, second = folder / "moved", None
        with guarded(process):
            held(until_stopped(process), "it ended before its write")
            there = run.is_dir()
            if deed == "second-run":
                second = again(kind, run, folder, sources)
            elif there:
                befall(run, deed, moved)
            os.kill(process.pid, signal.SIGCONT)
        done = finish(process, begun)
        if deed == "read-only" and there:
            run.chmod(0o700)
        if second is not None:
            ended = [one for one in (done, second) if one.status != 0]
            held(
                len(ended) < 2, f"neither of two runs in one folder has finished: {done.last}; {second.last}"
            )
            for one in ended:
                held(
                    one.status == 2, f"status {one.status} of the run that found the folder taken: {one.last}"
                )
                told(one)
            same_end(kind, whole, run)
        elif done.status == 0:
            held(not there or deed == "read-only", "it has not noticed that its folder is another one")
            same_end(kind, whole, run)
        else:
            told(done)
            if deed == "read-only":
                same_end(kind, whole, goes_on(kind, whole, sources, run, folder))
            elif moved.is_dir():
                held(deed == "replaced" or not run.exists(), "a folder that was moved away is there again")
                shutil.rmtree(run, ignore_errors=True)
                moved.rename(run)
                same_end(kind, whole, goes_on(kind, whole, sources, run, folder))


def befall(run: Path, deed: str, moved: Path) -> None:
    """Does something to a run folder: `deleted`, `moved`, `replaced` (by a copy), `read-only`."""
    if deed == "deleted":
        shutil.rmtree(run)
    elif deed == "read-only":
        run.chmod(0o500)
    else:
        run.rename(moved)
        if deed == "replaced":
            shutil.copytree(moved, run)


def told(done: Ended, reason: str = "") -> None:
    """Holds what a command said of a disk that did not take a write: one message, no traceback.

    Raises:
        Failed: it said something else.
    """
    held(done.status in (1, 2), f"status {done.status}: {done.last}")
    errors = re.findall("^error: ", done.err, re.MULTILINE)
    held(len(errors) == 1, f"{len(errors)} messages: {done.err.strip()[:300]!r}")
    held("Traceback" not in done.err + done.out, f"a traceback: {done.last}")
    held(reason in done.err, f"it does not say why ({reason}): {done.err.strip()[:300]!r}")
    if done.status == 1:
        held(
            re.search(r"\bkep(t|s)\b|keeps", done.err),
            f"it does not say what is kept: {done.err.strip()[:300]!r}",
        )


def _unchecked_identity() -> AbstractContextManager[Any]:
    from nas.running.locks import FolderLock

    return mock.patch.object(FolderLock, "check", lambda lock: None)


def _unlocked() -> AbstractContextManager[Any]:
    from nas.running import locks

    return mock.patch.object(locks, "_lock", lambda file: True)


def _silent() -> AbstractContextManager[Any]:
    from nas.engine.run_folder import RunFolder

    return mock.patch.object(RunFolder, "kept", lambda folder, again, trains=True: "")


def _unforeseen() -> AbstractContextManager[Any]:
    from nas.running import session

    return mock.patch.object(session, "write_failure", lambda error: None)


@contextmanager
def _forwards() -> Iterator[None]:
    from nas.engine.progress import Clock

    end, ended = Clock.end_epoch, [0.0]

    def forwards(clock: Clock, *given: Any) -> None:
        if time.time() < ended[-1]:
            raise RuntimeError("the clock was set back")
        ended.append(time.time())
        end(clock, *given)

    with mock.patch.object(Clock, "end_epoch", forwards):
        yield


PLANTS = {
    "locks": Plant(
        "a run folder is not locked", "neither of two|differences|left over|status",
        _unlocked, (f"{KINDS[0].name}_second-run=*",),
    ),
    "folders": Plant(
        "nobody looks whether the folder is still the same", "has not noticed", _unchecked_identity,
        (f"{KINDS[0].name}_replaced=*",),
    ),
    "silent": Plant("the message does not say what is kept", "does not say what is kept", _silent, FIRST),
    "unforeseen": Plant(
        "a run does not know an error of the disk for what it is", "does not say|messages|a traceback",
        _unforeseen, FIRST,
    ),
    "halves": Plant(
        "what was written beside a file is copied over it, not renamed",
        "does not go on|differences|other words", in_place, (f"{KINDS[0].name}_*_short",),
    ),
    "clock": Plant(
        "a run breaks down where its clock goes back", "clock was set back", _forwards,
        (f"{KINDS[0].name}_clock=*",),
    ),
}  # fmt: skip


def room(folder: Path) -> Disk:
    """Makes the room."""
    return Disk(folder)
