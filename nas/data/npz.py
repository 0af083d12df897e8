"""An archive of NumPy's arrays (.npz), read without unpickling anything.

Shapes: N images.
"""

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO

import numpy as np
import torch
from torch import Tensor

from nas.errors import ConfigError, require
from nas.printable import listed, shown
from nas.reading.files import MEBIBYTE, check_regular

HEADERS = MappingProxyType(
    {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
)
IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = "images", "labels", "test_images", "test_labels"
# Bytes of all arrays of a file, unpacked; the training images of ImageNet at 64x64 take 16 GB.
LONGEST = 64 * 1024 * MEBIBYTE


def read_arrays(file: Path, where: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz file that a source needs, of plain numbers and texts; raises as `read_held`."""
    return read_held(file, where, [IMAGES, LABELS], [TEST_IMAGES, TEST_LABELS], whole=True)


def read_held(
    file: Path, where: str, needed: Sequence[str], further: Sequence[str], whole: bool = False
) -> dict[str, np.ndarray]:
    """Arrays of an .npz file, of plain numbers and texts.

    Args:
        file: the archive.
        where: what messages begin with.
        needed: their names.
        further: of those that may be there.
        whole: whether these are needed where one of them is there.

    Raises:
        ConfigError: there is no such file, it is no archive, is damaged, too long, lacks an array or holds
            pickled objects.
    """
    check_regular(file, where)
    require(
        zipfile.is_zipfile(file),
        f"{where}: no .npz archive; numpy.savez_compressed(file, {IMAGES}=..., {LABELS}=...) writes one",
    )
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(one.file_size for one in archive.infolist())
            require(size <= LONGEST, f"{where}: unpacks to {size:,} bytes; at most {LONGEST:,} are read")
            for one in archive.infolist():
                if one.filename.removesuffix(".npy") in (*needed, *further):
                    with archive.open(one) as opened:
                        check_header(opened, one.file_size, f"{where}: {one.filename.removesuffix('.npy')}")
        with np.load(file, allow_pickle=False) as held:
            names = list(held.files)
            there = [name for name in further if name in names]
            wanted = [*needed, *(further if whole and there else there)]
            missing = [name for name in wanted if name not in names]
            require(
                not missing, f"{where}: lacks {', '.join(missing)}; it holds {listed(names) or 'no array'}"
            )
            found = {name: held[name] for name in wanted}
    except ConfigError:
        raise
    except Exception as error:
        # A damaged or hostile archive may break anything in zipfile, zlib and NumPy.
        raise ConfigError(f"{where}: cannot be read ({shown(' '.join(str(error).split()), 160)})") from error
    # What has not the form of an array comes as bytes.
    other = [name for name, array in found.items() if not isinstance(array, np.ndarray)]
    require(not other, f"{where}: {', '.join(other)} is no array")
    return found


def check_header(opened: IO[bytes], size: int, where: str) -> bool:
    """Compares what the header of an array of NumPy's says with the bytes that there are.

    Args:
        opened: at its first byte.
        size: of the whole, header and numbers, in bytes.
        where: what messages begin with.

    Returns:
        Whether the numbers lie in the order of Fortran.

    Raises:
        ConfigError: it has no such header, holds objects, a side below 0, or not as many bytes as it says.
    """
    try:
        version = np.lib.format.read_magic(opened)
    except ValueError as error:
        raise ConfigError(f"{where} is no array of NumPy's") from error
    # Others are for records, which are no images.
    require(version in HEADERS, f"{where}: format {version} of NumPy's arrays is not known")
    try:
        shape, fortran, dtype = HEADERS[version](opened)
    except Exception as error:
        # A hostile header may break anything in NumPy's reader of literals.
        told = shown(" ".join(str(error).split()), 160)
        raise ConfigError(f"{where}: its header is damaged ({told})") from error
    size -= opened.tell()
    require(
        not dtype.hasobject,
        f"{where}: holds pickled objects, which are never read; save arrays of numbers (labels may be texts "
        "of one NumPy type, such as <U16)",
    )
    require(min(shape, default=0) >= 0, f"{where}: shape {shown(str(shape), 80)} cannot be")
    needed = math.prod(shape) * dtype.itemsize
    require(
        needed == size,
        f"{where}: its header says {dtype} {shown(str(list(shape)), 80)}, which is {needed:,} bytes, but "
        f"{size:,} follow; the file is cut off or damaged",
    )
    return fortran


def is_unit(array: np.ndarray) -> bool:
    """Whether pixels are fractions from 0 to 1, of which 1 is white, or truth values."""
    fractions = array.dtype.kind == "f" and array.size > 0 and float(array.max()) <= 1
    return array.dtype.kind == "b" or fractions


def as_pixels(array: np.ndarray, unit: bool, where: str) -> Tensor:
    """Numbers from 0 to 255, or with `unit` from 0 to 1, as uint8 of the same shape.

    Raises:
        ConfigError: they are no numbers, or beyond that; `where` begins the message.
    """
    if array.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(array))
    require(array.dtype.kind in "biuf", f"{where} are {array.dtype}; pixels must be numbers")
    require(bool(np.isfinite(array).all()), f"{where} are not all finite numbers; pixels must be")
    lowest, highest, white = float(array.min()), float(array.max()), 1 if unit else 255
    require(
        lowest >= 0 and highest <= white,
        f"{where} run from {lowest:g} to {highest:g}; bring all images to 0 to {white}"
        + ("" if unit else ", or to fractions from 0 to 1"),
    )
    scaled = array.astype(np.float32) * 255 if unit else array
    return torch.from_numpy(np.ascontiguousarray(np.rint(scaled).astype(np.uint8)))


def read_labels(arrays: dict[str, np.ndarray], name: str, where: str) -> tuple[np.ndarray, Tensor]:
    """The different labels, sorted, and the place of each image's among them, int64 [N].

    Raises:
        ConfigError: they are not [N] (or [N, 1]), or neither whole numbers nor texts.
    """
    array = arrays[name]
    flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    require(
        flat.ndim == 1 and flat.dtype.kind in "biuU",
        f"{where}: {name} is {array.dtype} {list(array.shape)}; it must be [N], whole numbers or texts",
    )
    names, places = np.unique(flat, return_inverse=True)
    return names, torch.from_numpy(places.astype(np.int64))
