"""Which files of a folder are images, and of which class: one folder per class."""

import logging
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from nas.errors import require
from nas.printable import listed, shown
from nas.reading.folders import files_below_each, visible
from nas.reading.pictures import SUFFIXES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """Image files by class, with nothing in it that is hidden or left by a system.

    Attributes:
        root: folder of the data set.
        classes: names of the class folders, whose places are the labels.
        paths: the files, class by class, each class in the order of its paths [N].
        labels: the classes of the files, int64 [N].
        nested: classes of which files lie in folders of their own below the class folder.
    """

    root: Path
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: Tensor
    nested: tuple[str, ...] = ()

    @cached_property
    def names(self) -> list[str]:
        """The files relative to `root`, with forward slashes [N].

        One that lies elsewhere, as a table may name it, has its whole path.
        """
        folder = os.path.join(self.root, "")
        return [path.removeprefix(folder).replace(os.sep, "/") for path in self.paths]


def class_folders(folder: Path) -> tuple[tuple[str, ...], list[str]]:
    """The names of the folders in a folder, one a class, sorted; and the paths of all else in it.

    Raises:
        ConfigError: there is no such folder, or none in it.
    """
    require(
        folder.is_dir(),
        f"dataset.root: there is no folder {folder}; it must hold one folder of images per class",
    )
    entries, others = visible(folder)
    names = tuple(entry.name for entry in entries if entry.is_dir())
    require(
        len(names) > 0,
        f"dataset.root: {folder} holds no folder of images; it must hold one per class"
        + (f" (passed over: {listed([Path(one).name for one in others])})" if others else ""),
    )
    return names, others + [entry.path for entry in entries if not entry.is_dir()]


def list_files(root: Path, folder: Path, known: Sequence[str] | None = None) -> Listing:
    """The image files below the class folders of a folder; says once what else lies there.

    Args:
        root: folder of the data set.
        folder: `root` or a folder in it.
        known: all classes, of which the folder may lack some; None for those of its own folders, none of
            which may lack an image file then.

    Raises:
        ConfigError: there is no class, a class without an image file or that is not known, one folder of two
            classes, or a name that a list of file names cannot hold.
    """
    here, others = class_folders(folder)
    if known is not None:
        _check_known(here, known, folder)
    classes = here if known is None else tuple(known)
    found, passed = files_below_each([folder / name for name in here])
    others += passed
    paths: list[str] = []
    labels: list[int] = []
    empty: list[str] = []
    nested: list[str] = []
    for name, files in zip(here, found, strict=True):
        require(
            os.fspath(folder / name) not in passed,
            f"dataset.root: class folder {folder / name} is the folder of another class too",
        )
        images = [path for path in files if path.lower().endswith(SUFFIXES)]
        others += [path for path in files if not path.lower().endswith(SUFFIXES)]
        if not images:
            empty.append(name)
        if any(os.path.dirname(path) != os.fspath(folder / name) for path in images):
            nested.append(name)
        for path in images:
            check_name(path, folder)
        paths += images
        labels += [classes.index(name)] * len(images)
    require(
        not empty or (known is not None and len(paths) > 0),
        f"dataset.root: class folder {folder / empty[0] if empty else folder} holds no image file "
        f"({', '.join(SUFFIXES)})"
        + (f", and neither does that of {listed(empty[1:])}" if empty[1:] else "")
        + "; fill or delete what is empty",
    )
    if others:
        log.warning(
            "dataset.root: %d entries below %s are passed over (hidden, left by a system, links to nowhere "
            "or to folders that are read already, or no images): %s",
            len(others),
            folder,
            listed([os.path.relpath(one, folder) for one in others]),
        )
    return Listing(root, classes, tuple(paths), torch.tensor(labels, dtype=torch.int64), tuple(nested))


def _check_known(here: Sequence[str], known: Sequence[str], folder: Path) -> None:
    """Refuses classes that the training part has not."""
    more = sorted(set(here) - set(known))
    lacking = sorted(set(known) - set(here))
    same = _composed(more) & _composed(lacking)
    why = (
        f"; {listed(sorted(same))} has its accents encoded in another way there (Unicode NFC or NFD), so "
        "rename one of the two"
        if same
        else ""
    )
    require(
        not more,
        f"dataset.root: {folder} holds classes that the training part has not: {listed(more)}"
        + (f" (and lacks {listed(lacking)})" if lacking else "")
        + why,
    )


def _composed(names: Sequence[str]) -> set[str]:
    return {unicodedata.normalize("NFC", one) for one in names}


def check_name(path: str, folder: Path) -> None:
    """Refuses what has no line of its own in a text of UTF-8 (`nas.data.lists`)."""
    name = path.removeprefix(f"{folder}{os.sep}")
    try:
        name.encode("utf-8")
        fits = "\n" not in name and "\r" not in name
    except UnicodeEncodeError:
        fits = False
    require(
        fits,
        f"dataset.root: {folder} holds an image named {shown(name, 200)}; names of images and their folders "
        "must be UTF-8 without line breaks; rename or delete it",
    )


def check_same_classes(train: Sequence[str], test: Sequence[str], *folders: Path) -> None:
    """Refuses two folders with different classes: labels are places among the names, and would shift."""
    different = sorted(set(train) ^ set(test))
    require(
        not different,
        f"dataset.root: {folders[0]} and {folders[1]} must hold the same classes, but only one of them has "
        f"{listed(different)}",
    )
