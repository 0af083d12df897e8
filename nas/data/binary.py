"""The "binary version" of CIFAR: which files there are, and how they are checked and read.

Every record is one or two label bytes followed by 3,072 pixels in the order C, H, W. Format and checksums:
https://www.cs.toronto.edu/~kriz/cifar.html (Krizhevsky, 2009).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from nas.data.sources import TensorImages
from nas.errors import require
from nas.reading.files import read_bytes

IMAGE_SHAPE = (3, 32, 32)
NUM_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class BinaryFile:
    """One file: its name, its number of records, and its md5 where one is published."""

    name: str
    num_images: int
    md5: str | None = None


@dataclass(frozen=True)
class BinaryFiles:
    """A folder of such files. The last label byte of a record is the class."""

    folder: str
    archive: str
    num_classes: int
    num_labels: int
    train: tuple[BinaryFile, ...]
    test: tuple[BinaryFile, ...]


CIFAR10 = BinaryFiles(
    folder="cifar-10-batches-bin",
    archive="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    num_classes=10,
    num_labels=1,
    train=(
        BinaryFile("data_batch_1.bin", 10000, "5dd7e06a14cb22eb9f671a540d1b7c25"),
        BinaryFile("data_batch_2.bin", 10000, "5ea93a67294ea407fff1d09f752e9692"),
        BinaryFile("data_batch_3.bin", 10000, "942cd6a4bcdd0dd3c604fbe906cb4421"),
        BinaryFile("data_batch_4.bin", 10000, "ae636b3ba5c66a11e91e8cb52e771fcb"),
        BinaryFile("data_batch_5.bin", 10000, "53f37980c15c3d472c316c40844f3f0d"),
    ),
    test=(BinaryFile("test_batch.bin", 10000, "803d5f7f4d78ea53de84dbe85f74fb6d"),),
)

CIFAR100 = BinaryFiles(
    folder="cifar-100-binary",
    archive="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    num_classes=100,
    num_labels=2,
    train=(BinaryFile("train.bin", 50000),),
    test=(BinaryFile("test.bin", 10000),),
)


def find_folder(root: Path, files: BinaryFiles) -> Path | None:
    """Returns `root/<folder>`, or `root` if it is that folder or holds some of its files, or None."""
    inner = root / files.folder
    if inner.is_dir():
        return inner
    expected = [root / file.name for file in files.train + files.test]
    is_folder = root.is_dir() and root.name == files.folder
    return root if is_folder or any(path.is_file() for path in expected) else None


def read(folder: Path, files: BinaryFiles, train: bool) -> TensorImages:
    """Reads and checks the training or the test images.

    Presence and size of every file are checked in either case; the content only of the files that are read:
    by md5 where one is published. For CIFAR-100's binary files none is, so there the range of the labels
    and an equal number of images per class stand in for it, and altered pixels would go unnoticed.

    Raises:
        ConfigError: a file is missing, truncated or altered; it is named, with what was expected and found.
    """
    remedy = f"unpack {files.archive} again"
    record = files.num_labels + NUM_PIXELS
    for file in files.train + files.test:
        path = folder / file.name
        require(path.is_file(), f"dataset.root: {file.name} is missing from {folder}; {remedy}")
        found, expected = path.stat().st_size, file.num_images * record
        require(
            found == expected,
            f"dataset.root: {path} has {found} bytes instead of {expected}; {remedy}",
        )
    wanted = files.train if train else files.test
    records = torch.cat([_read_file(folder / file.name, file, files, remedy) for file in wanted])
    images_NCHW = records[:, files.num_labels :].reshape(-1, *IMAGE_SHAPE)
    return TensorImages(images_NCHW, records[:, files.num_labels - 1])


def _read_file(path: Path, file: BinaryFile, files: BinaryFiles, remedy: str) -> torch.Tensor:
    content = bytearray(
        read_bytes(path, f"dataset.root: {path}", file.num_images * (files.num_labels + NUM_PIXELS))
    )
    records = torch.frombuffer(content, dtype=torch.uint8).reshape(file.num_images, -1)
    if file.md5 is not None:
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        require(
            found == file.md5,
            f"dataset.root: {path} was altered: its md5 is {found} instead of {file.md5}; {remedy}",
        )
        return records
    labels = records[:, files.num_labels - 1].to(torch.int64)
    highest = int(labels.max())
    require(
        highest < files.num_classes,
        f"dataset.root: {path} was altered: it holds the label {highest}, and {files.num_classes - 1} is the "
        f"highest there is; {remedy}",
    )
    sizes = labels.bincount(minlength=files.num_classes)
    expected = file.num_images // files.num_classes
    require(
        bool((sizes == expected).all()),
        f"dataset.root: {path} was altered: {int(sizes.min())} to {int(sizes.max())} images per class "
        f"instead of {expected}; {remedy}",
    )
    return records
