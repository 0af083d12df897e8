"""Several processes of one run: Lightning's strategy for them, and what happens when one of them ends.

torchrun ends all processes when one breaks down. Where Lightning's launcher started them its observer kills
the leading process too, which could not say then what happened, and after a first Trainer of several (a
search in stages) Lightning no longer knows the others. So the leading process watches over those it started,
and they over it. A collective operation of gloo breaks off at once when a process is gone; one of NCCL waits.
"""

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy

from nas.engine.machine import processes
from nas.engine.machine.hardware import count_devices
from nas.engine.machine.stopping import Sigterm
from nas.errors import require

# Seconds in which a process may notice by itself that another is gone, before it is ended from beside.
GRACE = 10.0
# Seconds that the others have for their own end once the leading process is done.
FAREWELL = 60.0
LOOK = 0.2
# How gloo and NCCL say that a peer is gone.
GONE = re.compile(
    r"connection (closed|reset|refused)|gloo/transport|ncclRemoteError|NCCL.*(abort|timed? ?out)|watchdog"
    r"|broken pipe|socket timeout|timed out waiting",
    re.IGNORECASE,
)


class PeerLost(RuntimeError):
    """Another process of the run has ended before its time."""


def several(hardware: Mapping[str, Any]) -> bool:
    """Whether a profile asks for more than one process."""
    return count_devices(hardware) * hardware["num_nodes"] > 1


def strategy_of(hardware: Mapping[str, Any], timeout: float, architecture: bool) -> str | DDPStrategy:
    """Lightning's strategy for a profile, with a time limit for what processes wait for each other.

    Args:
        hardware: the `hardware` group.
        timeout: seconds; `processes.timeout`.
        architecture: whether there is an architecture, of which the weights' backward pass has no gradient.

    Raises:
        ConfigError: the strategy is not one that keeps whole copies of the network in processes of their own,
            or cannot do without a gradient.
    """
    name = hardware["strategy"]
    require(timeout > 0, f"processes.timeout={timeout}: must be above 0 seconds")
    if not several(hardware):
        return name
    known = {
        "auto": True,
        "ddp": False,
        "ddp_find_unused_parameters_false": False,
        "ddp_find_unused_parameters_true": True,
    }
    require(
        name in known,
        f"hardware.strategy={name}: several processes run with {', '.join(known)}",
    )
    require(
        known[name] or not architecture,
        f"hardware.strategy={name}: a weight step leaves architecture parameters without a gradient, which "
        "this strategy takes for an error; use ddp_find_unused_parameters_true",
    )
    _quiet()
    return DDPStrategy(find_unused_parameters=known[name], timeout=timedelta(seconds=timeout))


