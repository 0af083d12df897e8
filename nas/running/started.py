"""Starts the runs of a protocol: one after the other, or side by side by one of Hydra's launchers.

Every run is a process of its own, as from a shell. One that has finished is kept, one that was begun goes on.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, Popen, TimeoutExpired
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from nas.engine.machine.stopping import Sigterm
from nas.printable import printable, shown
from nas.running import launching, multirun
from nas.running.config import BASIC_LAUNCHER, plain, register_resolvers
from nas.running.launching import Job, Share
from nas.running.own_files import check_folder
from nas.running.procedure import Step
from nas.running.words import key_of, pasted, quoted

# What launchers leave, out of sight of what looks for runs.
LAUNCHED = ".launched"


class Steps:
    """Runs steps of a protocol.

    Args:
        folder: of the protocol.
        options: of this command line that every run needs as well, such as `--config-dir=<folder>`.
        words: overrides likewise, such as `trust=<module>`.
    """

    def __init__(self, folder: Path, options: Sequence[str], words: Sequence[str]):
        self.folder, self.options, self.words = folder, options, words
        self.apart = HydraConfig.get().launcher._target_ != BASIC_LAUNCHER
        if self.apart:
            multirun.check_launcher(self._configured([]))

    def check(self, config: DictConfig) -> None:
        """Refuses a run that no launcher can start.

        Raises:
            ConfigError: it wants several processes.
        """
        if self.apart:
            multirun.check_one_process(config)

    def run(self, steps: Sequence[Step], gpus: Mapping[str, bool]) -> dict[str, str]:
        """Runs what has not finished; one that fails costs no other.

        Args:
            steps: of one phase.
            gpus: name of a step -> whether it computes on a GPU.

        Returns:
            Name of a step -> why it did not finish.

        Raises:
            KeyboardInterrupt: the protocol is to stop; what ran has been stopped, and can go on.
        """
        for step in steps:
            place = self.folder / step.name
            check_folder(place, f"run folder {place}")
        left = [step for step in steps if status_of(self.folder / step.name) != "finished"]
        if left and self.apart:
            told = self._launch(left, [gpus[step.name] for step in left])
        else:
            told = [self._alone(step, f"{step.number + 1} of {len(steps)}") for step in left]
        return {
            step.name: self._why(step, said)
            for step, said in zip(left, told, strict=True)
            if status_of(self.folder / step.name) != "finished"
        }

    def _why(self, step: Step, said: str) -> str:
        summary = launching.read(self.folder / step.name / "summary.json")
        return shown(str(summary.get("error") or said).strip().partition("\n")[0], 1000)

    def _arguments(self, step: Step) -> list[str]:
        place = self.folder / step.name
        if (place / "config.yaml").exists():
            # Whatever its folder cannot vouch for is this caller's word.
            sent = [one for one in step.words if one.startswith(("logger=", "logger."))]
            return [*self.options, f"resume={quoted(place)}", *sent, *self.words]
        # Runs of a table are alike: no data set chooses sizes for one of them by itself, and what was asked
        # for is chosen once for all.
        said = "size" in map(key_of, step.words)
        sizes = f"hydra.sweep.dir={quoted(self.folder)}" if said else "size=null"
        return [*self.options, *step.words, sizes, f"hydra.run.dir={quoted(place)}", *self.words]

    def _alone(self, step: Step, which: str) -> str:
        """Runs a step in this terminal; returns why it did not finish, as far as its status says."""
        arguments = self._arguments(step)
        words = ["-m", f"nas.{step.command}", *arguments]
        print(f"{step.name}, {which}: {pasted(['python', *words])}", flush=True)
        process = Popen([sys.executable, *words], stdin=DEVNULL)
        try:
            code = process.wait()
        except KeyboardInterrupt:
            stop(process)
            raise
        if code in (130, -signal.SIGINT, -signal.SIGTERM):
            # Stopped by what this process has yet to hear of, or by its own time limit.
            return "stopped"
        return f"killed by signal {-code}" if code < 0 else f"it ended with status {code}"

    def _launch(self, steps: Sequence[Step], gpus: Sequence[bool]) -> list[str]:
        """Runs steps side by side; returns of each why it did not finish, empty if it did."""
        where = self.folder / LAUNCHED / steps[0].phase
        quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
        config = self._configured([f"hydra.sweep.dir={quoted(where)}", *quiet])
        jobs = [
            Job(
                step.command, step.name, self.folder / step.name, step.words, self._arguments(step),
                HydraConfig.get().runtime.cwd, goes_on=True,
            )
            for step in steps
        ]  # fmt: skip
        for job in jobs:
            # What stands in it now is of an earlier start, or a stranger's.
            (job.folder / launching.JOB).unlink(missing_ok=True)
        task = Task(jobs, gpus, launching.share_of(plain(config.hydra.launcher)), str(where))
        launching.own_gpus()
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(GlobalHydra.instance().config_loader(), Callbacks()),
            task_function=task,
            config=config,
        )
        print(f"{steps[0].phase}: {len(steps)} runs by hydra/launcher, each with its output.txt", flush=True)
        own = HydraConfig.instance().cfg
        try:
            returned = launcher.launch([[] for _ in steps], initial_job_idx=0)
        except KeyboardInterrupt:
            self._stop(jobs)
            raise
        finally:
            # joblib runs jobs one at a time in this process, where each sets its own.
            HydraConfig.instance().cfg = own
        return [str(one._return_value) for one in returned]

    def _configured(self, overrides: Sequence[str]) -> DictConfig:
        """What a launcher is told, and composes anew for its jobs: Hydra's part of this command line."""
        words = [*HydraConfig.get().overrides.hydra, *overrides]
        loader = GlobalHydra.instance().config_loader()
        return loader.load_configuration("protocol", words, RunMode.RUN)

    def _stop(self, jobs: Sequence[Job]) -> None:
        """Asks what still runs on this machine to stop: a launcher may have ended what waited for it."""
        left = [job.folder for job in jobs if (job.folder / launching.JOB).exists()]
        for folder in left:
            job = launching.read(folder / launching.JOB)
            if job.get("host") == socket.gethostname() and not launching.is_dead(folder):
                with suppress(OSError):
                    os.kill(job["pid"], signal.SIGTERM)
        end = time.monotonic() + launching.GRACE
        while not all(map(launching.is_dead, left)) and time.monotonic() < end:
            time.sleep(launching.POLL)


