"""Pictures of somebody's Python program: a pair of torch data sets, or arrays.

What they are (shape, classes, mean, deviation) stands in the configuration, so that networks can be built,
priced and exported from a run folder alone. The pictures are where the program holds them: in the thread that
called `holding`.

Shapes: N images, C channels, H rows, W columns.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nas.data.found import Found, class_rows
from nas.data.own import rounded_up
from nas.data.pixel_moments import Moments, counts_of, of_counts, spread, words
from nas.data.sources import Images, TensorImages
from nas.errors import ConfigError, require
from nas.reading.pictures import PLAIN, as_color, is_grey, why_not

log = logging.getLogger(__name__)
FORMS = "a uint8 tensor [C, H, W] or [H, W], a float one from 0 to 1, an array of NumPy's or a PIL picture"


@dataclass(frozen=True)
class Pair:
    """Both parts, as a source returns them."""

    train: Images
    plain: Images
    test: Images


HELD: ContextVar[Pair | None] = ContextVar("pictures", default=None)


@contextmanager
def holding(pair: Pair | None) -> Iterator[None]:
    """Inside the block, and this thread, `Given` returns these pictures."""
    token = HELD.set(pair)
    try:
        yield
    finally:
        HELD.reset(token)


class Given:
    """Pictures that a Python program holds; see `nas.data.sources.ImageSource`.

    Files that the network is given later are decoded as torchvision's own data sets do it.

    Args:
        name: what the data set is called in reports
        image_shape: (C, H, W)
        num_classes: K
        mean: of each channel, on the scale where a pixel of 255 is 1
        std: the same
        classes: names in the order of the labels; None if they are not known
        num_images: training and test images
        padded_from: (H, W) within the black that is added around; None where none is

    Raises:
        ConfigError: from `train` and `test`: this process holds no pictures.
    """

    decoding = PLAIN

    def __init__(
        self,
        name: str,
        image_shape: Sequence[int],
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        classes: Sequence[str] | None = None,
        num_images: Sequence[int] | None = None,
        padded_from: Sequence[int] | None = None,
    ):
        self.name, self.num_classes = name, num_classes
        self.image_shape = tuple(image_shape)
        self.mean, self.std = tuple(mean), tuple(std)
        self.classes = None if classes is None else tuple(classes)
        self.num_images = None if num_images is None else tuple(num_images)
        self.padded_from = None if padded_from is None else tuple(padded_from)

    def train(self, augmented: bool = True) -> Images:
        """Returns the training images; `augmented=False` those without what the program does to them."""
        pair = self._held()
        return pair.train if augmented else pair.plain

    def test(self) -> Images:
        """Returns the test images."""
        return self._held().test

    def found(self) -> Found | None:
        """What the program has given: parts, classes, shape, mean, deviation; None where nothing is held."""
        pair = HELD.get()
        if pair is None:
            return None
        rows = [
            ("training pictures", f"{len(pair.train):,}, of a Python program"),
            ("test pictures", f"{len(pair.test):,}, of a Python program"),
            *class_rows(self.classes, pair.train.labels, pair.test.labels, self.num_classes),
            ("read as", f"{list(self.image_shape)}" + (f": {self._around()}" if self.padded_from else "")),
            ("mean", words(self.mean)),
            ("std", words(self.std)),
        ]
        return Found(f"dataset {self.name}", tuple(rows))

    def _around(self) -> str:
        return f"from {list(self.padded_from or ())}, padded with black"

    def _held(self) -> Pair:
        pair = HELD.get()
        if pair is None:
            raise ConfigError(
                f"dataset={self.name}: the pictures of this run are objects of a Python program, and no "
                "files; "
                "go on from Python, where they are: nas.resume(<folder>, data) continues a run, "
                "nas.run_evaluation(nas.load(<folder>), data) trains what a search has found"
            )
        return pair


class GivenImages(Images):
    """A data set of somebody's, whose pictures become uint8 [C, H, W], each time they are fetched.

    Args:
        dataset: has a length, and (picture, label) at an index.
        labels_N: its labels, int64 [N].
        shape: (C, H, W) of each picture.
        size: (H, W) that they are padded to.
        what: which part it is, for messages.
    """

    def __init__(
        self, dataset: Any, labels_N: Tensor, shape: Sequence[int], size: tuple[int, int], what: str
    ):
        self.dataset, self.labels, self.what = dataset, labels_N, what
        self.shape, self.size = tuple(shape), size

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture, label = pair_at(self.dataset, index, self.what)
        pixels_CHW = as_uint8(picture, f"{self.what}: picture {index}")
        require(
            pixels_CHW.shape == self.shape,
            f"{self.what}: picture {index} is {list(pixels_CHW.shape)} (channels, height, width), others are "
            f"{list(self.shape)}; all must be of one shape, so resize or crop them in the transform",
        )
        return padded(pixels_CHW, self.size), int(label)


def pair_of(
    train: Any, test: Any, plain: Any = None, multiple: int = 4
) -> tuple[Pair, tuple[int, int, int], tuple[int, int] | None]:
    """Both parts of somebody's data, and the shape of their pictures.

    Args:
        train: a torch data set of (picture, label), or (pictures, labels) as tensors or arrays.
        test: the same.
        plain: the training part without random changes; None for `train` itself.
        multiple: number that both sides are padded to, with black around.

    Returns:
        The parts, (C, H, W) as padded, and (H, W) before where they were padded.

    Raises:
        ConfigError: something is none of these; the message says which picture, and what it is.
    """
    given = {"train": train, "test": test} | ({} if plain is None else {"plain": plain})
    firsts = {name: as_uint8(_first(one, name), f"{name}: picture 0") for name, one in given.items()}
    channels, height, width = firsts["train"].shape
    for name, first_CHW in firsts.items():
        require(
            first_CHW.shape == firsts["train"].shape,
            f"{name}: pictures are {list(first_CHW.shape)} (channels, height, width), those of train "
            f"{list(firsts['train'].shape)}; all must be of one shape",
        )
    inner = height, width
    size = rounded_up(height, multiple), rounded_up(width, multiple)
    made = {name: _images(one, name, firsts[name].shape, size) for name, one in given.items()}
    pair = Pair(made["train"], made.get("plain", made["train"]), made["test"])
    require(
        torch.equal(pair.plain.labels, pair.train.labels),
        "plain: must hold the pictures of train in their order, and its labels are others",
    )
    return pair, (channels, *size), None if size == inner else inner


def moments(images: Images) -> Moments:
    """Mean and standard deviation of each channel of the images; of very many of 2,048, evenly spread."""
    with torch.random.fork_rng(devices=[]):
        return of_counts(torch.stack([counts_of(images[index][0]) for index in spread(len(images))]).sum(0))


def as_uint8(picture: Any, where: str) -> Tensor:
    """A picture as uint8 [C, H, W].

    Args:
        picture: uint8 or float (0 to 1, of which 255 steps are kept) tensor [C, H, W] or [H, W]; array of
            NumPy's [H, W], [H, W, C] or [C, H, W] likewise; or PIL picture.
        where: which it is, for messages.

    Raises:
        ConfigError: it is something else, or has fractions below 0 or above 1.
    """
    of_pillow = hasattr(picture, "convert") and hasattr(picture, "mode")
    if of_pillow:
        require(
            picture.mode != "F",
            f"{where}: a PIL picture of mode F, whose range is not known; convert it to RGB or L",
        )
        try:
            picture = np.asarray(as_color(picture, "L" if is_grey(picture.mode) else "RGB", PLAIN))
        except (OSError, ValueError) as error:
            # A file that is opened and not yet read, or colours of another kind.
            raise ConfigError(
                f"{where}: a PIL picture of mode {picture.mode}, {why_not(error)}; convert it to RGB or L"
            ) from error
    if isinstance(picture, np.ndarray):
        # Pillow's always stand last, also where a picture is no higher than it has colours.
        last = picture.ndim == 3 and (
            of_pillow or (picture.shape[2] in (1, 3, 4) and picture.shape[0] not in (1, 3, 4))
        )
        picture = np.ascontiguousarray(picture.transpose(2, 0, 1) if last else picture)
        # A tensor on what cannot be written, such as a PIL picture, comes with a warning of torch's.
        picture = torch.from_numpy(picture if picture.flags.writeable else picture.copy())
    kind = f"{picture.dtype} {list(picture.shape)}" if isinstance(picture, Tensor) else type(picture).__name__
    require(isinstance(picture, Tensor) and picture.ndim in (2, 3), f"{where} is {kind}; must be {FORMS}")
    pixels_CHW = picture[None] if picture.ndim == 2 else picture
    if pixels_CHW.dtype == torch.uint8:
        return pixels_CHW
    require(pixels_CHW.is_floating_point(), f"{where} is {kind}; must be {FORMS}")
    lowest, highest = float(pixels_CHW.min()), float(pixels_CHW.max())
    require(
        lowest >= 0 and highest <= 1,
        f"{where} runs from {lowest:.3g} to {highest:.3g}; fractions must be from 0 to 1: leave Normalize "
        "out "
        "of the transform (mean and deviation are found, or given as mean= and std=), or divide by 255",
    )
    return (pixels_CHW * 255).round().to(torch.uint8)


def padded(pixels_CHW: Tensor, size: tuple[int, int]) -> Tensor:
    """A picture [..., H, W] in the middle of black of a size (height, width)."""
    height, width = size[0] - pixels_CHW.shape[-2], size[1] - pixels_CHW.shape[-1]
    if (height, width) == (0, 0):
        return pixels_CHW
    return F.pad(pixels_CHW, (width // 2, width - width // 2, height // 2, height - height // 2))


def pair_at(dataset: Any, index: int, what: str) -> tuple[Any, Any]:
    """(picture, label) at an index of a data set.

    Raises:
        ConfigError: it cannot be fetched, or is something else.
    """
    try:
        found = dataset[index]
    except Exception as error:
        raise ConfigError(f"{what}: [{index}] failed: {type(error).__name__}: {error}") from error
    require(
        isinstance(found, tuple | list) and len(found) == 2,
        f"{what}: [{index}] must be (picture, label), not {type(found).__name__}",
    )
    return found[0], found[1]


def _is_arrays(given: Any) -> bool:
    return isinstance(given, tuple | list) and len(given) == 2 and all(hasattr(one, "shape") for one in given)


def _first(given: Any, what: str) -> Any:
    if _is_arrays(given):
        require(len(given[0]) > 0, f"{what}: holds no picture")
        return given[0][0]
    require(
        hasattr(given, "__getitem__") and hasattr(given, "__len__"),
        f"{what}: must be a torch data set of (picture, label) with a length, or (pictures, labels) as "
        "tensors "
        f"or arrays, not {type(given).__name__}",
    )
    require(len(given) > 0, f"{what}: holds no picture")
    return pair_at(given, 0, what)[0]


def _images(given: Any, what: str, shape: Sequence[int], size: tuple[int, int]) -> Images:
    if not _is_arrays(given):
        return GivenImages(given, _labels(given, what), shape, size, what)
    pictures, labels = given
    labels_N = _whole(labels, what)
    require(len(labels_N) == len(pictures), f"{what}: {len(pictures)} pictures have {len(labels_N)} labels")
    pixels_NCHW = torch.stack([as_uint8(one, f"{what}: picture {i}") for i, one in enumerate(pictures)])
    return TensorImages(padded(pixels_NCHW, size), labels_N)


def _labels(dataset: Any, what: str) -> Tensor:
    """The labels of a data set: as torchvision's say them (`targets`), or asked for one by one."""
    tensors, changed = getattr(dataset, "tensors", None), getattr(dataset, "target_transform", None)
    for known in (getattr(dataset, "targets", None), tensors[1] if tensors and len(tensors) == 2 else None):
        if known is not None and len(known) == len(dataset) and changed is None:
            return _whole(known, what)
    log.info("%s: reading all %d pictures once, because nothing else says their labels", what, len(dataset))
    with torch.random.fork_rng(devices=[]):
        return _whole([pair_at(dataset, index, what)[1] for index in range(len(dataset))], what)


def _whole(labels: Any, what: str) -> Tensor:
    try:
        found = torch.as_tensor(np.asarray(labels))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{what}: labels must be whole numbers from 0, one a picture ({error})") from error
    require(
        found.ndim == 1
        and not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool),
        f"{what}: labels are {found.dtype} {list(found.shape)}; must be whole numbers from 0, one a picture",
    )
    return found.to(torch.int64)
