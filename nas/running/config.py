"""From the command line to objects: where conf/ lies, resolvers, instantiation, and friendly errors.

Only this module and the commands know Hydra. Without torch `--help` and a misspelt override answer at once.
"""

import difflib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas.engine.machine import processes
from nas.engine.machine.stopping import deaf_at_the_end, sigterm_as_interrupt
from nas.errors import ConfigError, causes, require
from nas.files import write_failure
from nas.printable import printable, shortened
from nas.running import from_run, launching, parts
from nas.running.choices import measured_dataset, measured_method
from nas.running.config_checks import wants_plus
from nas.running.declared import CHECKOUT, CONF, known_keys
from nas.running.extensions import register_extensions
from nas.running.jobs import prepare
from nas.running.log_files import lost_output
from nas.running.own_files import check_folder
from nas.running.traces import Traces
from nas.running.typed_choices import check_choices
from nas.running.typed_values import with_texts
from nas.running.words import key_of, pasted, quoted

USER_ERROR, FAILURE, INTERRUPTED = 2, 1, 130
# Characters of a message, which may hold a command to paste.
LONGEST = 20_000
# The callback under conf/hydra/callbacks that sums a multirun up.
REPORT = "sweep"
BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


class RunFailed(Exception):
    """A run that broke down for a reason that is not the user's setting; its message has been prepared."""