class Task:
    """What a launcher's worker runs: the job of its number, as a process of its own."""

    def __init__(self, jobs: Sequence[Job], gpus: Sequence[bool], share: Share, where: str):
        self.jobs, self.gpus, self.share, self.where = jobs, gpus, share, where
        self.traces: Any = None
        self.__name__ = "protocol"

    def __reduce__(self) -> tuple:
        return _task, (self.jobs, self.gpus, self.share, self.where)

    def __call__(self, config: DictConfig) -> str:
        number = HydraConfig.get().job.num
        job = self.jobs[number]
        reason = launching.run_apart(job, self.share, self.gpus[number], Path(self.where))
        print(f"{job.id} {'failed: ' + printable(reason) if reason else 'finished'}", flush=True)
        return reason


def _task(*given: Any) -> Task:
    """The task in another process, which has to know the resolvers before it composes the job."""
    register_resolvers()
    return Task(*given)


def status_of(folder: Path) -> str:
    """How the run in a folder stands; empty where there is none, or nothing that can be read."""
    return str(launching.read(folder / "summary.json").get("status", ""))


def stop(process: Popen) -> None:
    """Waits for a run to stop: what came from the terminal has reached it too, SIGTERM is passed on."""
    handler = signal.getsignal(signal.SIGTERM)
    by_signal = isinstance(handler, Sigterm) and handler.received
    try:
        if not by_signal:
            process.wait(launching.GRACE)
    except TimeoutExpired:
        by_signal = True
    try:
        if by_signal:
            process.terminate()
        process.wait()
    except KeyboardInterrupt:
        process.kill()
        process.wait()
        raise
