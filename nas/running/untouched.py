"""What a call from somebody's Python puts back: everything of the process that a run sets for itself.

A command is alone in its process and sets threads, random numbers, signals and the log as it likes. A call
from a notebook is a guest: working folder, log, warnings, random numbers, torch's settings, environment and
handlers of signals are after it what they were before, however it ends.
"""

import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from logging.config import DictConfigurator
from typing import Any

import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from omegaconf.basecontainer import BaseContainer

from nas.randomness import generators_kept

# Loggers whose lines belong to a run, whichever thread of it writes them.
OF_RUNS = ("nas", "pytorch_lightning", "lightning", "lightning_fabric", "torch", "py", "hydra")
# Those that a run makes quieter, by name, whether they are there yet or not.
QUIETER = (
    "pytorch_lightning",
    "lightning",
    "lightning_fabric",
    "torch.utils.cpp_extension",
    "matplotlib.font_manager",
)


@contextmanager
def untouched() -> Iterator[None]:
    """Puts everything back at the end of the block, in which torch computes as in a process of its own."""
    with ExitStack() as undo:
        for keep in (_folder, _environment, _hydra, _resolvers, _loggers, _signals, _torch):
            undo.callback(keep())
        undo.enter_context(generators_kept())
        undo.enter_context(warnings.catch_warnings())
        _as_a_command(undo)
        yield


def _as_a_command(undo: ExitStack) -> None:
    """Torch as a command finds it, whatever the caller has chosen or is in the midst of: equal numbers."""
    torch.set_default_dtype(torch.float32)
    undo.enter_context(torch.inference_mode(False))
    undo.enter_context(torch.enable_grad())
    for kind in ("cpu", "cuda"):
        if torch.is_autocast_enabled(kind):
            undo.enter_context(torch.autocast(kind, enabled=False))
    if torch.get_default_device().type != "cpu":
        undo.enter_context(torch.device("cpu"))


@contextmanager
def logged(job_logging: Mapping[str, Any], verbose: Any = False) -> Iterator[None]:
    """Inside the block the root logger has the handlers of a command's configuration.

    What other threads of the process log, in the names of their own, goes where it went before. Unlike
    `logging.config.dictConfig` this closes none of the handlers that there are.

    Args:
        job_logging: Hydra's, as plain containers; `untouched` puts levels back.
        verbose: Hydra's `verbose`.
    """
    made = DictConfigurator(dict(job_logging))
    config: Any = made.config
    for name in config.get("formatters") or {}:
        config["formatters"][name] = made.configure_formatter(config["formatters"][name])
    wanted = (config.get("root") or {}).get("handlers") or ()
    root, own = logging.getLogger(), [made.configure_handler(config["handlers"][name]) for name in wanted]
    before, level, thread = list(root.handlers), root.level, threading.get_ident()
    for handler in own:
        handler.addFilter(lambda record: _of_run(record, thread))
    root.handlers = [*own, _Others(before, level, thread)]
    root.setLevel((config.get("root") or {}).get("level", level))
    for name, words in (config.get("loggers") or {}).items():
        if "level" in words:
            logging.getLogger(name).setLevel(words["level"])
    for name in [verbose] if isinstance(verbose, str) else verbose if isinstance(verbose, list) else ():
        logging.getLogger(name).setLevel(logging.DEBUG)
    if verbose is True:
        root.setLevel(logging.DEBUG)
    for name in QUIETER[:3]:
        # Lightning writes to standard error by itself where nobody had configured a log as it was imported.
        logging.getLogger(name).handlers, logging.getLogger(name).propagate = [], True
    try:
        yield
    finally:
        root.handlers = before
        root.setLevel(level)
        for handler in own:
            handler.close()


def _of_run(record: logging.LogRecord, thread: int) -> bool:
    return record.thread == thread or record.name.split(".")[0] in OF_RUNS


class _Others(logging.Handler):
    """Hands the lines of others to the handlers that there were before a run."""

    def __init__(self, handlers: list[logging.Handler], least: int, thread: int):
        super().__init__(least)
        self.handlers, self.thread = handlers, thread

    def handle(self, record: logging.LogRecord) -> bool:
        """Never holds a lock of its own: those of the handlers will do."""
        if not _of_run(record, self.thread):
            for handler in self.handlers:
                if record.levelno >= handler.level:
                    handler.handle(record)
        return True


def _folder() -> Callable[[], None]:
    before = os.getcwd()
    return lambda: os.chdir(before)


def _environment() -> Callable[[], None]:
    before = dict(os.environ)

    def back() -> None:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})

    return back


def _hydra() -> Callable[[], None]:
    """Hydra's globals: the caller may be an application of Hydra's."""
    held: Any
    config: Any
    base: Any
    held, config, base = GlobalHydra.instance(), HydraConfig.instance(), VersionBase.instance()
    runtime = JobRuntime.instance()
    before = held.hydra, config.cfg, base.version_base, runtime.conf.copy()

    def back() -> None:
        # Somebody else's code may have made other instances in the meantime.
        for kind, instance in ((GlobalHydra, held), (HydraConfig, config), (VersionBase, base)):
            Singleton._instances[kind] = instance
        held.hydra, config.cfg, base.version_base, runtime.conf = before

    return back


def _resolvers() -> Callable[[], None]:
    """What interpolations of OmegaConf's stand for: the caller may have a `now` of its own."""
    known = BaseContainer._resolvers
    before = dict(known)

    def back() -> None:
        known.clear()
        known.update(before)

    return back


def _loggers() -> Callable[[], None]:
    root = logging.getLogger()
    named = [logging.getLogger(name) for name in QUIETER]
    known = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    before = [
        (one, list(one.handlers), one.level, one.propagate, one.disabled, list(one.filters))
        for one in dict.fromkeys((root, *named, *known))
    ]
    disabled = root.manager.disable

    def back() -> None:
        for one, handlers, level, propagate, off, filters in before:
            one.handlers, one.propagate, one.disabled, one.filters = handlers, propagate, off, filters
            one.setLevel(level)
        root.manager.disable = disabled

    return back


def _signals() -> Callable[[], None]:
    if threading.current_thread() is not threading.main_thread():
        return lambda: None  # none can be set there
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}

    def back() -> None:
        for number, handler in before.items():
            # None: a handler that was not set from Python, and cannot be.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)

    return back


def _torch() -> Callable[[], None]:
    cudnn = torch.backends.cudnn
    threads, dtype, matmul = torch.get_num_threads(), torch.get_default_dtype(), _matmul_precision()
    deterministic = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    flags, gradients = (cudnn.benchmark, cudnn.deterministic), torch.is_grad_enabled()

    def back() -> None:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        if matmul is not None and matmul != _matmul_precision():
            torch.set_float32_matmul_precision(matmul)
        torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
        cudnn.benchmark, cudnn.deterministic = flags
        torch.set_grad_enabled(gradients)

    return back


def _matmul_precision() -> str | None:
    """None where the caller has set it by `fp32_precision`, which torch does not tell in these words."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None
