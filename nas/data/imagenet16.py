"""ImageNet-16-120: the first 120 classes of Downsampled ImageNet at 16 x 16, as NAS-Bench-201 uses it."""

import hashlib
import io
import math
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nas.data.sources import CachedImages, TensorImages
from nas.errors import ConfigError, require
from nas.reading.files import MEBIBYTE, read_bytes

FOLDER = "ImageNet16"
# Bytes of a file; a tenth of the training images takes 100 MB.
LONGEST = 1024 * MEBIBYTE
ADDRESS = "https://image-net.org/download-images"
# The attributes of a batch: images [N, 3 * 16 * 16] in the order C, H, W, and labels from 1.
IMAGES, LABELS = "data", "labels"


@dataclass(frozen=True)
class PickledFiles:
    """The pickled files of a data set with their md5s, and how many images of its classes they hold."""

    train: tuple[tuple[str, str], ...]
    test: tuple[tuple[str, str], ...]
    num_train: int
    num_test: int


# The md5s that the benchmark's code checks; counts from Dong and Yang (2020), section 2.2.
OFFICIAL = PickledFiles(
    train=(
        ("train_data_batch_1", "27846dcaa50de8e21a7d1a35f30f0e91"),
        ("train_data_batch_2", "c7254a054e0e795c69120a5727050e3f"),
        ("train_data_batch_3", "4333d3df2e5ffb114b05d2ffc19b1e87"),
        ("train_data_batch_4", "1620cdf193304f4a92677b695d70d10f"),
        ("train_data_batch_5", "348b3c2fdbb3940c4e9e834affd3b18d"),
        ("train_data_batch_6", "6e765307c242a1b3d7d5ef9139b48945"),
        ("train_data_batch_7", "564926d8cbf8fc4818ba23d2faac7564"),
        ("train_data_batch_8", "f4755871f718ccb653440b9dd0ebac66"),
        ("train_data_batch_9", "bb6dd660c38c58552125b1a92f86b5d4"),
        ("train_data_batch_10", "8f03f34ac4b42271a294f91bf480f29b"),
    ),
    test=(("val_data", "3410e3017fdaefba8d5073aaa65e4bd6"),),
    num_train=151_700,
    num_test=6_000,
)


class ImageNet16(CachedImages):
    """151,700 training and 6,000 test images [3, 16, 16] in 120 classes (Dong and Yang 2020, section 2.2).

    The images of Downsampled ImageNet (Chrabaszcz et al. 2017) whose labels are 1 to 120, which become 0 to
    119; the test images are ImageNet's validation images. Nothing is downloaded. Each file's md5 is checked
    before it is unpickled, and unpickling admits numpy arrays and plain containers alone.

    `mean` and `std` are the benchmark's.

    Args:
        root: the folder that holds `ImageNet16`, or that folder itself under any name
        files: the files and their checksums; None for the official ones

    Raises:
        ConfigError: from `train` and `test`: a file is missing, damaged, or not what it should be.
    """

    name = "imagenet16_120"
    num_classes = 120
    image_shape = (3, 16, 16)
    mean = (122.68 / 255, 116.66 / 255, 104.01 / 255)
    std = (63.22 / 255, 61.26 / 255, 65.09 / 255)

    def __init__(self, root: str | Path = "data", files: PickledFiles | None = None):
        super().__init__()
        require(root is not None, "dataset.root: must name the folder that holds the images, not null")
        self.root = Path(root)
        self.files = files or OFFICIAL
        self.num_images = (self.files.num_train, self.files.num_test)

    def _read(self, train: bool) -> TensorImages:
        root = self.root.expanduser().resolve()
        folder = root / FOLDER if (root / FOLDER).is_dir() else root
        listed = [name for name, _ in self.files.train + self.files.test]
        missing = [name for name in listed if not (folder / name).is_file()]
        require(
            not missing,
            f"dataset.root: {', '.join(missing)} missing from {folder}; put the files of Downsampled "
            f"ImageNet 16x16 there ({ADDRESS}, account needed) and set dataset.root",
        )
        wanted = self.files.train if train else self.files.test
        parts = [self._read_file(folder / name, md5) for name, md5 in wanted]
        images_NCHW = torch.cat([images for images, _ in parts])
        labels_N = torch.cat([labels for _, labels in parts])
        expected = self.files.num_train if train else self.files.num_test
        require(
            len(labels_N) == expected,
            f"dataset.root: the files in {folder} hold {len(labels_N)} images of the first "
            f"{self.num_classes} classes instead of {expected}",
        )
        return TensorImages(images_NCHW, labels_N)

    def _read_file(self, path: Path, md5: str) -> tuple[torch.Tensor, torch.Tensor]:
        content = read_bytes(path, f"dataset.root: {path}", LONGEST)
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        require(
            found == md5,
            f"dataset.root: {path} was altered: its md5 is {found} instead of {md5}; fetch it again from "
            f"{ADDRESS}",
        )
        data_NP, labels_N = _arrays(unpickle(content, path), path, math.prod(self.image_shape))
        ours_N = (labels_N >= 1) & (labels_N <= self.num_classes)
        images_NCHW = torch.from_numpy(data_NP[ours_N]).view(-1, *self.image_shape)
        return images_NCHW, torch.from_numpy(labels_N[ours_N] - 1)


