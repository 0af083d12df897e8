"""Signals that ask a run to stop, at any of its writes, once and twice, to one process and to a group."""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from unittest import mock

from torture import faults
from torture.commands import finish, guarded, held, start, until_stopped
from torture.faults import Fault
from torture.kinds import KINDS, Kind, in_turn, spread
from torture.room import Case, Outcome, Plant
from torture.rooms.kills import FIRST
from torture.wholes import Wholes, goes_on, same_end

SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")
# Seconds between the first signal and the second.
SOON = 0.05


class Signals:
    """A run is told to stop: it says so, and goes on to the same end.

    Args:
        folder: beside that of the runs that others are held against.
    """

    name = "signals"
    about = (
        "SIGTERM, SIGINT, SIGHUP or SIGUSR1 at every write, once or twice, with loader workers to all of them"
    )
    holds = "exit status 130 and no traceback; it goes on, or is repeated, and ends as if nothing had come"

    def __init__(self, folder: Path):
        self.wholes = Wholes(folder.parent / "wholes")
        self.kinds = {kind.name: kind for kind in KINDS}

    @property
    def plants(self) -> Mapping[str, Plant]:
        """Faults that it must see."""
        return PLANTS

    def cases(self, seed: int) -> Iterator[Case]:
        """One of each kind in turn, spread over its writes; which signal, and whether twice, a seed says."""
        kinds = enumerate(self.kinds.values())
        return in_turn(*(self._of(kind, seed + number) for number, kind in kinds))

    def _of(self, kind: Kind, seed: int) -> Iterator[Case]:
        order = spread(len(self.wholes.of(kind).writes))
        cell = {"kind": kind.name, "cell": kind.name}
        ways = [(name, twice) for twice in (False, True) for name in SIGNALS]
        for number, at in enumerate(order):
            name, twice = ways[(number + seed) % len(ways)]
            words = f"{kind.name}_k={at:03d}_{name}{'_twice' if twice else ''}"
            yield Case(words, cell | {"at": at, "signal": name, "twice": twice})

    def run(self, case: Case, folder: Path) -> Outcome:
        """Sends the signal while the run waits at a write."""
        kind, number = self.kinds[case.options["kind"]], signal.Signals[case.options["signal"]]
        whole, sources = self.wholes.of(kind), self.wholes.sources(kind)
        run, words = folder / "run", kind.typed(sources, folder / "run")
        armed = faults.armed(run, folder / "notes", Fault(case.options["at"], "stop"))
        begun = time.monotonic()
        process = start(kind.command, *words, place=folder, variables=armed)
        # A scheduler tells all processes of a job; where there is one, that is the same.
        send = os.killpg if "workers" in kind.name else os.kill
        with guarded(process):
            held(until_stopped(process), "it ended before its write")
            send(process.pid, number)
            os.kill(process.pid, signal.SIGCONT)
        if case.options["twice"]:
            time.sleep(SOON)
            if process.poll() is None:
                send(process.pid, number)
        done = finish(process, begun)
        held("Traceback" not in done.err + done.out, f"a traceback: {done.last}")
        last = case.options["at"] > len(whole.writes) - 2
        held(done.status == 130 or (last and done.status == 0), f"status {done.status}: {done.last}")
        held("error" not in done.err, f"an error: {done.last}")
        same_end(kind, whole, goes_on(kind, whole, sources, run, folder))
        return Outcome("held")


@contextmanager
def _deaf() -> Iterator[None]:
    from nas.running import config, session

    with (
        mock.patch.object(config, "sigterm_as_interrupt", nullcontext),
        mock.patch.object(session, "sigterm_as_interrupt", nullcontext),
    ):
        yield


@contextmanager
def _startled() -> Iterator[None]:
    from nas.engine.machine.stopping import Sigterm

    hear = Sigterm.__call__

    def again(told: Sigterm, number: int, frame: FrameType | None) -> None:
        told.received = False
        hear(told, number, frame)

    with mock.patch.object(Sigterm, "__call__", again):
        yield


PLANTS = {
    "deaf": Plant("nobody listens to signals but Python", r"status -\d+", _deaf, FIRST),
    "startled": Plant(
        "a second signal breaks into what the first began", "a traceback|an error|status", _startled,
        (f"{FIRST[0]}_twice",),
    ),
}  # fmt: skip


def room(folder: Path) -> Signals:
    """Makes the room."""
    return Signals(folder)