def register_resolvers() -> None:
    """Makes `${nas.outputs:}` and `${nas.run_dir:...}` known to OmegaConf, and extensions to Hydra."""
    OmegaConf.register_new_resolver("nas.outputs", _outputs, replace=True)
    OmegaConf.register_new_resolver("nas.run_dir", _run_dir, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("nas.choice", _choice, replace=True)
    OmegaConf.register_new_resolver("nas.own_folder", _own_folder, replace=True)
    OmegaConf.register_new_resolver("nas.bench_method", measured_method, replace=True)
    OmegaConf.register_new_resolver("nas.update", lambda _root_: parts.update_word(_root_), replace=True)
    OmegaConf.register_new_resolver("nas.bench_dataset", measured_dataset, replace=True)
    register_extensions()


def _outputs() -> str:
    named = os.environ.get("NAS_OUTPUTS", (CHECKOUT or Path()) / "outputs")
    path = os.path.abspath(os.path.expanduser(named))
    _check_name(path, "NAS_OUTPUTS")
    return path


def _choice(group: str) -> str | None:
    """What was chosen of a group of the configuration; None where nothing was, or nothing runs yet."""
    return HydraConfig.get().runtime.choices.get(group) if HydraConfig.initialized() else None


def _check_name(path: str, what: str) -> None:
    """Refuses a folder whose name a configuration would read as a reference to another key."""
    require(
        "${" not in path,
        f"{what}={path}: a configuration reads ${{ in a folder's name as a reference; rename the folder",
    )


def _run_dir(resume: str | None, default: str) -> str:
    """The folder to continue, or a new one: two runs that start in one second get two folders."""
    if resume:
        path = os.path.abspath(os.path.expanduser(str(resume)))
        # Hydra creates the folder that is named here, so a misspelt one has to be refused before.
        require(
            os.path.isfile(os.path.join(path, "config.yaml")),
            f"resume={resume}: no run folder there (config.yaml is missing)",
        )
        _check_name(path, "resume")
        return path
    path = os.path.abspath(default)
    processes.check_folder_named(path)
    return processes.agreed("run_dir", lambda: _free(path))


def _own_folder(folder: str) -> str:
    """A run's folder, in which Hydra opens the log file before any command looks at it."""
    check_folder(Path(folder), f"run folder {folder}")
    return folder


def _free(path: str) -> str:
    found, number = path, 2
    while os.path.exists(found):
        found = f"{path}_{number}"
        number += 1
    return found


def command(name: str) -> Callable[[], None]:
    """Builds the entry point of `python -m nas.<name>`.

    Args:
        name: the command, which is also the name of its root configuration and of the module below
            `nas.commands` whose `run` is called with the composed configuration and the run folder.

    Returns:
        A function that ends the process: status 0, 2 for a mistake of the user's, 1 for a failed run, 130
        after Ctrl-C. Errors are one message, unless `traceback=true` (every `debug` sets it).
    """

    def main() -> None:
        told = False
        try:
            end()
        except SystemExit as error:
            told = bool(error.code)
            raise
        finally:
            lost = lost_output()
            if lost is not None and not told:
                processes.tell(lost)
                sys.exit(FAILURE)

    def end() -> None:
        register_resolvers()
        processes.hush()
        # Of an earlier command of this process, as tests have them.
        HydraConfig.instance().cfg = None
        # Hydra would print a traceback or hide the cause; both are worse than what `report` says.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        try:
            processes.refuse_multirun(sys.argv[1:])
            _check_name(os.getcwd(), "the working folder")
            sys.argv[1:] = with_texts(name, sys.argv[1:])
            check_choices(name, sys.argv[1:])
            task = _Task(name)
            with sigterm_as_interrupt(), from_run.completing():
                hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(task)()
            if task.worst:  # a sweep that runs ends by its table, which knows; one that plans has none
                sys.exit(task.worst)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except (HydraException, OmegaConfBaseException, ConfigError, RunFailed, OSError) as error:
            sys.exit(_broken(error, name))
        except Exception as error:
            # A sweep raises the first error of its jobs again, and each has been told. Anything else here
            # comes from composing the configuration, before a job: a job ends the process itself.
            if "-m" in sys.argv[1:] or "--multirun" in sys.argv[1:]:
                sys.exit(_broken(error, name))
            said = f"the configuration cannot be composed: {error}"
            processes.tell(printable(shortened(" ".join(said.split()))))
            sys.exit(USER_ERROR)

    return main


class _Task:
    """What Hydra calls for a job; other processes get it by its command's name."""

    def __init__(self, name: str):
        self.name = self.__name__ = name
        self.traces: Traces | None = None
        self.worst = 0  # exit status of the jobs of a multirun that this process has seen fail

    def __reduce__(self) -> tuple:
        return _task, (self.name,)

    def __call__(self, config: DictConfig) -> Any:
        try:
            return self._job(config)
        finally:
            if self.traces is not None:
                self.traces.take_away()

    def _job(self, config: DictConfig) -> Any:
        name, job = self.name, HydraConfig.get()
        sweep, folder, overrides = (
            job.mode == RunMode.MULTIRUN,
            Path(job.runtime.output_dir),
            job.overrides.task,
        )
        try:
            summed_up = sweep and REPORT in (job.callbacks or {})
            if summed_up and job.launcher._target_ != BASIC_LAUNCHER:
                _run_apart(name, config)
                return None
            prepare(name, config, overrides)
            if summed_up and not config.get("plan") and not (folder / "config.yaml").exists():
                launching.note(folder, str(job.job.id), os.getpid())
            return importlib.import_module(f"nas.commands.{name}").run(config, folder)
        except KeyboardInterrupt:
            if sweep:
                where = f"folder={quoted(os.path.abspath(job.sweep.dir))}"
                print("the sweep is stopped too; what it has, what is missing and how to go on:")
                print(pasted(["python", "-m", "nas.sweeps", where]), flush=True)
            deaf_at_the_end()
            sys.exit(INTERRUPTED)
        except Exception as error:
            if config.traceback is True and processes.leads():
                traceback.print_exc()
            if not sweep and OmegaConf.is_missing(job.job, "num"):
                sys.exit(report(error, name))
            planned = sweep and config.get("plan")
            self.worst = max(self.worst, status(error))
            try:
                if not planned:
                    launching.record_failure(folder, name, message(error, name), status(error), overrides)
            except ConfigError as unwritten:
                # Of a full disk the job's own message has told.
                if write_failure(error) is None:
                    print(f"error: {unwritten}", file=sys.stderr, flush=True)
            if not sweep:
                sys.exit(report(error, name))
            words = printable(message(error, name), keep="\n")
            print(f"job {job.job.num} failed: {words}", file=sys.stderr, flush=True)
            # A failure that Hydra sees costs the later batches of jobs and the end of the sweep. The report
            # there finds it in the folder and ends the process with the status that it stands for.
            if REPORT not in (job.callbacks or {}):
                raise
            return None


def _task(name: str) -> _Task:
    """The task in another process, which has to know the resolvers before it composes the job."""
    register_resolvers()
    return _Task(name)


def _run_apart(name: str, config: DictConfig) -> None:
    """Runs a job of a multirun in a process of its own; says how it ended."""
    one = processes.is_one(config.hardware.devices, config.hardware.num_nodes)
    require(
        bool(one), f"hardware={config.hardware.name}: a job of a sweep is one process; {processes.WAY_OUT}"
    )
    require(
        config.resume is None,
        f"resume={config.resume}: a multirun cannot resume; continue its jobs one at a time",
    )
    hydra_config = HydraConfig.get()
    folder, number = Path(hydra_config.runtime.output_dir), hydra_config.job.num
    overrides = list(hydra_config.overrides.task)
    # What a single run understands: it has neither launcher nor sweeper.
    of_sweep = re.compile(r"[+~]*hydra[./](launcher|sweeper|sweep|callbacks|mode|run|job\.num|job\.id)\b")
    kept = [str(one) for one in hydra_config.overrides.hydra if not of_sweep.match(str(one))]
    sweep = f"hydra.sweep.dir={quoted(os.path.abspath(hydra_config.sweep.dir))}"
    place = [f"hydra.run.dir={quoted(folder)}", sweep, f"hydra.job.num={number}"]
    sources = hydra_config.runtime.config_sources
    given = [f"--config-dir={one.path}" for one in sources if one.provider == "command-line"]
    job = launching.Job(
        name,
        str(hydra_config.job.id),
        folder,
        overrides,
        [*given, *overrides, *kept, *place],
        hydra_config.runtime.cwd,
    )
    share = launching.share_of(plain(hydra_config.launcher))
    gpu = config.hardware.accelerator in ("gpu", "cuda")
    reason = launching.run_apart(job, share, gpu, Path(hydra_config.sweep.dir).absolute())
    if reason:
        print(f"job {number} failed: {printable(reason)}", file=sys.stderr, flush=True)
    else:
        print(f"job {number} finished: {folder}", flush=True)


def _broken(error: BaseException, name: str) -> int:
    """Reports an error, and sums up the sweep that it broke between two jobs; returns the exit status."""
    config: Any = HydraConfig.instance().cfg  # all of it, though Hydra calls it the part under `hydra`
    sweep = config is not None and config.hydra.mode == RunMode.MULTIRUN
    if not sweep or REPORT not in (config.hydra.callbacks or {}):
        return report(error, name)
    return hydra.utils.instantiate(config.hydra.callbacks[REPORT]).on_breakdown(config, error)


def status(error: BaseException) -> int:
    """The exit status that an error stands for."""
    if write_failure(error) is not None:
        return FAILURE
    if isinstance(error, HydraException | OmegaConfBaseException | OSError) or _cause(error, ConfigError):
        return USER_ERROR
    return FAILURE


def report(error: BaseException, name: str) -> int:
    """Prints an error of a command as one message on standard error; returns the exit status.

    Of several processes that have the same error the leading one alone prints it.
    """
    processes.tell(printable(message(error, name), keep="\n"))
    return status(error)


def message(error: BaseException, name: str) -> str:
    """An error in words, with a suggestion where a key of the command `name` is misspelt."""
    return shortened(_message(error, name), LONGEST)


def _message(error: BaseException, name: str) -> str:
    refused = _cause(error, ConfigError)
    if refused is not None and not (isinstance(error, RunFailed) and write_failure(error)):
        return str(refused)
    unwritten = write_failure(error)
    if unwritten is not None and not isinstance(error, RunFailed):
        return str(unwritten)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, HydraException) and error.__cause__ is not None:
        text = f"{error}\n{error.__cause__}"
    elif isinstance(error, RunFailed | HydraException | OmegaConfBaseException):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error}"
    if isinstance(error, OmegaConfBaseException) or _cause(error, OmegaConfBaseException):
        text = _on_one_line(text, _cause(error, OmegaConfBaseException))
    unknown = re.search(r"Could not override '([\w.]+)'", text)
    within = str(getattr(_cause(error, OmegaConfBaseException), "full_key", None) or "")
    if unknown and within.startswith(f"{unknown[1]}."):
        # A value that is a group of keys.
        return f"unknown key {within!r}: {unknown[1]} has none of that name; add it as +{within}=<value>"
    if not unknown:
        return text.strip()
    if wants_plus(unknown[1]):
        return f"unknown key {unknown[1]!r}: no file sets it; add it as +{unknown[1]}=<value>"
    # "space" is no help to someone who typed "space.foo".
    known = [key for key in known_keys(name) if not unknown[1].startswith(f"{key}.")]
    close = difflib.get_close_matches(unknown[1], known, n=1, cutoff=0.7)
    if not close:
        return f"unknown key {unknown[1]!r}; see --cfg job"
    if close[0] == unknown[1]:
        return f"unknown key {unknown[1]!r}: not one of nas.{name} with these choices; see --cfg job"
    return f"unknown key {unknown[1]!r}; did you mean {close[0]!r}?"


