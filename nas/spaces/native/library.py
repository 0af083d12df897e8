"""Loads the kernel, and calls it through plain C functions."""

import ctypes
import logging
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from nas.spaces.native.building import build, place_of
from nas.spaces.native.failures import forget, note, note_of, noted, why

log = logging.getLogger(__name__)
FOLDER = Path(__file__).parent
SOURCES = tuple(FOLDER / name for name in ("separable.cpp", "terms.cpp", "average.cpp", "recurrent.cpp"))
HEADERS = tuple(FOLDER / name for name in ("step.h", "vectors.h"))
FUNCTIONS = (
    "average",
    *(f"{kernel}_{way}" for kernel in ("separable", "terms", "recurrent") for way in ("forward", "backward")),
)
# Not -ffast-math: it would switch denormals off for the whole process and let NaN pass unnoticed.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fopenmp", "-fno-math-errno", "-ffp-contract=fast")
KERNELS = (3, 5, 7)


@cache
def load_library() -> "Library | None":
    """The compiled kernel, built where it has not been before; None where it cannot be built.

    The first build takes some seconds and needs a C++ compiler and ninja.
    """
    try:
        place = place_of(SOURCES, HEADERS, FLAGS)
        if not place.exists():
            if shutil.which("c++") is None and shutil.which("g++") is None:
                log.info(
                    "no C++ compiler found: using torch's own convolutions (hardware.native=false silences "
                    "this)"
                )
                return None
            reason = noted(place)
            if reason is not None:
                log.warning(
                    "the compiled kernel could not be built before (%s): using torch's own convolutions; to "
                    "try again delete %s (hardware.native=false silences this)",
                    reason,
                    note_of(place),
                )
                return None
            _build(place)
        return Library(ctypes.CDLL(str(place)), place.parent.name)
    except (RuntimeError, OSError, ImportError) as error:
        log.warning("the compiled kernel could not be built (%s): using torch's own convolutions", why(error))
        return None


def _build(place: Path) -> None:
    """Compiles the kernel; raises as `build`, and notes where the compiler refuses it."""
    log.info(
        "compiling a kernel for this processor, once for all runs on it (hardware.native=false goes without)"
    )
    try:
        build(place, SOURCES, FLAGS)
    except RuntimeError as error:
        note(place, error)
        raise
    forget(place)


class Library:
    """The C functions, for float32 and float64 tensors laid out [N, H, W, C].

    Each takes one structure of numbers and addresses; see the source of the same name.

    Args:
        handle: the loaded library.
        name: that of its folder, which stands for sources, flags, processor and torch (`place_of`).
    """

    def __init__(self, handle: ctypes.CDLL, name: str):
        self.name = name
        self._functions = {}
        for dtype, suffix in ((torch.float32, "float"), (torch.float64, "double")):
            for name in FUNCTIONS:
                function = getattr(handle, f"{name}_{suffix}")
                function.restype = None
                self._functions[name, dtype] = function

    def __reduce__(self):
        # Copies and other processes load the same kernel again.
        return load_library, ()

    def supports(self, x_BCHW: Tensor, kernel: int = KERNELS[0]) -> bool:
        """Whether a tensor and a kernel size can be handled."""
        return (
            x_BCHW.device.type == "cpu"
            and x_BCHW.dtype in (torch.float32, torch.float64)
            and kernel in KERNELS
        )

    def run(self, name: str, dtype: torch.dtype, call: ctypes.Structure) -> None:
        """Calls a function; whoever filled the structure keeps the tensors alive that it points to."""
        self._functions[name, dtype](ctypes.byref(call))


def pointer(tensor: Tensor | None) -> int | None:
    """The address of a tensor's first element; None, which C takes as null, for no tensor."""
    return None if tensor is None else tensor.data_ptr()


def pointers(tensors: Sequence[Tensor | None]) -> ctypes.Array:
    """The addresses of several tensors, as one C array."""
    return (ctypes.c_void_p * len(tensors))(*(pointer(tensor) for tensor in tensors))
