"""What a source of images is, and the in-memory data set that most sources return.

Shapes: N images of a data set, B of a batch, C channels, H rows, W columns.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from nas.errors import require


class ImageSource(Protocol):
    """A set of labelled images that is known without being read.

    The attributes never touch the disk, so that a plan or a cost can be computed without the images. `mean`
    and `std` are per channel, on the scale where a pixel of 255 is 1. A source that knows how many images it
    has says so in `num_images` (train, test); otherwise a plan reads them. One whose number only stands in
    for files that are not there has `at_hand()`, which says whether they are. One of a user's own data
    counts, and so reads, when it is first asked.

    It may also have `classes` (names, in the order of the labels, or None), `augments` (true: it mirrors,
    crops and jitters training images itself, and only padding is left to do), `resize` (pixels of the
    shorter side of a picture before its centre is cut out), `decoding` (how its files become pixels, see
    `nas.reading.pictures`), `example()` (the path of a file of the test part, or None) and `floats` (true:
    images are float32 in units of their own, which `mean` and `std` have too, instead of pixels). Images of a
    single row are signals [C, 1, L]: networks reach along time alone, and what only pictures bear is not done
    to them.

    One of a user's own data may say what it has found, `found()` -> `nas.data.found.Found`, and by
    `settled()` which of its arguments that decides, as plain values: a configuration keeps them, so that
    whatever is made from it goes by the same.

    What it declares is compared with what it returns before the first step (`nas.data.checks`).
    """

    name: str
    num_classes: int
    image_shape: tuple[int, int, int]  # C, H, W
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def train(self, augmented: bool = True) -> "Images":
        """Returns the training images as (uint8 or float32 image CHW, int label), with `.labels` (int64 [N]).

        `augmented=False` prepares each image as `test` does, for a validation share. It makes a difference
        only where images are augmented one by one; the others are augmented later, as batches.
        """
        ...

    def test(self) -> "Images":
        """Returns the test images in the same form."""
        ...


class Images(Dataset[tuple[Tensor, int]]):
    """What a source returns: uint8 images [C, H, W] and their labels, one by one.

    For type checkers alone: any data set that has what this one has will do.

    Attributes:
        labels: int64 [N].
    """

    labels: Tensor

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must say how many images it has")


class TensorImages(Images):
    """Images held in memory, read as whole batches by one index operation.

    Args:
        images_NCHW: uint8 [N, C, H, W]; float32 of a source whose `floats` is true
        labels_N: class indices [N], kept as int64

    Raises:
        ConfigError: the images are not uint8 or float32 [N, C, H, W], labels are no whole numbers, or labels
            and images differ in number.
    """

    def __init__(self, images_NCHW: Tensor, labels_N: Tensor):
        found = f"{images_NCHW.dtype} {list(images_NCHW.shape)}"
        require(
            images_NCHW.dtype in (torch.uint8, torch.float32) and images_NCHW.ndim == 4,
            f"images must be a uint8 (or float32) tensor of shape [N, C, H, W], not {found}",
        )
        require(
            labels_N.shape == images_NCHW.shape[:1],
            f"{len(images_NCHW)} images need one label each, but labels have shape {list(labels_N.shape)}",
        )
        require(
            not labels_N.is_floating_point() and not labels_N.is_complex(),
            f"labels must be whole numbers from 0 to the number of classes - 1, not {labels_N.dtype}",
        )
        self.images_NCHW = images_NCHW
        self.labels = labels_N.to(torch.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images_NCHW[index], int(self.labels[index])

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Returns the batch (uint8 [B, C, H, W], int64 [B]) in the order of `indices`."""
        indices_B = torch.as_tensor(indices, dtype=torch.int64)
        return self.images_NCHW[indices_B], self.labels[indices_B]


class CachedImages(ABC):
    """Both parts of an image set, each read on first use and kept.

    Splits, loaders and validation ask for the same images; reading and checking them takes seconds.
    """

    def __init__(self):
        self._loaded: dict[bool, TensorImages] = {}

    def train(self, augmented: bool = True) -> TensorImages:
        """Returns the training images, the same for either value of `augmented`."""
        return self._load(train=True)

    def test(self) -> TensorImages:
        """Returns the test images."""
        return self._load(train=False)

    def _load(self, train: bool) -> TensorImages:
        if train not in self._loaded:
            self._loaded[train] = self._read(train)
        return self._loaded[train]

    @abstractmethod
    def _read(self, train: bool) -> TensorImages:
        """Reads one part from the disk."""


def example_of(source: object, suffixes: tuple[str, ...] = ("",)) -> str | None:
    """A file of a source's test part whose name ends in one of these; None where there is none.

    One whose path reads like a reference is none: no command line can name it.
    """
    found = source.example() if hasattr(source, "example") else None
    if found is None or not str(found).lower().endswith(suffixes) or "${" in str(found):
        return None
    return os.path.abspath(found)


def is_signal(source: ImageSource) -> bool:
    """Whether its images have a single row, which runs along time."""
    return source.image_shape[1] == 1


def domain_of(source: object) -> str:
    """`text` or `images`: what a source holds."""
    return "text" if hasattr(source, "vocabulary_size") else "images"
