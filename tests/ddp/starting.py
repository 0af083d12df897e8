"""Starting a run in several processes, with a time limit and with its output where it fails."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import TINY, Done, environment_of
from tests.forks import Fork, launch

# Seconds for a start; half a minute on two idle cores.
LIMIT = 900
LAUNCHER, TORCHRUN = "Lightning's launcher", "torchrun"
FORKED = "torchrun, by forks"  # without the imports of each process
CELLS = (*TINY, "hardware.native=false", "trainer.enable_progress_bar=false")


def command(launcher: str, processes: int, module: str, *arguments: str) -> list[str]:
    """What a user types; torchrun chooses a free port, as Lightning does."""
    if launcher == LAUNCHER:
        return [sys.executable, "-m", module, *arguments]
    program = {TORCHRUN: "torch.distributed.run", FORKED: "tests.ddp.torchrun"}[launcher]
    return [
        sys.executable,
        "-m",
        program,
        "--standalone",
        f"--nproc-per-node={processes}",
        "-m",
        module,
        *arguments,
    ]


def start(folder: Path, line: Sequence[str], **environment: str) -> subprocess.Popen | Fork:
    """A process group of its own, so that all of it can be ended; output goes to files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "out.txt").open("w") as out, (folder / "err.txt").open("w") as err:
        return launch(
            line, env=environment_of(folder) | environment, stdout=out, stderr=err, start_new_session=True
        )


def wait(folder: Path, process: subprocess.Popen | Fork, limit: float = LIMIT) -> Done:
    """How it ended; after the limit the whole group is killed and the test fails with the output."""
    try:
        status = process.wait(timeout=limit)
    except subprocess.TimeoutExpired:
        status = None
    finally:
        end(process)
    out, err = ((folder / name).read_text() for name in ("out.txt", "err.txt"))
    assert status is not None, f"still running after {limit} s\n{out}\n{err}"
    return Done(status, out, err)


def end(process: subprocess.Popen | Fork) -> None:
    """Ends what is left of a process group; torchrun's own children are others, which it ends when told."""
    with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def started(folder: Path, line: Sequence[str], **environment: str) -> Done:
    """Starts and waits."""
    return wait(folder, start(folder, line, **environment))


def jobs_file(folder: Path, jobs: Sequence[tuple[str, Sequence[str]]]) -> Path:
    """A file that tells the worker what to do."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "jobs.json"
    path.write_text(json.dumps([[name, list(map(str, overrides))] for name, overrides in jobs]))
    return path
