"""Jobs of a multirun side by side: each a process of its own, with its share of the machine.

What a launcher starts (a worker of joblib, submitit or Ray) stays small: it starts the job exactly as a
single run is started from a shell, waits, and writes down how it ended. So a job that is killed costs no
other, and threads and GPU are chosen before the job's process loads torch.
"""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.engine.machine.limits import processors
from nas.errors import ConfigError, require
from nas.files import Writer, this_process, write_text
from nas.reading.json_text import read_object
from nas.reading.plain import is_whole
from nas.running.own_files import check_folder
from nas.running.words import quoted

PLUGINS = "hydra_plugins"
JOBLIB = f"{PLUGINS}.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
SUBMITIT_LOCAL = f"{PLUGINS}.hydra_submitit_launcher.submitit_launcher.LocalLauncher"
SUBMITIT_SLURM = f"{PLUGINS}.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
RAY = f"{PLUGINS}.hydra_ray_launcher.ray_launcher.RayLauncher"
# A list as CUDA_VISIBLE_DEVICES has it; one named twice takes two jobs.
GPUS = "NAS_GPUS"
# What CUDA_VISIBLE_DEVICES was when the sweep began.
VISIBLE = "NAS_VISIBLE_GPUS"
# Read by the libraries when they are loaded.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
OUTPUT = "output.txt"
JOB = "job.json"
# Seconds between two looks for a free place, and those that a stopped job has to write its summary.
POLL, GRACE = 0.5, 20.0
TAIL = 4000


@dataclass(frozen=True)
class Share:
    """What one job gets of the machine that it runs on.

    Attributes:
        threads: threads of its libraries; None leaves the environment as it is.
        at_a_time: jobs that run at once, where the launcher starts all of them; None if it counts itself.
        gpus: whether GPUs have to be given out one by one; a scheduler has done it otherwise.
    """

    threads: int | None = None
    at_a_time: int | None = None
    gpus: bool = False


@dataclass(frozen=True)
class Job:
    """One job of a multirun.

    Attributes:
        command: `search` or `evaluate`.
        id: what the launcher calls it; the same when a cluster starts it again.
        folder: its run folder.
        overrides: what was typed for it.
        arguments: what it is started with, the folder included.
        cwd: where the sweep was started.
        goes_on: whether the arguments have been chosen for what its folder holds.
    """

    command: str
    id: str
    folder: Path
    overrides: Sequence[str]
    arguments: Sequence[str]
    cwd: str
    goes_on: bool = False


