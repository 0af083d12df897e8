"""A folder that a run is about to write to: what stands there under its files' names must be its own files.

A link leads what is written or removed out of the folder, and a named pipe is waited for. The folder itself
may be reached through a link. Standard library only.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from nas.errors import ConfigError, require
from nas.reading.files import kind_of

# Folders that a run writes to below its own; wandb's is full of links that wandb itself replaces.
WRITTEN = ("checkpoints", "figures", "tensorboard")
# What a table of runs writes into the folder that holds them.
OF_SWEEPS = (
    "sweep.csv",
    "table.csv",
    "table.md",
    "report.html",
    "index.html",
    "figures",
    "figures/sweep.png",
    "figures/anytime.png",
)


def check_folder(folder: Path, where: str) -> None:
    """Refuses a run folder in which a link, pipe, socket or device stands where a run has its files.

    Args:
        folder: need not be there.
        where: what a message begins with, such as `resume=<folder>`.

    Raises:
        ConfigError: names the entry, or the folder cannot be read.
    """
    left = [Path(folder)]
    while left:
        place = left.pop()
        try:
            with os.scandir(place) as entries:
                found = [Path(one.path) for one in entries]
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(f"{where}: {place} cannot be read ({error.strerror})") from error
        _check_entries(found, where)
        inside = place != folder
        left += [one for one in found if one.is_dir() and (inside or one.name in WRITTEN)]


def check_table_folder(folder: Path, where: str) -> None:
    """The same of a folder of runs, of which the files of the table alone are written.

    Raises:
        ConfigError: names the entry.
    """
    _check_entries([folder / name for name in OF_SWEEPS], where)


def check_page(path: Path, where: str) -> None:
    """Refuses a place that a page cannot be written to.

    Raises:
        ConfigError: it has another ending, its folder is missing, or a folder, link or pipe stands there.
    """
    require(path.suffix in (".html", ".htm"), f"{where}: {path.name} must end in .html")
    require(path.parent.is_dir(), f"{where}: there is no folder {path.parent}")
    _check_entries([path], where)
    require(not path.is_dir(), f"{where}: {path.name} in {path.parent} is a folder; remove or rename it")


def _check_entries(paths: Iterable[Path], where: str) -> None:
    for path in sorted(paths):
        try:
            mode = path.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        kind = kind_of(mode)
        require(
            kind in ("a file", "a folder"),
            f"{where}: {path.name} in {path.parent} is {kind}; a run writes to its own files, so remove it",
        )