def _quiet() -> None:
    """Drops notices that mean nothing to users of this project."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    for message in (
        # Stacked weights in channels-last order; what it would save was not to be seen on a CPU.
        ".*Grad strides do not match bucket view strides.*",
        ".*torch.distributed.nn.functional.all_gather is deprecated.*",
        # Unlike torch's sampler ours deals every image once where something is measured.
        ".*it is recommended to use .Trainer.devices=1.*",
    ):
        warnings.filterwarnings("ignore", message=message)


class EndAtOnce(pl.Callback):
    """With several processes SIGTERM ends the training as Ctrl-C does.

    Lightning's handler broadcasts the signal from within whatever the process is doing, and that may be
    another collective operation.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After Lightning has set its handler; it puts the former one back at the end."""
        main = threading.current_thread() is threading.main_thread()
        if trainer.world_size > 1 and main:
            signal.signal(signal.SIGTERM, signal.default_int_handler)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """As in training: a test has a handler of its own."""
        self.on_train_start(trainer, pl_module)


@contextmanager
def together(trainer: pl.Trainer, lost: Callable[[str], str]) -> Iterator[None]:
    """Inside the block all processes of a run go on, or none.

    Args:
        trainer: the run's first Trainer, which has not started yet.
        lost: called with a message before this process is ended from beside, because it would wait for ever
            for one that is gone: sums the run up, and returns what the user is to read.

    Raises:
        PeerLost: another process has ended.
    """
    if trainer.world_size == 1:
        yield
        return
    watch: Children | Parent | Peers | None = None
    strategy: Any = trainer.strategy  # one of several processes
    if processes.by_launcher():
        watch = Parent()
    elif not strategy.cluster_environment.creates_processes_externally:
        watch = Children(trainer, lost)
    elif processes.by_torchrun():
        watch = Peers(lost)
    ended_well = False
    try:
        yield
        ended_well = True
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt) and not isinstance(watch, Peers):
            raise
        message = watch.settle(bool(GONE.search(str(error)))) if watch is not None else None
        if message is None and GONE.search(str(error)):
            message = "another process of this run has ended, or is out of reach"
        if message is None:
            raise
        raise PeerLost(message) from error
    finally:
        if watch is not None:
            watch.close(ended_well)


class _Watch(threading.Thread, ABC):
    """Looks now and then whether others are still there; ends this process if it does not notice itself."""

    def __init__(self, name: str, lost: Callable[[str], str] = str):
        super().__init__(name=name, daemon=True)
        self.lost = lost
        self.message: str | None = None
        self._over = threading.Event()

    def run(self) -> None:
        """Looks until it is told to stop, or something has happened."""
        while not self._over.wait(LOOK):
            self.message = self.look()
            if self.message is not None:
                if not self._over.wait(GRACE):
                    self.end(self.message)
                return

    @abstractmethod
    def look(self) -> str | None:
        """What has happened, or None."""

    def end(self, message: str) -> None:
        """Sums up and ends this process, whose main thread waits for one that is gone."""
        try:
            message = self.lost(message)
        finally:
            self.leave()
            print(f"error: {message}", file=sys.stderr)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)

    def leave(self) -> None:
        """What is done just before this process is ended."""

    def settle(self, gone: bool) -> str | None:
        """What has happened; with `gone` something has, and is waited for a little."""
        deadline = time.monotonic() + (5.0 if gone else 1.0)
        while self.message is None and time.monotonic() < deadline:
            time.sleep(LOOK)
        return self.message

    def close(self, ended_well: bool) -> None:
        """Stops looking."""
        self._over.set()
        if threading.current_thread() is not self:
            self.join()


class Children(_Watch):
    """The leading process of a node watches over those that Lightning's launcher starts for it."""

    def __init__(self, trainer: pl.Trainer, lost: Callable[[str], str]):
        super().__init__("children", lost)
        self.launcher: Any = trainer.strategy.launcher  # that of processes on one node
        self.world_size = trainer.world_size
        self.children: list[subprocess.Popen] = []
        os.environ[processes.STARTED_BY] = str(os.getpid())
        self.start()

    def _adopt(self) -> None:
        # Lightning's observer, which looks at this list every 5 s, would end this process by SIGKILL.
        while self.launcher.procs and len(self.launcher.procs) == self.launcher.num_processes - 1:
            self.children = list(self.launcher.procs)
            self.launcher.procs.clear()

    def look(self) -> str | None:
        """Whether a child has ended badly."""
        self._adopt()
        for rank, child in enumerate(self.children, start=1):
            status = child.poll()
            if status:
                return f"process {rank} of {self.world_size} {_words(status)}"
        return None

    def close(self, ended_well: bool) -> None:
        """Waits for the children after a good end, and ends them after any other."""
        super().close(ended_well)
        self._adopt()
        if ended_well:
            deadline = time.monotonic() + FAREWELL
            while any(child.poll() is None for child in self.children) and time.monotonic() < deadline:
                time.sleep(LOOK)
        self.leave()
        os.environ.pop(processes.STARTED_BY, None)

    def leave(self) -> None:
        """Ends the children that are left."""
        for child in self.children:
            if child.poll() is None:
                child.kill()
                child.wait()


class Peers(_Watch):
    """Processes that torchrun started watch over each other, on one machine.

    torchrun ends all of them when one has gone, by SIGTERM, which says nothing about that one.
    """

    def __init__(self, lost: Callable[[str], str]):
        super().__init__("peers", lost)
        self.roll = processes.Roll()
        self.start()

    def look(self) -> str | None:
        """Whether another process has gone without saying so."""
        fallen = self.roll.fallen()
        if not fallen:
            return None
        names = " and ".join(f"process {rank}" for rank in fallen)
        return (
            f"{names} of {self.roll.size} died without a word: killed (SIGKILL, as where memory runs out), "
            "or crashed"
        )

    def settle(self, gone: bool) -> str | None:
        """What has happened; then torchrun's SIGTERM, which may still come, must not cut the message off."""
        handler = signal.getsignal(signal.SIGTERM)
        # Before the wait: it mostly arrives within it, a moment after the connection to the dead one broke.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        message = super().settle(gone)
        if message is None:
            signal.signal(signal.SIGTERM, handler)
        elif isinstance(handler, Sigterm):
            handler.only_record()
            signal.signal(signal.SIGTERM, handler)
        return message

    def close(self, ended_well: bool) -> None:
        """Stops looking, and says that this process leaves by itself."""
        super().close(ended_well)
        self.roll.leave()


class Parent(_Watch):
    """A process that Lightning's launcher started watches over the one that started it."""

    def __init__(self):
        super().__init__("parent")
        self.parent = int(os.environ[processes.STARTED_BY])
        self.start()

    def look(self) -> str | None:
        """Whether this process has been handed over to another parent."""
        if os.getppid() == self.parent:
            return None
        return "process 0 has ended, and with it the run"


def _words(status: int) -> str:
    if status > 0:
        return f"ended with exit status {status}; what it said stands above"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = "unknown"
    return f"was ended by signal {-status} ({name})" + (
        "; without anyone's doing that means that the machine ran out of memory" if status == -9 else ""
    )