def share_of(launcher: Mapping[str, Any]) -> Share:
    """What each job gets: processors are divided by the jobs that run at a time.

    Args:
        launcher: the node `hydra.launcher`, resolved.

    Raises:
        ConfigError: a number of jobs, processors or threads that cannot be.
    """
    target, cores = launcher.get("_target_"), processors()
    if target == JOBLIB:
        jobs = 1 if launcher.get("n_jobs") is None else launcher["n_jobs"]
        require(
            _whole(jobs) and jobs != 0,
            f"hydra.launcher.n_jobs={jobs}: must be a number of jobs at a time, or -1 for all processors",
        )
        jobs = max(1, cores + 1 + jobs) if jobs < 0 else jobs
        return Share(threads=max(1, cores // jobs), gpus=True)
    if target in (SUBMITIT_LOCAL, SUBMITIT_SLURM):
        each = launcher.get("cpus_per_task")
        each = 1 if each is None else each
        require(
            _whole(each) and each >= 1,
            f"hydra.launcher.cpus_per_task={each}: must be a number of processors above 0",
        )
        if target == SUBMITIT_SLURM:
            return Share(threads=each)
        return Share(threads=min(each, cores), at_a_time=max(1, cores // each), gpus=True)
    if target == RAY:
        each = ((launcher.get("ray") or {}).get("remote") or {}).get("num_cpus")
        # Ray takes parts of a processor, and 0 for jobs that only wait.
        return Share(threads=max(1, int(each or 1)))
    return Share()


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def own_gpus() -> None:
    """Keeps what the user made visible, because submitit overwrites `CUDA_VISIBLE_DEVICES`."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        os.environ.setdefault(VISIBLE, os.environ["CUDA_VISIBLE_DEVICES"])


def gpu_list(wanted: bool) -> list[str]:
    """The GPUs that jobs share: those of `NAS_GPUS`, else all that the user sees; none if none are wanted.

    Raises:
        ConfigError: GPUs are wanted and there is none.
    """
    named = os.environ.get(GPUS)
    if named is None and not wanted:
        return []
    if named is None:
        named = os.environ.get(VISIBLE)
    if named is not None:
        names = (name.strip() for name in named.split(","))
        # -1 is how a machine's GPUs are hidden.
        found = [name for name in names if name and not name.startswith("-")]
    else:
        import torch

        # Not the user's, whose choice was kept: submitit's, who hides what it gives nobody.
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        found = [str(index) for index in range(torch.cuda.device_count())]
    require(
        bool(found) or not wanted,
        f"{GPUS}={named or ''}: no GPU for the jobs; name them ({GPUS}=0,1), or choose hardware=cpu",
    )
    return found


@contextmanager
def place(folder: Path, names: Sequence[str]) -> Iterator[str]:
    """Waits for a free place and holds it; the operating system frees those of killed processes.

    Args:
        folder: holds a lock a place, on a disk of this machine.
        names: the places; of one that is named twice there are two.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    counted = [(name, names[:index].count(name)) for index, name in enumerate(names)]
    locks = [(name, FileLock(folder / f"{_safe(name)}_{again}.lock")) for name, again in counted]
    while True:
        for name, lock in locks:
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            try:
                yield name
            finally:
                lock.release()
            return
        time.sleep(POLL)


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in name)


def _locks(*parts: str) -> Path:
    """A folder of locks on this machine's own disk, apart for each user."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return Path(tempfile.gettempdir(), f"nas-places-{user}", *parts)


def run_apart(job: Job, share: Share, gpu: bool, sweep: Path) -> str:
    """Runs one job as a process of its own and leaves in its folder how it ended.

    Args:
        job: what to run.
        share: what it gets of the machine.
        gpu: whether its hardware profile computes on a GPU.
        sweep: the folder of the sweep, which limits its jobs at a time.

    Returns:
        Why it did not finish; empty if it did.

    Raises:
        ConfigError: its folder holds another run, or it wants a GPU and there is none.
    """
    arguments = _again(job)
    environment = os.environ | {name: str(share.threads) for name in THREADS if share.threads}
    with ExitStack() as held:
        if share.at_a_time:
            own = hashlib.sha256(str(sweep).encode()).hexdigest()[:16]
            held.enter_context(place(_locks(own), [str(turn) for turn in range(share.at_a_time)]))
        gpus = gpu_list(gpu) if share.gpus else []
        if gpus:
            # One folder for all sweeps of a user: two at once do not meet on a GPU.
            environment["CUDA_VISIBLE_DEVICES"] = held.enter_context(place(_locks("gpus"), gpus))
        code = _wait(job, arguments, environment)
    return close(job, code)


def _again(job: Job) -> list[str]:
    """The arguments of a job, or those that continue it if a cluster starts it for another time."""
    before = read(job.folder / JOB)
    restarted = before.get("id") == job.id and before.get("launcher_restarts") is True
    if not (job.folder / "config.yaml").exists() or (job.goes_on and not restarted):
        return list(job.arguments)
    require(
        restarted,
        f"hydra.run.dir={job.folder}: it holds a run already; choose another hydra.sweep.dir",
    )
    # Beside Hydra's own, what a folder's word is not enough for.
    again = re.compile(r"hydra\.|--config-dir=|trust=|logger[=.]")
    return [*filter(again.match, job.arguments), f"resume={quoted(job.folder)}"]


def _wait(job: Job, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    check_folder(job.folder, f"run folder {job.folder}")
    job.folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", f"nas.{job.command}", *arguments]
    _keep(job.folder, job.overrides)
    with (job.folder / OUTPUT).open("ab") as output:
        process = subprocess.Popen(
            words,
            cwd=job.cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            note(job.folder, job.id, process.pid, environment)
            return process.wait()
        except BaseException:
            # Ctrl-C, or a cluster that wants its machine back: the job sums itself up, if it is quick.
            process.terminate()
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            raise


def note(folder: Path, id: str, pid: int, environment: Mapping[str, str] = os.environ) -> None:
    """Writes down which process a job is, so that it can be told later whether it is still there."""
    found = {
        "id": id,
        "launcher_restarts": any(name.startswith("SUBMITIT_") for name in environment),
        "host": socket.gethostname(),
        "pid": pid,
        "gpu": environment.get("CUDA_VISIBLE_DEVICES"),
        "threads": environment.get(THREADS[0]),
    }
    write_text(folder / JOB, json.dumps(found, indent=1) + "\n")


def close(job: Job, code: int) -> str:
    """Completes the `summary.json` of a job that has ended, however it did.

    Args:
        job: the job.
        code: the exit status of its process; minus the signal's number if one killed it.

    Returns:
        Why it did not finish; empty if it did.
    """
    summary = read(job.folder / "summary.json")
    status = summary.get("status")
    if status == "finished":
        return ""
    if status not in ("failed", "stopped"):
        if code == 0:
            return ""  # a command that leaves no summary
        tail = (job.folder / OUTPUT).read_bytes()[-TAIL:].decode("utf-8", "replace")
        if code < 0:
            what = f"killed by {_signal(-code)}"
            what += " (the machine may have run out of memory)" if -code == signal.SIGKILL else ""
        else:
            last = ([line for line in tail.splitlines() if line.strip()] or ["it printed nothing"])[-1]
            what = f"it ended with status {code} before it could say why: {last.strip()}"
        summary["status"] = "died" if code < 0 else "failed"
        summary["error"] = what
        write_text(job.folder / "error.txt", f"{what}\n\nThe end of {OUTPUT}:\n\n{tail}")
    mark(job.folder, job.command, summary, 2 if code == 2 else 1, job.overrides)
    return str(summary.get("error") or summary["status"])


def mark(folder: Path, command: str, summary: Mapping, exit_status: int, overrides: Sequence[str]) -> None:
    """Writes into the summary of a job that did not finish the exit status that it stands for."""
    _keep(folder, overrides)
    head = {"schema": 1, "command": command}
    write_text(
        folder / "summary.json",
        json.dumps(head | dict(summary) | {"exit_status": exit_status}, indent=1) + "\n",
    )


def _keep(folder: Path, overrides: Sequence[str]) -> None:
    """Writes what was typed for a job before the job does, which may not come to it."""
    if not (folder / "overrides.yaml").exists():
        text = "".join(f"- {json.dumps(one)}\n" for one in overrides) or "[]\n"
        write_text(folder / "overrides.yaml", text)


def record_failure(folder: Path, command: str, text: str, exit_status: int, overrides: Sequence[str]) -> None:
    """Leaves in a job's folder that it failed, where it was refused before it could do so itself."""
    if not folder.is_dir():
        return
    path = folder / "summary.json"
    summary = read(path) if path.exists() else {"status": "failed", "error": text}
    # A job that was sent to the folder of another run must not touch what that run left.
    if summary.get("status") == "failed":
        mark(folder, command, summary, exit_status, overrides)
    elif summary.get("status") == "stopped" and (folder / JOB).exists():
        mark(folder, command, summary | {"error": text}, exit_status, overrides)


def is_dead(folder: Path) -> bool:
    """Whether the process of a job is known to be gone: it ran on this machine, and no process has its id.

    One that has ended and that nobody has asked how is gone too.
    """
    job = read(folder / JOB)
    # Beyond C's range there is no process, and 0 and below stand for groups of them.
    if job.get("host") != socket.gethostname() or not is_whole(job.get("pid"), 1, 2**31 - 1):
        return False
    # When it began, nobody has written down.
    return Writer(this_process().host, job["pid"], 0).gone()


def read(path: Path) -> dict:
    """A JSON object; empty where there is none that can be read."""
    try:
        return read_object(path)
    except ConfigError:
        return {}


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
