"""Sweeps whose jobs fail, are killed and hang; whose launcher is killed; two of one folder at once.

Jobs are stand-ins that end within a fraction of a second. Each notes in its folder that it has run.
"""

import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

from torture.commands import ROOT, Ended, Failed, command, finish, guarded, held, start
from torture.kinds import drawn
from torture.room import Case, Outcome, Plant

# A `sitecustomize`: takes over where the process is to be a job of a sweep, or one that is completed.
JOB = """
import sys

def job(words):
    import json, os, pathlib, signal, time
    given = dict(word.split("=", 1) for word in words)
    folder = pathlib.Path(given.get("resume", given.get("hydra.run.dir")).strip('"'))
    folder.mkdir(parents=True, exist_ok=True)
    seed, resumed = int(given.get("seed", -1)), "resume" in given
    with (folder / "ran.txt").open("a") as file:
        file.write(f"{'resumed' if resumed else 'begun'} {os.getpid()}\\n")
    state = {"status": "running", "command": "search", "epochs": 3}
    (folder / "config.yaml").write_text("command: search")
    (folder / "summary.json").write_text(json.dumps(state))
    ill = json.loads(os.environ["TORTURE_ILL"]).get(str(seed)) if not resumed else None
    if ill == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if ill == "failed":
        print("no such library", flush=True)
        os._exit(1)
    time.sleep(3600 if ill == "hung" else 0.2)
    (folder / "summary.json").write_text(json.dumps(state | {"status": "finished", "num_skip": 1}))
    os._exit(0)

if sys.orig_argv[1:3] == ["-m", "nas.search"] and not {"-m", "--multirun"} & set(sys.orig_argv[3:]):
    try:
        job(sys.orig_argv[3:])
    finally:
        import os
        os._exit(99)  # never the real job
"""
ILLS = ("killed", "failed", "hung")
FEW, MANY = 24, 100
# Kills of the launcher, alone and with all that it has started.
KILLS = 8
PATIENCE = 300.0
ROUNDS = 4
SWEEP = ("-m", "hydra/launcher=workers", "hydra.launcher.n_jobs=2", "method=random")


