"""Images and signals of one's own as arrays: files of NumPy's or safetensors; nothing is unpickled.

Shapes: N images, C channels, H rows, W columns; L time steps of signals, which are images [C, 1, L].
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas.data.found import Found, class_rows
from nas.data.held import read_named
from nas.data.measured import (
    FLOATS,
    KEY,
    KINDS,
    PICTURES,
    SIGNALS,
    Layout,
    MappedImages,
    arranged,
    check_finite,
    check_pixels,
    doubt,
    kind_of,
    moments,
    unit_of,
)
from nas.data.npz import IMAGES, LABELS, TEST_IMAGES, TEST_LABELS, read_labels
from nas.data.own import check_test_share, draw_test, rounded_up
from nas.data.pixel_moments import VALUES, counts_of, of_counts, words
from nas.data.sources import Images, TensorImages
from nas.errors import ConfigError, require, require_one_of
from nas.printable import listed

log = logging.getLogger(__name__)
FITS, CHANNELS = ("pad", "resize"), (None, "first", "last")
WORDS = {PICTURES: "images", FLOATS: "images of float numbers", SIGNALS: "signals"}
# Images whose pixels are counted at once.
COUNTED = 4096


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Attributes:
        train, test: both parts.
        classes: the values of `labels` in their order.
        size: (H, W) of the images as stored.
        shape: (C, H, W) as networks are given them.
        kind: see `nas.data.measured`.
        moments: mean and deviation of each channel of numbers that are no pixels; None of pictures.
        tested: where the test part comes from, in words.
        stored: type and shape of an image in the file, in words.
    """

    train: Images
    test: Images
    classes: tuple[str, ...]
    size: tuple[int, int]
    shape: tuple[int, int, int]
    kind: str
    moments: tuple[tuple[float, ...], tuple[float, ...]] | None
    tested: str
    stored: str


