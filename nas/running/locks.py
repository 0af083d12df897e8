"""The lock of a run folder: one run at a time is at work in it, whoever started it.

The kernel holds it for a process and lets go when that ends, however it ends; a file that is left behind
locks nothing. Workers that are forked off do not inherit it. Of several processes of a run the leading one
holds it.
"""

import errno
import logging
import os
import stat
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from nas.errors import ConfigError, require
from nas.files import WriteFailed, failing, sweep, this_process
from nas.reading.files import read_text

log = logging.getLogger(__name__)
FILE = ".lock"
# What file systems and mounts that know no locks say.
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class FolderLock:
    """The lock of one folder, held from construction until `release`, or until nobody knows it any more.

    Args:
        folder: it must be there.
        what: the key and value that named it, for the message.

    Raises:
        ConfigError: another process holds it.
        WriteFailed: the folder cannot be written to.
    """

    def __init__(self, folder: Path, what: str):
        self.folder = folder
        file = self._taken(what)
        self._known = _identity(folder)
        self._end = weakref.finalize(self, _let_go, folder / FILE, file, os.getpid())

    def _taken(self, what: str) -> TextIO:
        path = self.folder / FILE
        while True:
            # Never waits for what a stranger put there, such as a named pipe, nor writes to where it leads.
            with suppress(OSError):
                regular = stat.S_ISREG(path.lstat().st_mode)
                require(regular, f"{path}: no regular file, so it can be no lock; remove it")
            with failing(path):
                flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
                file = os.fdopen(os.open(path, flags, 0o666), "r+", encoding="utf-8")
            try:
                locked = _lock(file)
            except OSError as error:
                file.close()
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise WriteFailed(f"{path}: cannot lock it ({error.strerror})") from error
                raise ConfigError(
                    f"{what}: {_holder(path)} is at work in this run folder; wait for its end, or stop it"
                ) from error
            # Its last holder may have removed the file between opening and locking.
            with suppress(OSError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    break
            file.close()
        if not locked:
            log.warning("warning: %s: no locks here, so a second run could be at work in it unnoticed", path)
        with failing(path):
            file.seek(0)
            file.truncate()
            file.write(f"{this_process()}\n")
            file.flush()
        return file

    def check(self) -> None:
        """Finds out that the folder has gone, or is another one.

        Raises:
            WriteFailed: it is not the folder that was locked.
        """
        if _identity(self.folder) != self._known:
            raise WriteFailed(f"{self.folder}: the run folder has gone, or another one is in its place")

    def release(self) -> None:
        """Lets go; where the folder is still the same, no file stays behind."""
        self._end()


def take(folder: Path, what: str) -> FolderLock:
    """Locks a run folder and removes what dead writers left in it and in its own folders.

    Raises:
        ConfigError: another process is at work in it.
        WriteFailed: it cannot be written to.
    """
    lock = FolderLock(folder, what)
    sweep(folder, own=True)
    for path in folder.iterdir():
        # A link may lead to a folder that is not locked.
        if path.is_dir() and not path.is_symlink():
            sweep(path, own=True)
    return lock


def _let_go(path: Path, file: TextIO, pid: int) -> None:
    # A worker that was forked off has a copy of this object and no lock.
    if os.getpid() == pid:
        with suppress(OSError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                path.unlink()
    with suppress(OSError):
        file.close()


def _lock(file: TextIO) -> bool:
    """Takes the lock, without waiting; False where there are none."""
    try:
        import fcntl
    except ImportError:
        return False  # not a Unix
    try:
        # Of the process, not of the open file: one that was forked off does not keep it after its parent.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        raise
    return True


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _holder(path: Path) -> str:
    """Who wrote its name into a lock file: `process 12 on host`, as far as it can be read."""
    with suppress(OSError, ValueError):
        host, pid, _ = read_text(path)[:200].strip().rsplit("-", 2)
        return f"process {int(pid)} on {host}"
    return "another process"