class Sweeps:
    """A sweep goes wrong: no job is lost, none runs twice, the table is right, what is missing is completed.

    Args:
        folder: not needed.
    """

    name = "sweeps"
    about = (
        "24 and 100 jobs, a third of them failing, killed, hung; the launcher killed; one sweep twice at once"
    )
    holds = "no job lost, none that finished runs again, the table is right, its commands complete the rest"

    def __init__(self, folder: Path):
        self._missing = importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None

    @property
    def plants(self) -> Mapping[str, Plant]:
        """Faults that it must see."""
        return PLANTS

    def cases(self, seed: int) -> Iterator[Case]:
        """Each way in which a sweep goes wrong."""
        yield Case(f"ill_{FEW}", {"cell": "jobs that fail", "jobs": FEW, "do": "ill"})
        yield Case("twice_0", {"cell": "twice at once", "jobs": FEW, "do": "twice"})
        random = drawn(seed, "sweeps")
        for number in range(KILLS):
            whom = ("launcher", "all")[number % 2]
            after = random.randint(1, FEW - 4)
            options = {"cell": f"killed: {whom}", "jobs": FEW, "do": "kill", "whom": whom, "after": after}
            yield Case(f"kill_{whom}_{number}", options)
        yield Case(f"ill_{MANY}", {"cell": "jobs that fail", "jobs": MANY, "do": "ill"})
        yield Case("twice_1", {"cell": "twice at once", "jobs": FEW, "do": "twice"})

    def run(self, case: Case, folder: Path) -> Outcome:
        """Starts the sweep, lets it go wrong, and completes it as its table says."""
        if self._missing:
            return Outcome("not tried", "hydra-joblib-launcher is not installed")
        (folder / "site").mkdir()
        (folder / "site/sitecustomize.py").write_text(JOB, encoding="utf-8")
        jobs, sweep = case.options["jobs"], folder / "sweep"
        ill = {seed: ILLS[seed // 3 % 3] for seed in range(0, jobs, 3)} if case.options["do"] == "ill" else {}
        words = [*SWEEP, f"seed=range(0,{jobs})", f"hydra.sweep.dir={sweep}"]
        if case.options["do"] == "ill":
            done = self._watched(
                start("search", *words, place=folder, variables=_site(folder, ill)), sweep, ill
            )
            held(done.status == 1, f"status {done.status}: {done.last}")
            missing = f"{len(ill)} of {jobs} runs did not finish"
            held(missing in done.out, f"the table does not say that {missing}")
        elif case.options["do"] == "twice":
            both = [start("search", *words, place=folder, variables=_site(folder, ill)) for _ in range(2)]
            with guarded(both[0]), guarded(both[1]):
                ended = [finish(one, time.monotonic(), PATIENCE) for one in both]
            held(sorted(one.status for one in ended) == [0, 2], f"statuses {[one.status for one in ended]}")
            held(all("Traceback" not in one.err + one.out for one in ended), "a traceback")
        else:
            self._killed(
                case, start("search", *words, place=folder, variables=_site(folder, ill)), sweep, folder
            )
        before = {
            place: (place / "ran.txt").read_text()
            for place in _folders(sweep)
            if _status(place) == "finished"
        }
        self._completed(sweep, folder)
        for number in range(jobs):
            place = sweep / str(number)
            held(_status(place) == "finished", f"job {number} is lost: {_status(place) or 'no folder'}")
            begun = (place / "ran.txt").read_text().count("begun")
            held(begun == 1, f"job {number} was begun {begun} times")
        for place, ran in before.items():
            held((place / "ran.txt").read_text() == ran, f"job {place.name} had finished and ran again")
        return Outcome("held", inputs=jobs)

    def _watched(self, process: Any, sweep: Path, ill: Mapping[int, str]) -> Ended:
        """Waits for a sweep; whoever hangs is ended by hand, once it is alone."""
        begun, hung = time.monotonic(), [seed for seed, how in ill.items() if how == "hung"]
        with guarded(process):
            while process.poll() is None and time.monotonic() < begun + PATIENCE:
                for seed in hung:
                    with suppress(OSError, ValueError, ProcessLookupError):
                        os.kill(
                            json.loads((sweep / str(seed) / "job.json").read_text())["pid"], signal.SIGKILL
                        )
                        hung.remove(seed)
                        break
                time.sleep(0.2)
        return finish(process, begun, PATIENCE)

    def _killed(self, case: Case, process: Any, sweep: Path, folder: Path) -> None:
        """Kills the launcher, alone or with its whole group, once so many jobs have finished and one runs."""
        end, states = time.monotonic() + PATIENCE, [""]
        with guarded(process):
            while states.count("finished") < case.options["after"] or "running" not in states:
                held(time.monotonic() < end and process.poll() is None, "the sweep did not come so far")
                time.sleep(0.02)
                states = [_status(place) for place in _folders(sweep)]
        kill = os.killpg if case.options["whom"] == "all" else os.kill
        kill(process.pid, signal.SIGKILL)
        # What the launcher has started may go on for a while, and must come to an end by itself.
        with suppress(subprocess.TimeoutExpired, Failed):
            finish(process, time.monotonic(), 60)
        while _alive(folder):
            held(time.monotonic() < end, "what the launcher has started does not end")
            time.sleep(0.2)

    def _completed(self, sweep: Path, folder: Path) -> None:
        """Runs the commands of the table until nothing is missing."""
        for _ in range(ROUNDS):
            done = command("sweeps", f"folder={sweep}", place=folder)
            held(done.status == 0, f"nas.sweeps: status {done.status}: {done.last}")
            # Whatever was at work in it has ended.
            held("still running" not in done.out, "the table takes a job that is dead for one that runs")
            lines = re.findall(r"`(python -m nas\.search .*)`", done.out)
            if not lines:
                held("did not finish" not in done.out, "runs are missing, and no command completes them")
                return
            for line in lines:
                words = [sys.executable, *shlex.split(line)[1:]]
                environment = os.environ | _site(folder, {})
                subprocess.run(
                    words, cwd=ROOT, env=environment, capture_output=True, timeout=PATIENCE, check=True
                )
        raise Failed(f"runs are still missing after {ROUNDS} rounds of commands")


def _site(folder: Path, ill: Mapping[int, str]) -> dict[str, str]:
    path = os.pathsep.join([str(folder / "site"), str(ROOT)])
    return {"PYTHONPATH": path, "TORTURE_ILL": json.dumps(ill), "TMPDIR": str(folder)}


def _folders(sweep: Path) -> list[Path]:
    return [path for path in sweep.glob("*") if path.name.isdigit()] if sweep.is_dir() else []


def _status(place: Path) -> str:
    with suppress(OSError, ValueError):
        return str(json.loads((place / "summary.json").read_text())["status"])
    return ""


def _alive(folder: Path) -> list[int]:
    """Processes that work for a sweep: its place is in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def _unnoticed() -> AbstractContextManager[Any]:
    from nas.running import launching

    return mock.patch.object(launching, "is_dead", lambda folder: False)


@contextmanager
def _summaries(other: Callable[[Path, dict[str, Any]], dict[str, Any]]) -> Iterator[None]:
    from nas.running import runs

    usual = runs._summary
    with mock.patch.object(runs, "_summary", lambda place: other(place, usual(place))):
        yield


def _counted(place: Path, found: dict[str, Any]) -> dict[str, Any]:
    return found | {"status": "finished"}


def _lost_once(place: Path, found: dict[str, Any]) -> dict[str, Any]:
    ran = (place / "ran.txt").read_text().splitlines()
    once = found.get("status") == "finished" and len(ran) == 1 and place.name == "0"
    return {"status": "lost", "error": "it has no summary.json"} if once else found


def _unlocked() -> AbstractContextManager[Any]:
    from nas.commands import sweeps

    return mock.patch.object(sweeps, "FolderLock", lambda folder, what: None)


PLANTS = {
    "unnoticed": Plant(
        "jobs that died with their launcher are not noticed",
        "takes a job that is dead",
        _unnoticed, ("kill_all_*",),
    ),
    "counted": Plant(
        "a table counts what did not finish among the finished", "status 0|does not say that",
        lambda: _summaries(_counted), (f"ill_{FEW}",),
    ),
    "again": Plant(
        "a table takes a job that has finished for a lost one", "had finished and ran again",
        lambda: _summaries(_lost_once), ("kill_*",),
    ),
    "unlocked": Plant("a sweep does not lock its folder", "statuses", _unlocked, ("twice_*",)),
}  # fmt: skip


def room(folder: Path) -> Sweeps:
    """Makes the room."""
    return Sweeps(folder)
