"""SIGTERM, which a scheduler sends before it kills, as a request to stop: what Ctrl-C is at a terminal."""

import atexit
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from nas.errors import causes

# Of torch, where a loader's worker was ended by the signal that its parent is about to get.
WORKER_ENDED = "killed by signal: Terminated"
# Seconds within which the signal arrives at all processes of a job.
PATIENCE = 2.0
# A terminal that is gone, and what a scheduler sends before it ends a job (Slurm's `--signal=USR1@60`).
ALSO = ("SIGHUP", "SIGUSR1")


class Sigterm:
    """Whether this process was asked to stop.

    Attributes:
        received: whether SIGTERM came. A second one changes nothing: what ends the run has begun.
    """

    def __init__(self) -> None:
        self.received = False
        self._recorded_only = False
        self._of_children: Callable[[int, FrameType | None], Any] | int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        if self.received:
            return
        self.received = True
        # Workers get the signal too if it is sent to the whole job, and torch would raise an error for each
        # of them, wherever this process is.
        self._of_children = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if not self._recorded_only and signal.getsignal(signal.SIGTERM) is self:
            raise KeyboardInterrupt

    def only_record(self) -> None:
        """From here on the signal interrupts nothing: what ends the run is known, and is being told."""
        self._recorded_only = True

    def explains(self, error: BaseException) -> bool:
        """Whether an error is what the signal did to a worker, also where this process has yet to get it."""
        if not self.received and _says(error, WORKER_ENDED):
            self._recorded_only = True
            end = time.monotonic() + PATIENCE
            while not self.received and time.monotonic() < end:
                time.sleep(0.02)
        return self.received and _says(error, "DataLoader worker")

    def forget(self) -> None:
        """Puts back what the signal has changed."""
        if self._of_children is not None:
            signal.signal(signal.SIGCHLD, self._of_children)


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Inside the block SIGTERM does what Ctrl-C does, also where Lightning's loops do not run.

    Inside of those Lightning has a handler that lets the batch end first and calls ours besides. Within
    another such block there is one handler for both, so that a second signal does not break into what the
    first one began. SIGHUP and SIGUSR1, which would end the process at once, count as SIGTERM; where they are
    ignored (`nohup`) or somebody else's they stay so.

    Raises:
        KeyboardInterrupt: the signal came, or an error was what it did to a worker.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    told = before if isinstance(before, Sigterm) else Sigterm()
    signal.signal(signal.SIGTERM, told)
    also = [one for name in ALSO if (one := getattr(signal, name, None)) is not None]
    also = [one for one in also if signal.getsignal(one) is signal.SIG_DFL]
    for one in also:
        signal.signal(one, _as_sigterm)
    try:
        yield
    except Exception as error:
        if told.explains(error):
            raise KeyboardInterrupt from error
        raise
    finally:
        for one in also:
            signal.signal(one, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, before)
        if told is not before:
            told.forget()


def deaf_at_the_end() -> None:
    """Lets no further signal break into the end of this process: it was stopped, and has said so."""
    atexit.register(_ignore)


def _ignore() -> None:
    for name in ("SIGINT", "SIGTERM", *ALSO):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _as_sigterm(number: int, frame: FrameType | None) -> None:
    # Lightning lets the batch end where SIGTERM comes, and a loader's worker ends in torch's own way.
    signal.raise_signal(signal.SIGTERM)


def _says(error: BaseException | None, words: str) -> bool:
    return any(words in str(cause) for cause in causes(error))
