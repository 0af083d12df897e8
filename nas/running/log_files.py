"""What a run says and its log file keeps, and disks that fill up: one error, no traceback per line."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from nas.files import WriteFailed


class Console(logging.Handler):
    """Prints records to what standard output is at the time: a bar keeps the lines above it apart.

    Args:
        stream: of Hydra's configuration, whose handler takes the one that there was when it was configured.
    """

    def __init__(self, stream: Any = None):
        super().__init__()

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record at once."""
        try:
            print(self.format(record), flush=True)
        except Exception:
            self.handleError(record)


def say(text: str) -> None:
    """Prints a text, and keeps it in the log files."""
    print(text, flush=True)
    keep(text)


def keep(text: str) -> None:
    """Adds a text to the log files alone: it is said elsewhere.

    Raises:
        WriteFailed: the disk is full (see `guard_log_files`).
    """
    root = logging.getLogger()
    record = root.makeRecord("nas", logging.INFO, "", 0, text, (), None)
    for handler in root.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def guard_log_files() -> None:
    """Lets the first line that does not reach a log file of the root logger end the run, as any file does.

    `logging` itself prints a traceback for each such line and goes on.
    """
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = _ender(root, handler)  # type: ignore[method-assign, assignment]  # of this one


def lost_output() -> str | None:
    """Sends off what was printed; says why it did not arrive, which the interpreter tells with status 120.

    Only where standard output is a file: a reader that has closed its pipe wanted no more.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return None
    except OSError as error:
        # What is still to be sent would fail once more at the very end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return f"standard output: cannot write it ({error.strerror})"
    return None


def _ender(root: logging.Logger, handler: logging.FileHandler) -> Callable[[logging.LogRecord], None]:
    def end(record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            logging.FileHandler.handleError(handler, record)
            return
        # What is said about the end of the run would fail the same way.
        root.removeHandler(handler)
        raise WriteFailed(f"{handler.baseFilename}: cannot write it ({error.strerror})") from error

    return end