def _arrays(entry: object, path: Path, num_pixels: int) -> tuple[np.ndarray, np.ndarray]:
    data_NP, labels = (entry.get(IMAGES), entry.get(LABELS)) if isinstance(entry, dict) else (None, None)
    if not (
        isinstance(data_NP, np.ndarray)
        and data_NP.dtype == np.uint8
        and isinstance(labels, list)
        and data_NP.shape == (len(labels), num_pixels)
        and all(isinstance(label, int | np.integer) for label in labels)
    ):
        raise ConfigError(
            f"dataset.root: {path} holds no uint8 {IMAGES!r} [N, {num_pixels}] with a list of N {LABELS!r}"
        )
    return data_NP, np.asarray(labels, dtype=np.int64)


def unpickle(content: bytes, path: Path) -> object:
    """Reads a pickle of numpy arrays, numbers, text and containers; nothing in it is called otherwise.

    Args:
        content: the pickle, of Python 2 or 3.
        path: where it comes from, for messages.

    Raises:
        ConfigError: it is broken, or asks for something else.
    """
    try:
        return _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except ConfigError as error:
        raise ConfigError(f"dataset.root: {path} {error}") from error
    except Exception as error:
        # A broken pickle can fail in any way that the types it builds can.
        raise ConfigError(f"dataset.root: {path} cannot be unpickled ({error})") from error


class _Unpickler(pickle.Unpickler):
    """An unpickler that knows what an array and its type are made of, and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        admitted = {
            "numpy.multiarray._reconstruct": _empty_array,
            "numpy.multiarray.scalar": _number,
            "numpy.ndarray": np.ndarray,
            "numpy.dtype": _number_type,
            "_codecs.encode": _bytes,
        }
        # numpy 2 calls its own core by another name.
        found = admitted.get(f"{module}.{name}".replace(".core.", ".").replace("._core.", "."))
        if found is not None:
            return found
        raise ConfigError(f"asks for {module}.{name}: it holds more than arrays and plain containers")


def _empty_array(kind: type, shape: tuple, type_code: object) -> np.ndarray:
    """What an array is before it is given its content."""
    return np.ndarray((0,), np.int8)


def _number(kind: np.dtype, content: bytes) -> np.generic:
    return np.frombuffer(content, kind)[0]


def _number_type(code: str, *flags: object) -> np.dtype:
    """A type of numbers; one of Python objects could hold anything."""
    found = np.dtype(code)
    if found.kind not in "biuf":
        raise ConfigError(f"holds an array of type {code!r}, not of numbers")
    return found


def _bytes(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for Python 2 to read."""
    if encoding != "latin1":
        raise ConfigError(f"holds bytes in the encoding {encoding!r}")
    return text.encode("latin1")
