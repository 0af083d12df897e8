"""What is left by a command that runs nothing, because a setting is refused or a plan is all that is wanted.

Hydra makes the folder of a run, and opens a log in it, before any setting is looked at.
"""

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas.engine.machine import processes


class Traces(Callback):
    """Hydra's callback that sees which folders a command is about to make, and hands itself to its task."""

    def __init__(self) -> None:
        self._new: list[Path] = []
        self._before: frozenset[str] = frozenset()

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Looks before Hydra makes the run's folder."""
        self._look(config, "hydra.run.dir")

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Looks before the sweeper makes the folder of all jobs."""
        self._look(config, "hydra.sweep.dir")

    def on_job_start(self, config: DictConfig, *, task_function: Any, **_: Any) -> None:
        """Lets the task take away what it has not used."""
        task_function.traces = self

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Takes the folder of all jobs away if none of them has left anything."""
        self._take_away(Path(config.hydra.sweep.dir), {"multirun.yaml"}, self._before)

    def take_away(self) -> None:
        """Removes a job's folder that holds no more than a log, and those above that were made for it."""
        job = HydraConfig.get()
        logs = {f"{job.job.name}.log"} if processes.leads() else set()
        folder = Path(job.runtime.output_dir)
        if job.mode == RunMode.MULTIRUN:
            self._take_away(folder, logs, frozenset())
            with suppress(OSError):
                folder.rmdir()
        else:
            self._take_away(folder, logs, self._before)

    def _look(self, config: DictConfig, key: str) -> None:
        try:
            folder = Path(OmegaConf.select(config, key)).absolute()
        except OmegaConfBaseException:
            return  # told where the folder is made
        self._new = [one for one in (folder, *folder.parents) if not one.exists()]
        self._before = frozenset(os.listdir(folder) if folder.is_dir() else ())

    def _take_away(self, folder: Path, needless: Collection[str], before: Collection[str]) -> None:
        with suppress(OSError):
            found = set(os.listdir(folder) if folder.is_dir() else ()) - set(before)
            if found <= set(needless):
                for name in found:
                    (folder / name).unlink()
                for made in self._new:
                    made.rmdir()