def _on_one_line(text: str, error: Any) -> str:
    """OmegaConf's message without what only its authors can use, and with the key that it is about."""
    lines = [one.strip() for one in text.splitlines()]
    kept = [one for one in lines if one and not re.match(r"(full_key|object_type|reference_type)\b", one)]
    key = str(getattr(error, "full_key", None) or "")
    return f"{'' if key in kept[0] else f'{key}: '}{'; '.join(kept)}" if kept else text


def _cause(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    return next((one for one in causes(error) if isinstance(one, kind)), None)


def instantiate(node: DictConfig, **arguments: Any) -> Any:
    """Builds the object that a configuration node describes, from plain containers.

    Raises:
        ConfigError: the object refuses its arguments.
    """
    from hydra.errors import InstantiationException

    try:
        if not arguments:
            return hydra.utils.instantiate(parts.ready(node), _convert_="all")
        # Hydra copies arguments value by value, which takes seconds for a space of thousands of edges.
        build = hydra.utils.instantiate(parts.ready(node), _convert_="all", _partial_=True)
    except InstantiationException as error:
        raise _refused(node, error.__cause__ or error) from error
    try:
        return build(**arguments)
    except Exception as error:
        raise _refused(node, error) from error


def _refused(node: DictConfig, error: BaseException) -> ConfigError:
    told = str(error)
    if isinstance(error, ConfigError) and "\n" not in told:
        return error
    # Somebody else's class may say it in several lines.
    said = " ".join(told.split()) or type(error).__name__
    return ConfigError(said if isinstance(error, ConfigError) else f"{parts.full_key(node)}: {said}")


def typed_keys() -> set[str]:
    """The keys and groups that this command line sets, without what an experiment or a debug mode sets."""
    overrides = HydraConfig.get().overrides.task
    return {key_of(str(one)).split("@", 1)[0] for one in overrides}


def plain(config: DictConfig | ListConfig) -> Any:
    """A node as plain containers, interpolations resolved."""
    return OmegaConf.to_container(config, resolve=True)
