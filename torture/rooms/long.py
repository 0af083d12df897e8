"""Long runs: memory, threads and open files of a process over many steps or jobs; slopes with intervals."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from scipy import stats

from torture.commands import finish, guarded, held, start
from torture.kinds import CELLS, QUIET
from torture.room import Case, Outcome, Plant

# Of the digits, with 16 images a batch: steps of an epoch.
STEPS = 50
SEARCH = (*CELLS, "method=darts1", f"trainer.limit_train_batches={STEPS}", "checkpoint.every=10")
JOBS = ("-m", "method=random", *CELLS, *QUIET)
# What begins is left out: libraries load what they need, and caches fill.
WARM = 0.3
BLOCKS = 10
# What a process may grow by in a day, by the lower end of the interval, and in the run itself.
DAY, ITSELF = 512.0, 32.0
# Seconds below which nothing is said of a day: one megabyte of an allocator would be gigabytes.
SPAN = 300.0
PATIENCE = 3600.0


@dataclass(frozen=True)
class Look:
    """A process at a moment: seconds since its start, megabytes, threads, open files, how far it has come."""

    seconds: float
    memory: float
    threads: int
    files: int
    done: int


class Long:
    """A process that works for long stays as large as it is.

    Args:
        folder: not needed.
    """

    name = "long"
    about = "1,000 and 10,000 steps of a search; 20 and 200 jobs in one process"
    holds = (
        "threads and files stay the same, memory grows by less than 32 MB, from 5 minutes on 512 MB in a day"
    )

    def __init__(self, folder: Path):
        pass

    @property
    def plants(self) -> Mapping[str, Plant]:
        """Faults that it must see."""
        return PLANTS

    def cases(self, seed: int) -> Iterator[Case]:
        """The short ones first."""
        for number in (1_000, 10_000):
            yield Case(f"steps_{number}", {"cell": "steps of a search", "steps": number})
            yield Case(f"jobs_{number // 50}", {"cell": "jobs in one process", "jobs": number // 50})

    def run(self, case: Case, folder: Path) -> Outcome:
        """Looks at a process four times a second until it ends."""
        if not Path("/proc/self/fd").is_dir():
            return Outcome("not tried", "there is no /proc")
        if "steps" in case.options:
            run, total = folder / "run", case.options["steps"] // STEPS
            words = [*SEARCH, f"trainer.max_epochs={total}", f"hydra.run.dir={run}"]
        else:
            run, total = folder / "sweep", case.options["jobs"]
            words = [*JOBS, f"seed=range(0,{total})", f"hydra.sweep.dir={run}"]
        begun = time.monotonic()
        process = start("search", *words, place=folder)
        looks: list[Look] = []
        with guarded(process):
            while process.poll() is None and time.monotonic() < begun + PATIENCE:
                with suppress(OSError, ValueError, IndexError):
                    looks.append(_look(process.pid, time.monotonic() - begun, _done(run)))
                time.sleep(0.25)
        ended = finish(process, begun, 10)
        held(ended.status == 0, f"status {ended.status}: {ended.last}")
        return Outcome("held", judged([one for one in looks if WARM * total < one.done]), inputs=total)


def judged(looks: Sequence[Look]) -> str:
    """What looks at a process say of it, in words.

    Raises:
        Failed: it has grown.
    """
    held(len(looks) >= 3 * BLOCKS, f"only {len(looks)} looks at the process")
    for name in ("threads", "files"):
        # Not the very last look: what closes at the end may have opened others for it.
        first, last = getattr(looks[0], name), getattr(looks[-len(looks) // BLOCKS], name)
        held(last <= first, f"{name}: {first} at first and {last} at last")
    size = len(looks) // BLOCKS
    blocks = [looks[number * size : (number + 1) * size] for number in range(BLOCKS)]
    times = [sum(one.seconds for one in block) / size for block in blocks]
    memory = [sum(one.memory for one in block) / size for block in blocks]
    span = looks[-1].seconds - looks[0].seconds
    seen = f"({len(looks)} looks over {span:.0f} s"
    words = f"memory {memory[0]:.1f} MB at first and {memory[-1]:.1f} at last {seen}"
    if span < SPAN:
        words = f"{words}, too few seconds for a day)"
        held(memory[-1] - memory[0] < ITSELF, f"it grows: {words}")
        return words
    fit = stats.linregress(times, memory)
    reach = stats.t.ppf(0.975, BLOCKS - 2) * fit.stderr
    day = [86_400 * (fit.slope + sign * reach) for sign in (-1, 1)]
    words = f"{words}); in a day {day[0]:+.0f} to {day[1]:+.0f} MB (95 %)"
    held(day[0] < DAY and memory[-1] - memory[0] < ITSELF, f"it grows: {words}")
    return words


def _look(pid: int, seconds: float, done: int) -> Look:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    memory = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    threads = len(os.listdir(f"/proc/{pid}/task"))
    return Look(seconds, memory, threads, len(os.listdir(f"/proc/{pid}/fd")), done)


def _done(run: Path) -> int:
    """Epochs of a run that are over, or jobs of a sweep that have begun."""
    table = run / "metrics.csv"
    if table.is_file():
        return max(0, table.read_bytes().count(b"\n") - 1)
    return sum(path.name.isdigit() for path in run.glob("*"))


@contextmanager
def _growing(each: Callable[[], Any]) -> Iterator[None]:
    from nas.engine.search_module import SearchModule

    step, kept = SearchModule._weight_step, []

    def grows(module: SearchModule, *given: Any, **options: Any) -> Any:
        kept.append(each())
        return step(module, *given, **options)

    with mock.patch.object(SearchModule, "_weight_step", grows):
        yield


@contextmanager
def _jobs_kept() -> Iterator[None]:
    from nas.commands import search

    usual, kept = search.run, []

    def keeps(*given: Any, **options: Any) -> Any:
        kept.append(os.urandom(8 << 20))
        return usual(*given, **options)

    with mock.patch.object(search, "run", keeps):
        yield


def _waits() -> threading.Thread:
    thread = threading.Thread(target=threading.Event().wait, daemon=True)
    thread.start()
    return thread


PLANTS = {
    "memory": Plant(
        "100 kB are kept at each step", "it grows", lambda: _growing(lambda: os.urandom(100_000)),
        ("steps_1000",),
    ),
    "files": Plant(
        "a file is left open at each step", "files:",
        lambda: _growing(lambda: os.open(os.devnull, os.O_RDONLY)), ("steps_1000",),
    ),
    "threads": Plant(
        "a thread is left waiting at each step", "threads:", lambda: _growing(_waits), ("steps_1000",)
    ),
    "jobs": Plant("8 MB are kept of each job", "it grows", _jobs_kept, ("jobs_20",)),
}  # fmt: skip


def room(folder: Path) -> Long:
    """Makes the room."""
    return Long(folder)
