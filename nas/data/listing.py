"""Which files of a folder are images, and of which class: one folder per class."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nas.errors import require
from nas.printable import listed, shown
from nas.reading.folders import files_below_each, visible

log = logging.getLogger(__name__)
# As torchvision.datasets.ImageFolder has them.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Listing:
    """Image files by class, with nothing in it that is hidden or left by a system.

    Attributes:
        root: folder of the data set.
        classes: names of the class folders, whose places are the labels.
        paths: the files, class by class, each class in the order of its paths [N].
        labels: the classes of the files, int64 [N].
    """

    root: Path
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: Tensor


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


def list_files(root: Path, folder: Path) -> Listing:
    """The image files below the class folders of a folder; says once what else lies there.

    Args:
        root: folder of the data set.
        folder: `root` or a folder in it.

    Raises:
        ConfigError: there is no class, a class without an image file, one folder of two classes, or a
            name that a list of file names cannot hold.
    """
    classes, others = class_folders(folder)
    found, passed = files_below_each([folder / name for name in classes])
    others += passed
    paths: list[str] = []
    labels: list[int] = []
    for label, (name, files) in enumerate(zip(classes, found, strict=True)):
        require(
            os.fspath(folder / name) not in passed,
            f"dataset.root: class folder {folder / name} is the folder of another class too",
        )
        images = [path for path in files if path.lower().endswith(SUFFIXES)]
        others += [path for path in files if not path.lower().endswith(SUFFIXES)]
        require(
            len(images) > 0,
            f"dataset.root: class folder {folder / name} holds no image file ({', '.join(SUFFIXES)})",
        )
        for path in images:
            check_name(path, folder)
        paths += images
        labels += [label] * len(images)
    if others:
        log.warning(
            "dataset.root: %d entries below %s are passed over (hidden, left by a system, links to nowhere "
            "or to folders that are read already, or no images): %s",
            len(others),
            folder,
            listed([os.path.relpath(one, folder) for one in others]),
        )
    return Listing(root, classes, tuple(paths), torch.tensor(labels, dtype=torch.int64))


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
