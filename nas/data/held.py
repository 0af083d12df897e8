"""Arrays of files, by name: an .npz archive, single .npy files that are mapped into memory, or safetensors.

Nothing is unpickled, and what a header says is compared with the length of its file before memory is asked
for.

Shapes: N images.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.data.npz import IMAGES, LABELS, TEST_IMAGES, TEST_LABELS, check_header, read_arrays, read_held
from nas.errors import ConfigError, installation, require
from nas.printable import listed, shown
from nas.reading.files import check_regular

ARCHIVE, SINGLE, TENSORS = ".npz", ".npy", ".safetensors"
# Of single files: the array -> the key that names its file.
FILES = {IMAGES: "file", LABELS: "labels", TEST_IMAGES: "test_file", TEST_LABELS: "test_labels"}


def read_named(files: Mapping[str, Path | None]) -> tuple[dict[str, np.ndarray], str]:
    """The arrays that the keys `file`, `labels`, `test_file` and `test_labels` of a data set name.

    Returns:
        `images`, `labels` and, where there is a test part, `test_images` and `test_labels`; and what messages
        about them begin with.

    Raises:
        ConfigError: a file is missing, damaged or of another kind, holds pickled objects or lacks an array.
    """
    file = files["file"]
    assert file is not None
    where = f"dataset.file={file}"
    kind = file.suffix.lower()
    if kind != SINGLE:
        more = [f"dataset.{key}" for key, one in files.items() if key != "file" and one is not None]
        require(
            not more, f"{', '.join(more)}: only beside dataset.file=<images.npy>; {where} holds all arrays"
        )
        return (read_tensors(file, where) if kind == TENSORS else read_arrays(file, where)), where
    require(files["labels"] is not None, f"{where}: name the file of its labels, dataset.labels=<labels.npy>")
    require(
        (files["test_file"] is None) == (files["test_labels"] is None),
        "dataset.test_file, dataset.test_labels: name both or neither",
    )
    found = {}
    for name, key in FILES.items():
        one = files[key]
        if one is not None:
            found[name] = map_array(one, f"dataset.{key}={one}")
    return found, where


def read_input(file: Path, where: str) -> dict[str, np.ndarray]:
    """`images` and, where there are some, `labels` of a file of any of the three kinds.

    Raises:
        ConfigError: as `read_named`.
    """
    kind = file.suffix.lower()
    if kind == SINGLE:
        return {IMAGES: map_array(file, where)}
    if kind == TENSORS:
        return read_tensors(file, where, [IMAGES], [LABELS], whole=False)
    return read_held(file, where, [IMAGES], [LABELS])


def map_array(file: Path, where: str) -> np.ndarray:
    """The array of an .npy file, mapped into memory: what is looked at is read, and changes stay here.

    Raises:
        ConfigError: there is no such file, it is none of NumPy's, shorter or longer than it says, holds
            objects, or has the order of Fortran.
    """
    check_regular(file, where)
    try:
        with open(file, "rb") as opened:
            fortran = check_header(opened, file.stat().st_size, where)
        require(
            not fortran,
            f"{where}: its numbers lie in the order of Fortran, so that an image is all over the file; save "
            "numpy.ascontiguousarray(...) instead",
        )
        return np.load(file, mmap_mode="c", allow_pickle=False)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{where}: cannot be read ({shown(' '.join(str(error).split()), 160)})") from error


def read_tensors(
    file: Path,
    where: str,
    needed: Sequence[str] = (IMAGES, LABELS),
    further: Sequence[str] = (TEST_IMAGES, TEST_LABELS),
    whole: bool = True,
) -> dict[str, np.ndarray]:
    """Arrays of a safetensors file; see `nas.data.npz.read_held`.

    Raises:
        ConfigError: there is no such file, it is damaged, lacks an array, or the package is not installed.
    """
    check_regular(file, where)
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise ConfigError(f"{where}: needs safetensors; {installation('export')}") from error
    try:
        with safe_open(file, framework="pt") as held:
            names = list(held.keys())
            there = [name for name in further if name in names]
            wanted = [*needed, *(further if whole and there else there)]
            missing = [name for name in wanted if name not in names]
            require(
                not missing, f"{where}: lacks {', '.join(missing)}; it holds {listed(names) or 'no tensor'}"
            )
            tensors: dict[str, Any] = {name: held.get_tensor(name) for name in wanted}
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{where}: no safetensors file, or damaged ({shown(' '.join(str(error).split()), 160)})"
        ) from error
    # NumPy has no bfloat16.
    return {
        name: (one.float() if one.is_floating_point() and one.element_size() < 4 else one).numpy()
        for name, one in tensors.items()
    }
