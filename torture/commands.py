"""A command of the project as a process: a fork that has everything imported, with faults and plants."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.forks import SKETCHES, Fork, launch
from torture.rooms import PLANT

ROOT = Path(__file__).resolve().parent.parent
# Wherever it is started.
START = f"import sys; sys.path.insert(1, {str(ROOT)!r}); import torture.inside; torture.inside.main()"
# Seconds after which a command is said to hang.
PATIENCE = 600.0


class Failed(Exception):
    """Something that is promised did not hold."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: minus the signal's number where one ended it.
        out: what it printed.
        err: what it printed as errors.
        seconds: how long it took.
    """

    status: int
    out: str
    err: str
    seconds: float

    @property
    def last(self) -> str:
        """The last line of what it said, for a message."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1][:300] if lines else "(nothing said)"


def held(condition: object, words: str) -> None:
    """Goes on where a condition holds.

    Raises:
        Failed: with the words.
    """
    if not condition:
        raise Failed(words)


def start(
    name: str,
    *overrides: object,
    place: Path,
    variables: Mapping[str, str] | None = None,
    plant: bool = True,
    cwd: Path = ROOT,
) -> "subprocess.Popen | Fork":
    """Starts `nas.<name>` in a process group of its own, pictures as one white pixel.

    Args:
        name: which command.
        overrides: what is typed behind it.
        place: where its outputs go where no folder is named.
        variables: more of its environment.
        plant: whether a fault that is planted just now is in it too.
        cwd: where it is started.
    """
    environment = os.environ | {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), "NAS_OUTPUTS": str(place / "outputs"),
        SKETCHES: "1", "WANDB_SILENT": "true", **(variables or {}),
    }  # fmt: skip
    if not plant:
        environment.pop(PLANT, None)
    line = [sys.executable, "-c", START, f"nas.{name}", *map(str, overrides)]
    return launch(line, cwd=cwd, env=environment, start_new_session=True)


def command(name: str, *overrides: object, place: Path, timeout: float = PATIENCE, **options) -> Ended:
    """Runs a command to its end; the options are those of `start`.

    Raises:
        Failed: it did not end in time.
    """
    begun = time.monotonic()
    return finish(start(name, *overrides, place=place, **options), begun, timeout)


def finish(process: "subprocess.Popen | Fork", begun: float, timeout: float = PATIENCE) -> Ended:
    """Waits for the end of what `start` has started.

    Raises:
        Failed: it did not end in time.
    """
    try:
        with guarded(process):
            out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"it did not end within {timeout:.0f} s: {' '.join(process.args[3:6])} ...") from error
    assert process.returncode is not None
    return Ended(process.returncode, out or "", err or "", time.monotonic() - begun)


@contextmanager
def guarded(process: "subprocess.Popen | Fork") -> Iterator[None]:
    """A block in which something is done while a command runs: where it breaks off, so does the command.

    Whoever stops the chamber, or a case that has failed, stops what was started.
    """
    try:
        yield
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # What it has started in groups of their own may hold its streams.
        with suppress(subprocess.TimeoutExpired, ValueError):
            process.communicate(timeout=10)
        raise


def until_stopped(process: "subprocess.Popen | Fork", patience: float = PATIENCE) -> bool:
    """Waits until a process stands still (`stop` of `torture.faults`); False where it has ended instead.

    Raises:
        Failed: it did neither in time.
    """
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state in "Tt":
            return True
        if state in "ZX":
            return False
        time.sleep(0.005)
    raise Failed(f"it did not come to its write within {patience:.0f} s")
