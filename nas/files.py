"""Writing files whole or not at all, and taking away what a writer that died left behind.

A file is written under a temporary name beside it and then renamed, so that no reader sees half of it. The
temporary name says which process writes it: host, process id, and when that process began, since ids are
given out anew. What a killed process leaves can so be told from what another one is writing just now.
"""

import errno
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nas.errors import ConfigError, causes

TEMPORARY = re.compile(r"\..+\.(?P<host>[^.]+)-(?P<pid>\d+)-(?P<start>\d+)\.tmp")
# Temporary names of earlier versions, which did not say enough to know whether their writer is gone.
UNSIGNED = re.compile(
    r"\..+\.\d+\.tmp|\.epoch=\d+\.partial|\.best\.pt\.partial|stage\..+\.\d+\.partial"
    r"|\.(op_weights|genotype)_\d+\.(png|dot)"
)
# What a full, broken or read-only disk says, and a limit on the size of files.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.ESTALE)
# File systems allow 255 bytes; the writer's mark takes some of them.
LONGEST = 120
LONGEST_HOST = 60


class WriteFailed(ConfigError):
    """A file cannot be written. Before a run it is the folder that was named, in a run a failure."""


@dataclass(frozen=True)
class Writer:
    """A process, as temporary names have it.

    Attributes:
        host: its machine, as a part of file names.
        pid: its id there.
        start: when it began, in the system's clock ticks since it was booted; 0 where that cannot be known.
    """

    host: str
    pid: int
    start: int

    def __str__(self) -> str:
        return f"{self.host}-{self.pid}-{self.start}"

    def gone(self) -> bool:
        """Whether the process is known to be gone: it was one of this machine, which has none like it."""
        if self.host != _host():
            return False
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except OSError:
            pass  # somebody else's
        now = _start(self.pid)
        # A zombie, whose parent has not noticed yet, writes nothing any more.
        return now is None or (now != self.start and 0 not in (now, self.start))


def this_process() -> Writer:
    """The writer that this process is."""
    return Writer(_host(), os.getpid(), _start(os.getpid()) or 0)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "_", socket.gethostname())[:LONGEST_HOST] or "host"


def _start(pid: int) -> int | None:
    """When a process began; None if it is dead though not yet buried, 0 where the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The second field is the program's name in brackets, which may hold anything.
            fields = file.read().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, IndexError, ValueError):
        return 0


def write_text(path: Path, text: str, parents: bool = False) -> None:
    """Writes a text file (UTF-8) whole or not at all; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"), parents)


def write_bytes(path: Path, content: bytes | memoryview, parents: bool = False) -> None:
    """Writes a file whole or not at all.

    Args:
        path: the file; one that is there is replaced.
        content: what it will hold.
        parents: make the folders that it lies in. Not for files of a run, whose folder is there or has gone.

    Raises:
        WriteFailed: the folder is missing or cannot be written to, or the disk is full.
    """
    with replacing(path, parents) as temporary, temporary.open("wb") as file:
        file.write(content)


@contextmanager
def replacing(path: Path, parents: bool = False) -> Iterator[Path]:
    """Gives a temporary name to write to, which becomes `path` at the end of the block, or is removed.

    Raises:
        WriteFailed: writing within the block failed, or the file cannot be renamed.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name[:LONGEST]}.{this_process()}.tmp")
    with failing(path):
        try:
            if parents:
                path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def append_text(path: Path, text: str) -> None:
    """Adds to the end of a file that is there; of a write that breaks off the end may be missing.

    Raises:
        WriteFailed: the file is gone, or it cannot be written to.
    """
    with failing(path), path.open("r+", encoding="utf-8", newline="") as file:
        file.seek(0, os.SEEK_END)
        file.write(text)


def subfolder(folder: Path) -> Path:
    """Makes a folder within one that is there and is not made itself: it may have gone in mid-run.

    Raises:
        WriteFailed: it cannot be made.
    """
    with failing(folder):
        folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def failing(path: Path) -> Iterator[None]:
    """Turns the system's errors inside the block into `WriteFailed` with the name of `path`."""
    try:
        yield
    except OSError as error:
        raise WriteFailed(f"{path}: cannot write it ({error.strerror or error})") from error


def write_failure(error: BaseException | None) -> WriteFailed | None:
    """What could not be written, where that is what broke a run: of the causes of an error the first such."""
    for one in causes(error):
        if isinstance(one, WriteFailed):
            return one
        if isinstance(one, OSError) and one.errno in DISK:
            # Of a stream the system gives no name.
            return WriteFailed(f"{one.filename or 'output'}: cannot write it ({one.strerror})")
    return None


def sweep(folder: Path, own: bool = False) -> list[Path]:
    """Removes what dead writers left in a folder: files under temporary names that nobody will rename.

    Those of a process on this machine that is gone; of others, and of earlier versions' names, only with
    `own`, and only what is older than this process.

    Args:
        folder: looked into, and nothing below it.
        own: whether no other run can be at work in it, because this process holds the folder's lock.

    Returns:
        What was removed.
    """
    removed = []
    for path in _temporary(folder):
        found = TEMPORARY.fullmatch(path.name)
        writer = Writer(found["host"], int(found["pid"]), int(found["start"])) if found else None
        mine = writer if writer is not None and writer.host == _host() else None
        with suppress(OSError):
            if mine.gone() if mine else own and path.stat().st_mtime < _began():
                path.unlink()
                removed.append(path)
    return removed


def _temporary(folder: Path) -> list[Path]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [folder / name for name in names if TEMPORARY.fullmatch(name) or UNSIGNED.fullmatch(name)]


def _began() -> float:
    """When this process began, in seconds since the epoch; now, where the system does not tell."""
    ticks = _start(os.getpid())
    if not ticks:
        return time.time()
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
