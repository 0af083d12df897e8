"""The pictures that `nas.predict` is given: a file, a folder, a list or an archive of arrays.

Shapes: N pictures, C channels, H rows, W columns.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from nas.commands.export_images import CHANNELS, INNER, LAST
from nas.data.held import SINGLE, TENSORS, read_input
from nas.data.npz import IMAGES, LABELS, as_pixels, is_unit
from nas.data.table import DELIMITERS, HEADERS, read_lines
from nas.errors import ConfigError, require
from nas.formats.description import Description
from nas.formats.prepared import check_measured
from nas.printable import listed, shown
from nas.reading.files import MEBIBYTE, read_text
from nas.reading.folders import files_below
from nas.reading.pictures import SUFFIXES, decode

LIST, ARCHIVE = ".csv", ".npz"
COMMA = DELIMITERS[0]
# Columns of a list, in any case, as in the tables of `dataset=csv`; and those that are labels for sure.
PATHS, TRUTHS = HEADERS["file"], ("label", "class")
LONGEST = 256 * MEBIBYTE


@dataclass(frozen=True)
class Pictures:
    """What is to be classified.

    Attributes:
        names: of each picture the file as it was named, or its index [N].
        read: index -> what the network's preprocessing makes of it, uint8 [C, H, W].
        truths: the class of each by name, where it is known [N]; None where none is.
        single: whether one picture was named.
        kind: what they are called.
    """

    names: Sequence[str]
    read: Callable[[int], Tensor]
    truths: Sequence[str] | None = None
    single: bool = False
    kind: str = "pictures"


def find_pictures(named: Any, description: Description) -> Pictures:
    """The pictures that `input=` names; none of them is read yet, but an archive's.

    Raises:
        ConfigError: there are none, or they are of a kind that the network does not read.
    """
    where = f"input={shown(str(named))}"
    place = Path(str(named)).expanduser().absolute()
    require(place.exists(), f"{where}: there is no such file or folder")
    suffix = place.suffix.lower()
    if suffix in (ARCHIVE, SINGLE, TENSORS) and place.is_file():
        return _of_archive(place, where, description)
    if description.preprocessing.floats:
        raise ConfigError(
            f"{where}: this network reads {'signals [N, C, L]' if description.signal else 'float images'} of "
            f"{list(description.given_shape)}; give an {ARCHIVE}, {SINGLE} or {TENSORS} file with {IMAGES}"
        )
    read = reader(description)
    if place.is_dir():
        paths, truths = _of_folder(place, where, description.class_names)
        names = [os.path.relpath(one, place).replace(os.sep, "/") for one in paths]
        return Pictures(names, lambda index: read(paths[index]), truths)
    if suffix == LIST:
        names, paths, truths = _of_list(place, where, description.class_names)
        return Pictures(names, lambda index: read(paths[index]), truths)
    require(
        suffix in SUFFIXES,
        f"{where}: neither a folder, a picture ({', '.join(SUFFIXES)}), a {LIST} of paths nor an {ARCHIVE} "
        f"with {IMAGES}",
    )
    return Pictures([str(named)], lambda _: read(str(place)), single=True)


def reader(description: Description) -> Callable[[str], Tensor]:
    """Path -> the picture as the evaluation's test prepares it, uint8 [C, H, W], before mean and std.

    Raises:
        ConfigError: the network reads another number of channels than pictures have.
    """
    steps, inner = description.preprocessing, description.notes.get(INNER)
    require(
        steps.color is not None,
        f"input: this network reads {len(steps.mean)} channels, and pictures have 1 or 3; give an {ARCHIVE} "
        f"with {IMAGES}",
    )
    resize, crop = (tuple(inner), tuple(inner)) if inner else (steps.resize, steps.size)
    transform = v2.Compose(
        [
            v2.Resize(resize, interpolation=InterpolationMode.BILINEAR, antialias=True),
            v2.CenterCrop(crop),
            v2.PILToTensor(),
        ]
    )
    color, decoding = str(steps.color), steps.decoding

    def read(path: str) -> Tensor:
        return padded(transform(decode(path, color, "input", decoding)), steps.size)

    return read


def padded(image_CHW: Tensor, size: tuple[int, int]) -> Tensor:
    """With black around it to (height, width), as `dataset=arrays` puts it."""
    more = [side - have for side, have in zip(size, image_CHW.shape[-2:], strict=True)]
    top, left = more[0] // 2, more[1] // 2
    return F.pad(image_CHW, [left, top, more[1] - left, more[0] - top]) if any(more) else image_CHW


def _of_folder(place: Path, where: str, classes: Sequence[str] | None) -> tuple[list[str], list[str] | None]:
    """The files below a folder, and their classes where all lie in folders that are called as these are."""
    paths = [path for path in files_below(place)[0] if path.lower().endswith(SUFFIXES)]
    require(len(paths) > 0, f"{where}: no picture in it ({', '.join(SUFFIXES)})")
    parts = [Path(path).relative_to(place).parts for path in paths]
    truths = [one[0] for one in parts]
    known = all(len(one) > 1 and one[0] in (classes or ()) for one in parts)
    return paths, truths if known else None


def _of_list(
    place: Path, where: str, classes: Sequence[str] | None
) -> tuple[list[str], list[str], list[str] | None]:
    """The paths of a list as written and as found from its folder, and its labels where it has some."""
    text = read_text(place, where, LONGEST)
    lines = read_lines(text, where, COMMA)
    require(len(lines) > 0, f"{where}: it is empty")
    column, heads = 0, list[str]()
    for delimiter in DELIMITERS:
        headed = read_lines(text, where, delimiter)
        names = [one.strip().lower() for one in (headed[0][1] if headed else ())]
        known = [names.index(one) for one in PATHS if one in names]
        if known:
            column, heads, lines = known[0], names, headed[1:]
            break
    require(
        bool(heads) or all(len(cells) == 1 for _, cells in lines),
        f"{where}: no column is called {', '.join(PATHS[:-1])} or {PATHS[-1]}; its first line has "
        f"{listed(lines[0][1]) if lines else ''}",
    )
    require(len(lines) > 0, f"{where}: it names no picture")
    short = next((number for number, cells in lines if len(cells) < len(heads)), None)
    require(short is None, f"{where}: line {short} has fewer columns than the first")
    names = [cells[column].strip() for _, cells in lines]
    truths = _truths([cells for _, cells in lines], heads, classes)
    return names, [str(place.parent / Path(one).expanduser()) for one in names], truths


def _truths(
    rows: Sequence[Sequence[str]], heads: Sequence[str], classes: Sequence[str] | None
) -> list[str] | None:
    """The labels of a list; a column such as `y` may be another thing, and has them if all are classes."""
    for name in HEADERS["label"]:
        if name in heads:
            found = [cells[heads.index(name)].strip() for cells in rows]
            if name in TRUTHS or set(found) <= set(classes or ()):
                return found
    return None


def _of_archive(place: Path, where: str, description: Description) -> Pictures:
    held = read_input(place, where)
    array = held[IMAGES]
    require(array.dtype.kind in "biuf", f"{where}: {IMAGES} are {array.dtype}; they must be numbers")
    if description.preprocessing.floats:
        measured = torch.from_numpy(np.array(array, dtype=np.float32, order="C"))
        images_NCHW = check_measured(measured, description, f"{where}: {IMAGES}")
    else:
        arranged = _channels_first(array, description, where)
        images_NCHW = as_pixels(arranged, is_unit(array), f"{where}: {IMAGES}")
    names = [str(index) for index in range(len(images_NCHW))]
    truths = None
    if LABELS in held:
        labels = np.squeeze(held[LABELS], 1) if held[LABELS].shape[1:] == (1,) else held[LABELS]
        require(
            labels.ndim == 1 and len(labels) == len(names),
            f"{where}: {LABELS} is {list(labels.shape)}; {len(names)} images have one each",
        )
        truths = [str(one) for one in labels.tolist()]
    size, inner = description.preprocessing.size, description.notes.get(INNER)

    def read(index: int) -> Tensor:
        image_CHW = images_NCHW[index]
        if description.preprocessing.floats:
            return image_CHW
        within = tuple(inner) if inner else size
        if tuple(image_CHW.shape[1:]) not in (within, size):
            image_CHW = F.resize(image_CHW, list(within), InterpolationMode.BILINEAR, antialias=False)
        return padded(image_CHW, size)

    return Pictures(names, read, truths, kind="signals" if description.signal else "pictures")


def _channels_first(array: np.ndarray, description: Description, where: str) -> np.ndarray:
    """Images as [N, C, H, W]: which side holds the channels is what fits the network.

    Raises:
        ConfigError: none does.
    """
    channels = description.image_shape[0]
    if array.ndim == 3:
        array = array[:, None]
    # Of images as high as they have channels either fits, and what the training was told decides.
    last = description.notes.get(CHANNELS) == LAST
    if array.ndim == 4 and (last or array.shape[1] != channels) and array.shape[3] == channels:
        array = array.transpose(0, 3, 1, 2)
    require(
        array.ndim == 4 and min(array.shape) > 0 and array.shape[1] == channels,
        f"{where}: {IMAGES} is {list(array.shape)}; this network reads [N, {channels}, H, W]"
        + (", or [N, H, W]" if channels == 1 else f", or [N, H, W, {channels}]"),
    )
    return array


def unreadable(error: BaseException, name: str) -> str:
    """One line on a picture that was skipped, without the key."""
    return str(error).removeprefix("input: ") or name


def check_readable(pictures: Pictures) -> None:
    """Refuses pictures none of which can be read, before anything is written.

    Raises:
        ConfigError: there is none; it names the first.
    """
    lost: list[str] = []
    for index, name in enumerate(pictures.names):
        try:
            pictures.read(index)
            return
        except ConfigError as error:
            lost.append(unreadable(error, name))
    one = f"input: {lost[0]}"
    require(len(lost) == 1, f"input: none of {len(lost)} pictures can be read; the first: {lost[0]}")
    raise ConfigError(one)


def stacked(pictures: Pictures, indices: Sequence[int]) -> tuple[Tensor | None, list[int], list[str]]:
    """Pictures [B, C, H, W], None where none can be read; their indices; and a line on each that cannot."""
    images, kept, lost = [], [], []
    for index in indices:
        try:
            images.append(pictures.read(index))
            kept.append(index)
        except ConfigError as error:
            lost.append(unreadable(error, pictures.names[index]))
    return (torch.stack(images) if images else None), kept, lost
