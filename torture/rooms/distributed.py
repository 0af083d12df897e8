"""Runs of two processes, of which one is killed, at a write or a moment, or hangs."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from unittest import mock

from tests.forks import SKETCHES, Fork, launch
from torture import faults
from torture.commands import ROOT, START, Ended, finish, guarded, held
from torture.faults import Fault
from torture.kinds import CELLS, drawn, in_turn, spread
from torture.room import Case, Outcome, Plant
from torture.rooms import PLANT
from torture.rooms.kills import optimizers_forgotten
from torture.same import differences, left_behind
from torture.wholes import Whole

# torchrun whose processes are forks.
TORCHRUN = ("tests.ddp.torchrun", "--standalone", "--nproc-per-node=2", "-m", "nas.search")
# Seconds that a process waits for the others (`processes.timeout`), and those in which a run has ended then.
TIMEOUT, ENDS = 60, 300
TYPED = (
    "method=darts1", *CELLS, "trainer.max_epochs=3", "hardware.devices=2", "hardware.native=false",
    f"processes.timeout={TIMEOUT}",
)  # fmt: skip
MOMENTS = 6


class Distributed:
    """One of two processes goes: the run ends, says which, and goes on to the same bits.

    Args:
        folder: where the run is kept that others are held against.
    """

    name = "distributed"
    about = "two processes under torchrun: one killed at every write and at moments, one that hangs"
    holds = "it ends within the time-out, says which process was killed, and goes on to the same end"

    def __init__(self, folder: Path):
        self.folder = folder
        self._whole: Whole | None = None

    @property
    def plants(self) -> Mapping[str, Plant]:
        """Faults that it must see."""
        return PLANTS

    def cases(self, seed: int) -> Iterator[Case]:
        """Kills of either process at moments, hangs, and kills of the one that writes at its writes."""
        random = drawn(seed, "distributed")
        kills = [
            Case(f"killed_rank={number % 2}_{number}", {"cell": "killed at a moment", "rank": number % 2,
                 "do": "kill", "after": random.randint(0, 2)})
            for number in range(MOMENTS)
        ]  # fmt: skip
        hangs = [
            Case(f"hung_rank={rank}", {"cell": "hung", "rank": rank, "do": "hang", "after": 1})
            for rank in (1, 0)
        ]
        writes = (
            Case(f"k={at:03d}", {"cell": "killed at a write", "rank": 0, "at": at})
            for at in spread(len(self.whole().writes))
        )
        return in_turn(kills, hangs, writes)

    def whole(self) -> Whole:
        """The run that nothing happens to."""
        if self._whole is None:
            place = self.folder / "whole"
            run = place / "run"
            shutil.rmtree(place, ignore_errors=True)
            armed = faults.armed(run, place / "notes")
            words = [*TYPED, f"hydra.run.dir={run}"]
            done = finish(_start(place, *words, variables=armed, plant=False), time.monotonic())
            held(done.status == 0, f"two processes do not run: status {done.status}, {done.last}")
            self._whole = Whole(run, faults.listed(place / "notes"), done.seconds, done.err, done.out)
        return self._whole

    def run(self, case: Case, folder: Path) -> Outcome:
        """Starts two processes, takes one away, and goes on."""
        whole, run = self.whole(), folder / "run"
        words = [*TYPED, f"hydra.run.dir={run}"]
        if "at" in case.options:
            armed = faults.armed(run, folder / "notes", Fault(case.options["at"], "kill"))
            done = finish(_start(folder, *words, variables=armed), time.monotonic(), ENDS)
        else:
            done = self._without(case, _start(folder, *words), run)
        held(done.status != 0, "it has finished without one of its processes")
        held(_told(case, done), f"it does not say that it was process {case.options['rank']}: {done.last}")
        goes_on = [f"resume={run}"] if (run / "config.yaml").is_file() else words
        again = finish(_start(folder, *goes_on), time.monotonic())
        held(again.status == 0, f"does not go on: status {again.status}, {again.last}")
        found = differences(whole.run, run)
        held(not found, f"{len(found)} differences, the first: {'; '.join(found[:3])}")
        held(not left_behind(run), f"left over: {', '.join(left_behind(run))}")
        return Outcome("held")

    def _without(self, case: Case, process: "subprocess.Popen | Fork", run: Path) -> Ended:
        """Takes a process away once there are so many checkpoints, and waits for the end of the others."""
        begun = time.monotonic()
        with guarded(process):
            while (
                len(list(run.glob("checkpoints/epoch=*.ckpt"))) < case.options["after"]
                or len(_ranks(process)) < 2
            ):
                there = process.poll() is None and time.monotonic() < begun + ENDS
                held(there, "the run did not come so far")
                time.sleep(0.05)
        number = signal.SIGKILL if case.options["do"] == "kill" else signal.SIGSTOP
        pid = _ranks(process)[case.options["rank"]]
        os.kill(pid, number)
        try:
            return finish(process, begun, ENDS)
        finally:
            if number == signal.SIGSTOP:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _told(case: Case, done: Ended) -> bool:
    """Whether the end of a run says which process was gone.

    Once it trains it has to say so itself. Before, and behind its last epoch, torchrun's own word is enough,
    which it gives of every process that was killed. Of one that hangs nobody knows more than that it is out
    of reach.
    """
    rank, said = case.options["rank"], f"{done.out}\n{done.err}"
    if re.search(rf"^error: .*\bprocess {rank} of 2\b", said, re.MULTILINE):
        return True
    if case.options.get("do") == "hang":
        return re.search("^error: another process of this run .*out of reach", said, re.MULTILINE) is not None
    trains = case.options.get("after", 0) > 0
    return not trains and re.search(rf"^ *rank *: {rank} \(", said, re.MULTILINE) is not None


def _start(
    place: Path, *words: str, variables: Mapping[str, str] | None = None, plant: bool = True
) -> "subprocess.Popen | Fork":
    place.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), "NAS_OUTPUTS": str(place / "outputs"),
        SKETCHES: "1", **(variables or {}),
    }  # fmt: skip
    if not plant:
        environment.pop(PLANT, None)
    line = [sys.executable, "-c", START, *TORCHRUN, *words]
    return launch(line, cwd=ROOT, env=environment, start_new_session=True)


def _ranks(process: "subprocess.Popen | Fork") -> list[int]:
    """Process ids by rank: torchrun's children in the order in which it has forked them."""
    with suppress(OSError):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return sorted(map(int, children), key=_began)
    return []


def _began(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


@contextmanager
def _unwatched() -> Iterator[None]:
    from nas.engine.machine import peers

    with mock.patch.object(peers.Peers, "look", lambda watch: None):
        yield


@contextmanager
def _patient() -> Iterator[None]:
    from nas.engine.machine import peers

    with mock.patch.object(peers, "timedelta", lambda seconds: timedelta(seconds=100 * seconds)):
        yield


PLANTS = {
    "unwatched": Plant(
        "processes do not watch over each other", "does not say that it was", _unwatched, ("killed_rank=*",)
    ),
    "optimizers": Plant(
        "a resumed run begins with fresh optimisers", "differences", optimizers_forgotten, ("killed_rank=*",)
    ),
    "patient": Plant(
        "processes wait a hundred times as long for each other", "did not end within", _patient,
        ("hung_rank=1",),
    ),
}  # fmt: skip


def room(folder: Path) -> Distributed:
    """Makes the room."""
    return Distributed(folder)
