"""The parts of a search as lists of file names, so that two machines, or two frameworks, use the same images.

A list is a text file, UTF-8, one name a line, relative to the folder of the data set, with forward slashes:
`train/n01440764/n01440764_10026.JPEG`. Blank lines say nothing.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.data.split import Split
from nas.errors import ConfigError, require
from nas.printable import shown
from nas.reading.files import MEBIBYTE, read_text

PARTS = ("weight", "architecture")


def part_lists(images: Any, split: Split) -> dict[str, str]:
    """The lists of both parts: {`weight.txt`: text, `architecture.txt`: text}, in the order of the images.

    Args:
        images: training images; without `names` (images that are no files) there are no lists.
        split: which images are which; parts that are one and the same are two equal lists.
    """
    names = getattr(images, "names", None)
    if names is None:
        return {}
    return {
        f"{part}.txt": "".join(f"{names[index]}\n" for index in getattr(split, part).tolist())
        for part in PARTS
    }


def lists_hash(lists: Mapping[str, str]) -> str | None:
    """Sha256 in hex of both lists: what names the same images wherever they lie. None without lists."""
    if not lists:
        return None
    digest = hashlib.sha256()
    for part in PARTS:
        digest.update(f"{part}\n{lists[f'{part}.txt']}".encode())
    return digest.hexdigest()


def names_hash(parts: Mapping[str, Sequence[str]]) -> str:
    """Sha256 in hex of the file names of some parts, in their order: {part: names}."""
    digest = hashlib.sha256()
    for part, names in parts.items():
        digest.update("".join(f"{name}\n" for name in (part, *names, "")).encode())
    return digest.hexdigest()


def given_lists(lists: Mapping[str, str | None] | None) -> dict[str, str]:
    """The list files that a configuration names; nothing where the parts are to be sampled.

    Args:
        lists: `dataset.lists`, a mapping with the keys of `PARTS`, or None.

    Raises:
        ConfigError: an unknown part, or one of two lists.
    """
    given = {part: str(file) for part, file in (lists or {}).items() if file is not None}
    unknown = sorted(set(lists or {}) - set(PARTS))
    require(not unknown, f"dataset.lists: unknown parts {', '.join(unknown)}; known are {', '.join(PARTS)}")
    require(
        len(given) != 1,
        f"dataset.lists: only {', '.join(given)} is given; name a file for weight and one for architecture, "
        "or for neither",
    )
    return given


def list_lengths(files: Mapping[str, str]) -> dict[str, int]:
    """How many names each list has, without looking for the images.

    Raises:
        ConfigError: a list cannot be read or is empty.
    """
    return {part: len(_lines(part, Path(files[part]).expanduser())) for part in PARTS}


def split_from_lists(images: Any, files: Mapping[str, str]) -> Split:
    """The split that two lists name, whatever the order of their lines.

    Args:
        images: training images, with `names`.
        files: part -> list file; a relative one is relative to the current working directory.

    Raises:
        ConfigError: the images are no files, a list cannot be read or is empty, names an image twice or one
            that is not there, or both lists name the same image.
    """
    names: Sequence[str] | None = getattr(images, "names", None)
    if names is None:
        raise ConfigError(
            "dataset.lists: this data set is no folder of image files, so its images have no names; use "
            "dataset.split, dataset.fraction and split_seed"
        )
    numbers = {name: index for index, name in enumerate(names)}
    parts = {part: _read(part, Path(files[part]).expanduser(), numbers) for part in PARTS}
    shared = set(parts["weight"].tolist()) & set(parts["architecture"].tolist())
    require(
        not shared,
        f"dataset.lists: {_examples([names[index] for index in sorted(shared)])} in both the weight and the "
        "architecture list",
    )
    return Split(**parts)


def _lines(part: str, path: Path) -> list[str]:
    key = f"dataset.lists.{part}={path}"
    # The names of ImageNet's training images take 50 MB.
    lines = [line.strip() for line in read_text(path, key, 1024 * MEBIBYTE).split("\n")]
    listed = [line for line in lines if line]
    require(len(listed) > 0, f"{key}: it lists no image")
    return listed


def _read(part: str, path: Path, numbers: Mapping[str, int]) -> Tensor:
    key = f"dataset.lists.{part}={path}"
    listed = _lines(part, path)
    unknown = [name for name in listed if name not in numbers]
    require(
        not unknown,
        f"{key}: {_examples(unknown)} not among the training images; names are relative to dataset.root, "
        f"such as {next(iter(numbers))}",
    )
    indices = torch.tensor([numbers[name] for name in listed], dtype=torch.int64)
    found, counts = indices.unique(return_counts=True)
    twice = sorted(set(found[counts > 1].tolist()))
    repeated = sorted({name for name in listed if numbers[name] in twice}) if twice else []
    require(not repeated, f"{key}: {_examples(repeated)} listed more than once")
    return found


def _examples(names: Sequence[str]) -> str:
    """The first names and how many there are, with the verb that follows."""
    first = ", ".join(shown(name, 200) for name in names[:3]) + (", ..." if len(names) > 3 else "")
    return (
        f"{len(names)} image{'s' if len(names) != 1 else ''} ({first}) {'are' if len(names) != 1 else 'is'}"
    )