class Arrays:
    """Arrays of a file: `images`, `labels` and, where there is a test part, those of `test_`.

    Pictures are [N, C, H, W], or [N, H, W] of one channel: uint8, other numbers from 0 to 255, or fractions
    from 0 to 1, of which 255 steps are kept. Float images [N, C, H, W] and signals [N, C, L] are any numbers,
    kept as float32 in their own units; signals become images [C, 1, L]. Labels are [N] whole numbers or
    texts; the classes are the different values that there are, sorted. Without a test part one is drawn, of
    every class alike.

    Args:
        file: the .npz or .safetensors file, or the .npy file of the images, which is mapped into memory and
            not read into it; a relative one is relative to the current working directory
        name: what the data set is called in reports
        fit: what is done to sides that are no multiple of `multiple`: `pad` adds black around (of other
            numbers than pixels the mean), `resize` scales the image (bilinear); either to the next multiple
        multiple: number that networks need both sides to be a multiple of, of signals the length
        channels: where they stand in `images`: `first`, `last` ([N, H, W, C]), or None for first, refused
            where it looks like last
        mean: of each channel, on the scale where a pixel of 255 is 1, or in the units of the numbers that are
            no pixels; None for that of the training images
        std: the same
        test_share: share of the images that is the test part, in (0, 1), where the file has none
        test_seed: of that draw, which does not depend on the seeds of a run; 0 to 2**32 - 1
        kind: `pictures`, `floats` or `signals`; None for what numbers and shape say
        labels: of .npy files that of the labels
        test_file: of .npy files that of the test images; None for a test part that is drawn
        test_labels: of .npy files that of their labels

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
        kind: str | None = None,
        labels: str | Path | None = None,
        test_file: str | Path | None = None,
        test_labels: str | Path | None = None,
    ):
        if file is None:
            raise ConfigError(
                "dataset.file=null: name the .npz file of your images, such as dataset.file=eeg.npz"
            )
        require_one_of("dataset.source.fit", fit, FITS)
        require_one_of("dataset.source.channels", channels, CHANNELS)
        require_one_of(KEY, kind, KINDS)
        check_test_share(test_share)
        self.name = name
        self.file = Path(file).expanduser()
        others = {"labels": labels, "test_file": test_file, "test_labels": test_labels}
        self._files: dict[str, Path | None] = {"file": self.file}
        for key, one in others.items():
            self._files[key] = None if one is None else Path(one).expanduser()
        self.fit, self.multiple, self.channels, self.kind = fit, multiple, channels, kind
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
        return self._content.shape

    @property
    def floats(self) -> bool:
        """Whether they are float32 in their own units, as `mean` and `std` are, and not pixels."""
        return self._content.kind != PICTURES

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

    def train(self, augmented: bool = True) -> Images:
        """Returns the training images, the same for either value of `augmented`."""
        return self._content.train

    def test(self) -> Images:
        """Returns the test images."""
        return self._content.test

    @cached_property
    def _content(self) -> Content:
        """Both parts."""
        arrays, where = read_named(self._files)
        array = arrays[IMAGES]
        kind = kind_of(array, self.kind, f"{where}: {IMAGES}")
        unsure = doubt(array, kind, self.kind)
        if unsure is not None:
            log.warning("warning: %s: %s", where, unsure)
        for name in (IMAGES, TEST_IMAGES):
            if name in arrays:
                self._check(arrays[name], kind, f"{where}: {name}")
        names, labels_N = read_labels(arrays, LABELS, where)
        if len(names) == 1:
            log.warning(
                "warning: %s: there is one class alone (%s), and nothing to tell apart", where, names[0]
            )
        _check_number(array, labels_N, IMAGES, LABELS, where)
        indices_N = torch.arange(len(array))
        if TEST_IMAGES in arrays:
            test_labels_N = self._test_labels(arrays, names, where)
            train, test, how = indices_N, torch.arange(len(test_labels_N)), TEST_IMAGES
        else:
            train, test = draw_test(labels_N, self.test_share, self.test_seed)
            test_labels_N = labels_N[test]
            how = f"drawn by test_share={self.test_share}, test_seed={self.test_seed}"
        last = self.channels == "last" and array.ndim == 4
        one = arranged(array[:1], kind, last)
        height, width = one.shape[2:]
        size = (
            1 if kind == SIGNALS else rounded_up(height, self.multiple),
            rounded_up(width, self.multiple),
        )
        require(
            kind != SIGNALS or self.fit == "pad",
            "dataset.source.fit=resize: signals are padded, since another number of time steps would change "
            "their frequencies; leave fit=pad",
        )
        found = None if kind == PICTURES else moments(arranged(array, kind, last), train)
        fill = (0.0,) * one.shape[1] if found is None else found[0]
        if found is not None and self._mean is not None and len(self._mean) == len(fill):
            fill = tuple(self._mean)
        layout = Layout(kind, unit_of(array, kind), last, size, self.fit, fill, f"{where}: {IMAGES}")
        other = replace(layout, where=f"{where}: {TEST_IMAGES}") if TEST_IMAGES in arrays else layout
        parts = (
            _part(array, labels_N[train], train, layout),
            _part(arrays.get(TEST_IMAGES, array), test_labels_N, test, other),
        )
        classes, shape = tuple(str(name) for name in names), (one.shape[1], *size)
        stored = f"{array.dtype} {list(array.shape[1:])}"
        return Content(*parts, classes, (height, width), shape, kind, found, how, stored)

    def found(self) -> Found:
        """What the arrays hold: parts, classes, shapes, mean and deviation."""
        content = self._content
        what = WORDS[content.kind]
        measured = f"measured on the {len(content.train):,} training {what}"
        whose = measured if self._mean is None or self._std is None else "as configured"
        fit = "scaled to that" if self.fit == "resize" else f"from {list(content.size)}, padded"
        stored = content.size == content.shape[1:]
        rows = [
            (f"training {what}", f"{len(content.train):,}"),
            (f"test {what}", f"{len(content.test):,}, {content.tested}"),
            *class_rows(content.classes, content.train.labels, content.test.labels),
            ("stored as", f"{content.stored} each"),
            ("read as", f"{list(content.shape)}" + ("" if stored else f": {fit}")),
            ("mean", f"{words(self.mean)} ({whose})"),
            ("std", words(self.std)),
        ]
        return Found(f"dataset {self.name}: {self.file}", tuple(rows))

    def _test_labels(self, arrays: dict[str, np.ndarray], names: np.ndarray, where: str) -> Tensor:
        """Those of a file that has a test part; `names` are the labels that there are."""
        images = arrays[TEST_IMAGES]
        shapes = [list(arrays[name].shape[1:]) for name in (IMAGES, TEST_IMAGES)]
        require(shapes[0] == shapes[1], f"{where}: {IMAGES} are {shapes[0]}, but {TEST_IMAGES} {shapes[1]}")
        found, places_N = read_labels(arrays, TEST_LABELS, where)
        _check_number(images, places_N, TEST_IMAGES, TEST_LABELS, where)
        other = sorted(set(found.tolist()) - set(names.tolist()), key=str)
        require(not other, f"{where}: {TEST_LABELS} has {listed(other)}, which {LABELS} has not")
        return torch.from_numpy(np.searchsorted(names, found))[places_N]

    @cached_property
    def _moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation of the training images; of pictures by their histogram."""
        if self._content.moments is not None:
            return self._content.moments
        images: Any = self.train()
        channels = self.image_shape[0]
        counts_CV = torch.zeros(channels, VALUES, dtype=torch.int64)
        for part in torch.arange(len(images)).split(COUNTED):
            images_NCHW, _ = images.__getitems__(part.tolist())
            counts_CV += counts_of(images_NCHW.transpose(0, 1))
        return of_counts(counts_CV)

    def _check(self, array: np.ndarray, kind: str, where: str) -> None:
        """Refuses other shapes, and numbers that are none."""
        shape = list(array.shape)
        looks_last = len(shape) == 4 and shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4)
        require(
            self.channels is not None or not looks_last or kind == SIGNALS,
            f"{where} is {shape}, which looks like [N, H, W, C]; say dataset.source.channels=last, "
            "or first if it is [N, C, H, W]",
        )
        kind_of(array, kind, where)
        check_finite(array, kind, where)


def _check_number(images: np.ndarray, labels_N: Tensor, name: str, labels: str, where: str) -> None:
    require(
        len(labels_N) == len(images),
        f"{where}: {name} holds {len(images)} images, but {labels} {len(labels_N)} labels",
    )


def _part(array: np.ndarray, labels_N: Tensor, indices_N: Tensor, layout: Layout) -> Images:
    """Images in memory, or of a file that is mapped into it."""
    if isinstance(array, np.memmap):
        check_pixels(array, layout)
        return MappedImages(array, labels_N, indices_N, layout)
    whole = len(indices_N) == len(array)
    return TensorImages(layout(array if whole else array[indices_N.numpy()]), labels_N)
