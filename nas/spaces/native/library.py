"""Builds the kernel with torch's own extension loader and calls it through plain C functions."""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

log = logging.getLogger(__name__)
SOURCE = Path(__file__).with_name("separable.cpp")
# Not -ffast-math: it would switch denormals off for the whole process and let NaN pass unnoticed.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fopenmp", "-fno-math-errno", "-ffp-contract=fast")
KERNELS = (3, 5, 7)


@cache
def load_library() -> "Library | None":
    """The compiled kernel, built and kept by torch's extension cache; None where it cannot be built.

    The first build takes some seconds and needs a C++ compiler and ninja.
    """
    if shutil.which("c++") is None and shutil.which("g++") is None:
        log.info(
            "no C++ compiler found: using torch's own convolutions (hardware.native=false silences this)"
        )
        return None
    # Importing the loader warns where a CUDA toolkit is installed and no GPU is there; neither is used here.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    from torch.utils import cpp_extension

    # The name carries source, flags and processor: an edited kernel, or a home shared with another machine,
    # is a new extension.
    digest = hashlib.sha256(SOURCE.read_bytes() + repr((FLAGS, _processor())).encode()).hexdigest()
    name = f"nas_separable_{digest[:12]}"
    try:
        with _ninja_on_path():
            cpp_extension.load(
                name,
                [str(SOURCE)],
                extra_cflags=list(FLAGS),
                extra_ldflags=["-fopenmp"],
                is_python_module=False,
            )
        folder = Path(cpp_extension._get_build_directory(name, verbose=False))
        return Library(ctypes.CDLL(str(folder / f"{name}.so")))
    except (RuntimeError, OSError, ImportError) as error:
        log.warning("the compiled kernel could not be built (%s): using torch's own convolutions", error)
        return None


@contextmanager
def _ninja_on_path() -> Iterator[None]:
    """Lets the loader find the ninja that pip installed, also in an environment that is not activated."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([before, sysconfig.get_path("scripts")])
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else [platform.processor()]
    features = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    return f"{platform.machine()} {features}"


class Library:
    """The C functions, for float32 and float64 tensors laid out [N, H, W, C]."""

    def __init__(self, handle: ctypes.CDLL):
        self._functions = {}
        for dtype, suffix in ((torch.float32, "float"), (torch.float64, "double")):
            for name in ("forward", "backward", "reduce", "affine_add"):
                function = getattr(handle, f"{name}_{suffix}")
                function.restype = None
                self._functions[name, dtype] = function

    def __reduce__(self):
        # Copies and other processes load the same kernel again.
        return load_library, ()

    def supports(self, x_BCHW: Tensor, kernel: int) -> bool:
        """Whether a tensor and a kernel size can be handled."""
        return (
            x_BCHW.device.type == "cpu"
            and x_BCHW.dtype in (torch.float32, torch.float64)
            and kernel in KERNELS
        )

    def forward(self, x, mean, invstd, dw, pw, z, stats, shape, kernel, stride, dilation) -> None:
        """Computes z = pointwise(depthwise(relu(norm(x)))); stats [2, C] float64 = sums of z and z^2."""
        n, h, w, c = shape
        self._functions["forward", x.dtype](
            *(_pointer(t) for t in (x, mean, invstd, dw, pw, z, stats)),
            *(ctypes.c_int64(v) for v in (n, h, w, c)),
            *(ctypes.c_int(v) for v in (kernel, stride, dilation, torch.get_num_threads())),
        )

    def backward(
        self,
        g,
        z,
        coefficients,
        x,
        mean,
        invstd,
        dw,
        pw,
        gh,
        add,
        stats,
        ddw,
        dpw,
        shape,
        kernel,
        stride,
        dilation,
    ) -> None:
        """Gradients of one step; see the source. None for what is not asked for."""
        n, h, w, c = shape
        self._functions["backward", x.dtype](
            *(_pointer(t) for t in (g, z, coefficients, x, mean, invstd, dw, pw, gh)),
            ctypes.c_int(add),
            *(_pointer(t) for t in (stats, ddw, dpw)),
            *(ctypes.c_int64(v) for v in (n, h, w, c)),
            *(ctypes.c_int(v) for v in (kernel, stride, dilation, torch.get_num_threads())),
        )

    def reduce(self, g, z, mean, invstd, pixels: int, channels: int, out) -> None:
        """Computes out [2, C] float64 = sums of g and of g times normalised z."""
        self._functions["reduce", g.dtype](
            *(_pointer(t) for t in (g, z, mean, invstd)),
            ctypes.c_int64(pixels),
            ctypes.c_int64(channels),
            _pointer(out),
            ctypes.c_int(torch.get_num_threads()),
        )

    def affine_add(self, total, z, scale, shift, pixels: int, channels: int, add: bool) -> None:
        """Computes total = (add ? total : 0) + scale * z + shift, a channel each."""
        self._functions["affine_add", z.dtype](
            *(_pointer(t) for t in (total, z, scale, shift)),
            ctypes.c_int64(pixels),
            ctypes.c_int64(channels),
            ctypes.c_int(add),
            ctypes.c_int(torch.get_num_threads()),
        )


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
