"""The 3x3 average of a fan-out's source as one autograd function around the compiled kernel.

Shapes: B batch, C channels, H W space.
"""

import ctypes

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.spaces.native.layout import nhwc
from nas.spaces.native.library import Library, pointer


class Call(ctypes.Structure):
    """`Call` of average.cpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("n", "h", "w", "c", "threads", "back")),
        ("source", ctypes.c_void_p),
        ("result", ctypes.c_void_p),
    ]


class Average(torch.autograd.Function):
    """`F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)`, which keeps nothing for the backward pass.

    `apply(library, x, back)`; `back` computes the gradient of that from the gradient of its result. Each is
    the derivative of the other, so it can be differentiated as often as one likes.
    """

    @staticmethod
    def forward(ctx, library, x_BCHW, back=False):
        """Returns [B, C, H, W], channels last in memory."""
        x = nhwc(x_BCHW)
        result = torch.empty_like(x)
        batch, height, width, channels = x.shape
        call = Call(
            n=batch,
            h=height,
            w=width,
            c=channels,
            threads=torch.get_num_threads(),
            back=back,
            source=pointer(x),
            result=pointer(result),
        )
        library.run("average", x.dtype, call)
        ctx.library, ctx.back = library, back
        return result.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, gradient_BCHW):
        """The gradient of the images."""
        return None, Average.apply(ctx.library, gradient_BCHW, not ctx.back), None


def average(library: Library | None, stride: int, x_BCHW: Tensor) -> Tensor:
    """A 3x3 average that leaves padding out of its count, [B, C, H, W] -> [B, C, H', W'].

    Torch computes the largest of nine and strides as fast as a kernel of ours, which was tried.
    """
    if library is not None and stride == 1 and library.supports(x_BCHW):
        return Average.apply(library, x_BCHW)
    return F.avg_pool2d(x_BCHW, 3, stride, 1, count_include_pad=False)
