"""A command's work within somebody else's Python: what the command line does, without ending the process.

Hydra composes, checks and runs a job here as it does for `python -m nas.<command>`; what a command sets for
its process is put back (`nas.running.untouched`). One call at a time is at work in a process.
"""

import contextlib
import importlib
import io
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra.version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf

from nas.data.given import holding
from nas.engine.loggers import using
from nas.engine.machine import processes
from nas.engine.machine.stopping import sigterm_as_interrupt
from nas.engine.trainer import OutOfTime
from nas.errors import ConfigError, causes, require
from nas.running import config as commands
from nas.running import from_run, held
from nas.running.config import RunFailed
from nas.running.jobs import prepare
from nas.running.traces import Traces
from nas.running.typed_choices import check_choices
from nas.running.typed_values import with_texts
from nas.running.untouched import logged, untouched
from nas.running.words import pasted

log = logging.getLogger(__name__)
# Options of groups that stand for objects of Python's; a shell has no use for them.
CONF = Path(__file__).resolve().parents[1] / "api" / "conf"
ONE_AT_A_TIME = threading.Lock()
Job = Callable[[DictConfig, Path], Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a call.

    Attributes:
        folder: of the run.
        value: what the command's `run` returned.
        stopped: whether the run was stopped, and can be resumed.
        interrupt: what stopped it, unless its time was up.
    """

    folder: Path
    value: Any = None
    stopped: bool = False
    interrupt: KeyboardInterrupt | None = None


def call(
    name: str, words: Sequence[str], verbose: bool = True, job: Job | None = None, **objects: Any
) -> Outcome:
    """Runs a command with these overrides, and waits for another call of this process to end before.

    Args:
        name: the command.
        words: what would be typed after `python -m nas.<name>`.
        verbose: whether it prints what the command prints.
        job: what is run in place of the command, with its configuration and folder.
        objects: what the configuration refers to: `data`, `space`, `method`, `logger`, `callbacks`.

    Raises:
        ConfigError: a setting cannot be used.
        RunFailed: the run broke down; or this call comes from within another one.
    """
    for one in words:
        require(not one.startswith("-"), f"{one}: an option of the command line; from Python overrides alone")
    with _alone(), untouched(), _handed_out(objects), _heard(verbose):
        commands.register_resolvers()
        _check_alone(name, words)
        task: _Task | None = None
        try:
            typed = with_texts(name, list(words))
            check_choices(name, typed)
            task = _Task(name, job, typed)
            with _composing(name) as app, sigterm_as_interrupt():
                app.run(name, task, typed, with_log_configuration=False)
            if task.error is not None:
                raise task.error
        except KeyboardInterrupt as error:
            if task is None or task.folder is None or not (task.folder / "summary.json").is_file():
                raise
            timed = any(isinstance(one, OutOfTime) for one in causes(error))
            return Outcome(task.folder, stopped=True, interrupt=None if timed else error)
        except Exception as error:
            told = _in_words(error, name, running=task is not None and task.error is error)
            # A refusal says all that there is to say; of a failure the traceback helps.
            raise told from None if isinstance(told, ConfigError) else error
        assert task.folder is not None  # where there was none, Hydra has raised
        return Outcome(task.folder, task.value)


@contextlib.contextmanager
def composed(**objects: Any) -> Iterator[None]:
    """Inside the block configurations can be composed, as a command that runs composes them.

    Args:
        objects: as for `call`.
    """
    with _alone(), untouched(), _handed_out(objects):
        commands.register_resolvers()
        with _composing("compose"):
            yield


@contextlib.contextmanager
def scratch() -> Iterator[list[str]]:
    """The overrides of a call that leaves nothing: its folder is a temporary one, and it keeps no log."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "run").as_posix()
        yield [f"hydra.run.dir='{place}'", "hydra/job_logging=none"]


class _Task:
    """What Hydra calls; keeps how it ended, because Hydra would print what it raises."""

    def __init__(self, name: str, job: Job | None, words: Sequence[str]):
        self.name = self.__name__ = name
        self.job, self.words = job, words
        self.folder: Path | None = None
        self.value: Any = None
        self.error: Exception | None = None
        self.traces: Traces | None = None

    def __call__(self, config: DictConfig) -> None:
        found = HydraConfig.get()
        self.folder = Path(found.runtime.output_dir)
        try:
            logging_words: Any = OmegaConf.to_container(found.job_logging, resolve=True)
            with logged(logging_words, _listed(found.verbose)):
                self.value = self._run(config, list(found.overrides.task))
        except Exception as error:
            self.error = error
        finally:
            if self.traces is not None:
                self.traces.take_away()

    def _run(self, config: DictConfig, overrides: list[str]) -> Any:
        assert self.folder is not None
        prepare(self.name, config, overrides)
        if "hardware" in config:
            one = processes.is_one(config.hardware.devices, config.hardware.num_nodes)
            if one is None:
                from nas.engine.machine.hardware import count_devices

                one = count_devices(config.hardware) == 1
            require(
                one,
                f"hardware={config.hardware.name}: several processes (hardware.devices="
                f"{config.hardware.devices}, num_nodes={config.hardware.num_nodes}) are started from a "
                "shell, not "
                f"from within Python: {pasted(['python', '-m', f'nas.{self.name}', *self.words])}; or set "
                "hardware.devices=1",
            )
        if self.job is not None:
            return self.job(config, self.folder)
        return importlib.import_module(f"nas.commands.{self.name}").run(config, self.folder)


@contextlib.contextmanager
def _composing(name: str) -> Iterator[Hydra]:
    """Hydra with this project's configuration, in the place of the caller's own."""
    hydra.version.setbase("1.3")
    GlobalHydra.instance().clear()
    config: Any = HydraConfig.instance()
    config.cfg = None
    path = create_config_search_path(str(commands.CONF))
    path.prepend("nas.api", f"file://{CONF}")
    with from_run.completing():
        app = Hydra.create_main_hydra2(task_name=name, config_search_path=path)
    yield app


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One call at a time: what each sets for the process would be the other's as well."""
    require(
        not held.HELD.get().get("running"),
        "nas: a run is at work already, which has called this function (from a callback, a space or a "
        "method); "
        "call it after the run",
    )
    if not ONE_AT_A_TIME.acquire(blocking=False):
        log.warning("another thread's run is at work; this one begins when that has ended")
        ONE_AT_A_TIME.acquire()
    try:
        with held.holding(running=True):
            yield
    finally:
        ONE_AT_A_TIME.release()


@contextlib.contextmanager
def _handed_out(objects: Mapping[str, Any]) -> Iterator[None]:
    own = {key: value for key, value in objects.items() if key not in ("data", "logger")}
    with held.holding(**own), holding(objects.get("data")), using(objects.get("logger")):
        yield


@contextlib.contextmanager
def _heard(verbose: bool) -> Iterator[None]:
    stream: Any = sys.stdout if verbose else _Muted(sys.stdout)
    with contextlib.redirect_stdout(stream):
        yield


class _Muted(io.TextIOBase):
    """A stream that drops what this thread prints; what others print goes where it went."""

    def __init__(self, stream: Any):
        self.stream, self.thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        if self.stream is None or threading.get_ident() == self.thread:
            return len(text)
        return self.stream.write(text)

    def flush(self) -> None:
        # A program without a terminal may have no stream.
        if self.stream is not None:
            self.stream.flush()


def _check_alone(name: str, words: Sequence[str]) -> None:
    several = processes.starter() != ["python", "-m"] or processes.by_slurm() or processes.by_launcher()
    require(
        not several and processes.leads(),
        "this process is one of several (torchrun, srun or Lightning started it), each of which would run by "
        f"itself; start the command: {pasted(['python', '-m', f'nas.{name}', *words])}",
    )
    require("${" not in os.getcwd(), f"the working folder {os.getcwd()}: has ${{ in its name; rename it")


def _in_words(error: BaseException, name: str, running: bool) -> Exception:
    """An error as the caller gets it; what happens before a job comes from composing its configuration."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        known = [one for one in error.options if one != held.OPTION]
        return ConfigError(f"{group}={option}: unknown; known are {', '.join(known)}")
    wrong = not running or commands.status(error) == commands.USER_ERROR
    return (ConfigError if wrong else RunFailed)(commands.message(error, name))


def _listed(value: Any) -> Any:
    return commands.plain(value) if OmegaConf.is_config(value) else value
