"""Images of one's own as arrays: an archive of NumPy's, of which nothing is unpickled.

Shapes: N images, C channels, H rows, W columns.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nas.data.npz import (
    IMAGES,
    LABELS,
    TEST_IMAGES,
    TEST_LABELS,
    as_pixels,
    is_unit,
    read_arrays,
    read_labels,
)
from nas.data.own import check_test_share, draw_test, rounded_up
from nas.data.sources import TensorImages
from nas.errors import ConfigError, require, require_one_of
from nas.printable import listed

log = logging.getLogger(__name__)
FITS, CHANNELS = ("pad", "resize"), (None, "first", "last")


@dataclass(frozen=True)
class Content:
    """Both parts, the values of `labels` in the order of the classes, and (H, W) of the images as stored."""

    train: TensorImages
    test: TensorImages
    classes: tuple[str, ...]
    size: tuple[int, int]


class Arrays:
    """Arrays of an .npz file: `images`, `labels` and, where there is a test part, those of `test_`.

    Images are [N, C, H, W], or [N, H, W] of one channel: uint8, other numbers from 0 to 255, or fractions
    from 0 to 1, of which 255 steps are kept. Labels are [N] whole numbers or texts; the classes are the
    different values that there are, sorted. Without a test part one is drawn, of every class alike.

    Args:
        file: the .npz file; a relative one is relative to the current working directory
        name: what the data set is called in reports
        fit: what is done to sides that are no multiple of `multiple`: `pad` adds black around, `resize`
            scales the image (bilinear); either to the next multiple
        multiple: number that networks need both sides to be a multiple of
        channels: where they stand in `images`: `first`, `last` ([N, H, W, C]), or None for first, refused
            where it looks like last
        mean: of each channel, on the scale where a pixel of 255 is 1; None for that of the training images
        std: the same
        test_share: share of the images that is the test part, in (0, 1), where the file has none
        test_seed: of that draw, which does not depend on the seeds of a run; 0 to 2**32 - 1

    Raises:
        ConfigError: an argument is out of range. From the attributes and methods: there is no such file, it
            holds pickled objects, or its arrays are not as above.
    """

    def __init__(
        self,
        file: str | Path | None,
        name: str = "arrays",
        fit: str = "pad",
        multiple: int = 4,
        channels: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        test_share: float = 0.2,
        test_seed: int = 0,
    ):
        if file is None:
            raise ConfigError(
                "dataset.file=null: name the .npz file of your images, such as dataset.file=eeg.npz"
            )
        require_one_of("dataset.source.fit", fit, FITS)
        require_one_of("dataset.source.channels", channels, CHANNELS)
        check_test_share(test_share)
        self.name = name
        self.file = Path(file).expanduser()
        self.fit, self.multiple, self.channels = fit, multiple, channels
        self.test_share, self.test_seed = test_share, test_seed
        self._mean, self._std = mean, std

    @property
    def classes(self) -> tuple[str, ...]:
        """The different values of `labels`, as texts."""
        return self._content.classes

    @property
    def num_classes(self) -> int:
        """How many different labels there are."""
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W), as padded or resized."""
        channels, height, width = self.train().images_NCHW.shape[1:]
        return channels, height, width

    @property
    def padded_from(self) -> tuple[int, int] | None:
        """(H, W) of the images within the black that is added around; None where none is."""
        size = self._content.size
        return size if self.fit == "pad" and size != self.image_shape[1:] else None

    @property
    def mean(self) -> tuple[float, ...]:
        """Of each channel."""
        return self._moments[0] if self._mean is None else tuple(self._mean)

    @property
    def std(self) -> tuple[float, ...]:
        """Of each channel."""
        return self._moments[1] if self._std is None else tuple(self._std)

    def train(self, augmented: bool = True) -> TensorImages:
        """Returns the training images, the same for either value of `augmented`."""
        return self._content.train

    def test(self) -> TensorImages:
        """Returns the test images."""
        return self._content.test

    @cached_property
    def _content(self) -> Content:
        """Both parts; says once what was found."""
        where = f"dataset.file={self.file}"
        arrays = read_arrays(self.file, where)
        unit = is_unit(arrays[IMAGES])
        images_NCHW = self._images(arrays, IMAGES, unit, where)
        names, labels_N = read_labels(arrays, LABELS, where)
        train = _paired(images_NCHW, labels_N, IMAGES, LABELS, where)
        if TEST_IMAGES in arrays:
            test, how = self._test(arrays, names, unit, where), TEST_IMAGES
        else:
            parts = draw_test(train.labels, self.test_share, self.test_seed)
            train, test = (TensorImages(train.images_NCHW[one], train.labels[one]) for one in parts)
            how = f"drawn by test_share={self.test_share}, test_seed={self.test_seed}"
        classes, shapes = tuple(str(one) for one in names), (arrays[IMAGES].shape[1:], images_NCHW.shape[1:])
        log.info(
            "%s: %d classes (%s), %d training and %d test images (%s) of %s, read as %s",
            self.file, len(classes), listed(classes), len(train), len(test), how, *map(list, shapes),
        )  # fmt: skip
        return Content(train, test, classes, self._size(arrays[IMAGES]))

    def _size(self, array: np.ndarray) -> tuple[int, int]:
        """(H, W) as stored."""
        first = 1 if array.ndim == 3 or self.channels == "last" else 2
        return array.shape[first], array.shape[first + 1]

    def _test(self, arrays: dict[str, np.ndarray], names: np.ndarray, unit: bool, where: str) -> TensorImages:
        """The test part of a file that has one; `names` are the labels that there are."""
        images_NCHW = self._images(arrays, TEST_IMAGES, unit, where)
        found, places_N = read_labels(arrays, TEST_LABELS, where)
        other = sorted(set(found.tolist()) - set(names.tolist()), key=str)
        require(not other, f"{where}: {TEST_LABELS} has {listed(other)}, which {LABELS} has not")
        labels_N = torch.from_numpy(np.searchsorted(names, found))[places_N]
        return _paired(images_NCHW, labels_N, TEST_IMAGES, TEST_LABELS, where)

    @cached_property
    def _moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation of the training images, by their histogram."""
        levels = torch.arange(256, dtype=torch.float64) / 255
        means, deviations = [], []
        for channel in self.train().images_NCHW.unbind(1):
            share = channel.flatten().bincount(minlength=256).double() / channel.numel()
            mean = float(share @ levels)
            means.append(round(mean, 4))
            # A channel that never changes: one step of 255.
            deviations.append(max(round(float(share @ (levels - mean) ** 2) ** 0.5, 4), 1 / 255))
        return tuple(means), tuple(deviations)

    def _images(self, arrays: dict[str, np.ndarray], name: str, unit: bool, where: str) -> Tensor:
        """The images of an array, uint8 [N, C, H, W], padded or resized."""
        array = arrays[name]
        shape = list(array.shape)
        require(
            array.ndim in (3, 4) and min(shape) > 0,
            f"{where}: {name} is {shape}; it must be [N, C, H, W], or [N, H, W] for one channel",
        )
        looks_last = len(shape) == 4 and shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4)
        require(
            self.channels is not None or not looks_last,
            f"{where}: {name} is {shape}, which looks like [N, H, W, C]; say dataset.source.channels=last, "
            "or first if it is [N, C, H, W]",
        )
        if array.ndim == 3:
            array = array[:, None]
        elif self.channels == "last":
            array = array.transpose(0, 3, 1, 2)
        images_NCHW = as_pixels(array, unit, f"{where}: {name}")
        height, width = (rounded_up(side, self.multiple) for side in images_NCHW.shape[2:])
        return _fitted(images_NCHW, height, width, self.fit)


def _paired(images_NCHW: Tensor, labels_N: Tensor, images: str, labels: str, where: str) -> TensorImages:
    require(
        len(labels_N) == len(images_NCHW),
        f"{where}: {images} holds {len(images_NCHW)} images, but {labels} {len(labels_N)} labels",
    )
    return TensorImages(images_NCHW, labels_N)


def _fitted(images_NCHW: Tensor, height: int, width: int, fit: str) -> Tensor:
    """Images [N, C, height, width], padded around with 0 or scaled."""
    more = height - images_NCHW.shape[2], width - images_NCHW.shape[3]
    if more == (0, 0):
        return images_NCHW
    if fit == "resize":
        return F.interpolate(images_NCHW, (height, width), mode="bilinear")
    top, left = more[0] // 2, more[1] // 2
    return F.pad(images_NCHW, (left, more[1] - left, top, more[0] - top))
