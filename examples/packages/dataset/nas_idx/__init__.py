"""A data set of one's own: images and labels in the IDX files of MNIST, Fashion-MNIST, KMNIST and EMNIST."""

import gzip
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from nas.data.sources import TensorImages
from nas.errors import require

MAGIC = {1: 2049, 3: 2051}  # of files of bytes with one and with three sides


class Idx:
    """Grey images of `root`: `train-images-idx3-ubyte`, `t10k-...` and their labels, or the same with `.gz`.

    Args:
        name: in messages.
        root: the folder of the four files.
        num_classes: labels are 0 to num_classes - 1.
        image_shape: 1, rows, columns.
        mean: of all pixels, where one of 255 is 1.
        std: the same.

    Source: the format is described at the end of the page of MNIST (LeCun, Cortes and Burges).
    """

    def __init__(
        self,
        name: str,
        root: str,
        num_classes: int,
        image_shape: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
    ):
        self.name, self.root, self.num_classes = name, Path(root), num_classes
        self.image_shape, self.mean, self.std = tuple(image_shape), tuple(mean), tuple(std)

    def train(self, augmented: bool = True) -> TensorImages:
        return self._part("train")

    def test(self) -> TensorImages:
        return self._part("t10k")

    def _part(self, part: str) -> TensorImages:
        images = self._read(f"{part}-images-idx3-ubyte", 3)
        labels = self._read(f"{part}-labels-idx1-ubyte", 1)
        require(
            images.shape[1:] == self.image_shape[1:],
            f"dataset.source.image_shape={list(self.image_shape)}: the images of {self.root} have "
            f"{images.shape[1]} rows of {images.shape[2]} pixels",
        )
        require(
            len(images) == len(labels) and int(labels.max()) < self.num_classes,
            f"dataset.root={self.root}: {len(images)} images and {len(labels)} labels up to {labels.max()}"
            f" in the files of {part}; dataset.source.num_classes={self.num_classes}",
        )
        return TensorImages(torch.from_numpy(images)[:, None], torch.from_numpy(labels).long())

    def _read(self, name: str, sides: int) -> np.ndarray:
        found = [path for path in (self.root / name, self.root / f"{name}.gz") if path.is_file()]
        require(bool(found), f"dataset.root={self.root}: {name} (or {name}.gz) is missing there")
        with (gzip.open if found[0].suffix == ".gz" else open)(found[0], "rb") as file:
            data = file.read()
        header = np.frombuffer(data[: 4 * (sides + 1)], ">i4")
        whole = len(header) == sides + 1 and header[0] == MAGIC[sides]
        require(
            whole and len(data) == 4 * (sides + 1) + math.prod(map(int, header[1:])),
            f"dataset.root: {found[0]} is no whole IDX file of bytes with {sides} sides",
        )
        return np.frombuffer(data, np.uint8, offset=4 * (sides + 1)).reshape(header[1:]).copy()
