"""Regular files, read up to a size. Standard library only."""

import gzip
import io
import os
import stat
import zlib
from pathlib import Path

from nas.errors import ConfigError, require

MEBIBYTE = 2**20
# Beside files, what opening would wait for, never end, or act on something.
KINDS = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_regular(path: str | Path, where: str | None = None) -> None:
    """Refuses what is there but no regular file; links are followed.

    For files that another library opens by name.

    Args:
        path: of the file.
        where: what the message begins with; None for the path.

    Raises:
        ConfigError: there is no such file, or it is a folder, pipe, socket or device.
    """
    where = str(path) if where is None else where
    try:
        _check_mode(os.stat(path).st_mode, where)
    except (OSError, ValueError) as error:
        raise _unreadable(error, where) from error


def read_bytes(path: str | Path, where: str | None = None, at_most: int = MEBIBYTE) -> bytes:
    """The content of a regular file.

    Args:
        path: of the file.
        where: what the message begins with; None for the path.
        at_most: bytes; a longer file is refused before it is read.

    Raises:
        ConfigError: there is no such file, it is no regular one, cannot be read or is too long.
    """
    where = str(path) if where is None else where
    # Looked at before it is opened, because opening a device may do something; and opened so that a pipe
    # which took its place since then would not be waited for.
    check_regular(path, where)
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            found = os.fstat(file.fileno())
            _check_mode(found.st_mode, where)
            require(found.st_size <= at_most, _too_long(where, found.st_size, at_most))
            content = file.read(at_most + 1)
    except OSError as error:
        raise _unreadable(error, where) from error
    # Some files of the system have no size before they are read.
    require(len(content) <= at_most, _too_long(where, len(content), at_most))
    return content


def read_text(path: str | Path, where: str | None = None, at_most: int = MEBIBYTE) -> str:
    """The content of a regular file in UTF-8, with line feeds as ends of lines.

    Args:
        path: of the file.
        where: what the message begins with; None for the path.
        at_most: bytes; a longer file is refused before it is read.

    Raises:
        ConfigError: as for `read_bytes`, or it is not UTF-8.
    """
    where = str(path) if where is None else where
    return decode(read_bytes(path, where, at_most), where)


def decode(content: bytes, where: str) -> str:
    """Bytes as text, with line feeds as ends of lines.

    Raises:
        ConfigError: they are not UTF-8.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{where}: not UTF-8 text (byte 0x{content[error.start]:02x} at {error.start:,})"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def decompress(content: bytes, where: str, at_most: int) -> bytes:
    """What a `.gz` file holds.

    Raises:
        ConfigError: it is damaged, or unpacks to more than `at_most` bytes.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            found = file.read(at_most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{where}: damaged gzip file ({error})") from error
    require(len(found) <= at_most, f"{where}: unpacks to more than the {at_most:,} bytes that are read")
    return found


def kind_of(mode: int) -> str:
    """What an entry of a folder is, in words: `a file`, `a link`, `a named pipe` ..."""
    return next((words for test, words in KINDS if test(mode)), "no file")


def _check_mode(mode: int, where: str) -> None:
    require(stat.S_ISREG(mode), f"{where}: {kind_of(mode)}; only regular files are read")


def _too_long(where: str, size: int, at_most: int) -> str:
    return f"{where}: {size:,} bytes long; at most {at_most:,} are read"


def _unreadable(error: OSError | ValueError, where: str) -> ConfigError:
    if isinstance(error, ConfigError):
        return error
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ConfigError(f"{where}: there is no such file")
    return ConfigError(f"{where}: cannot be read ({getattr(error, 'strerror', None) or error})")
