"""The candidates without parameters of a fan-out as one autograd function around the compiled kernel.

Shapes: B batch, C channels, H' W' space of the results, M edges, P candidates.
"""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas.spaces.native.layout import nhwc, open_sums
from nas.spaces.native.library import pointer, pointers
from nas.spaces.norm import BN_EPS, BN_MOMENTUM

ADDRESSES = ctypes.POINTER(ctypes.c_void_p)
Running = tuple[Tensor, Tensor] | None


class Call(ctypes.Structure):
    """`Call` of terms.cpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("edges", "terms", "pixels", "c", "threads")),
        *((name, ctypes.c_double) for name in ("eps", "momentum")),
        ("results", ADDRESSES),
        ("norm", ctypes.c_void_p),
        ("running_mean", ADDRESSES),
        ("running_var", ADDRESSES),
        ("scales", ctypes.c_void_p),
        ("sums", ADDRESSES),
        ("fresh", ctypes.POINTER(ctypes.c_int64)),
        ("d_results", ADDRESSES),
        ("d_scales", ctypes.c_void_p),
    ]


class TermsSum(torch.autograd.Function):
    """sums[i] + the sum over p of scales[i, p] * BN_p(results[p]), in training mode.

    No normalised result is stored: an op weight times an affine-free batch norm is a factor and a summand a
    channel. Not twice differentiable: callers who need that use torch's own operators.

    `apply(library, running, scales_MP, *results, *sums)`: `running` is, for each of the P results, a pair of
    BN buffers [C] that are updated, or None for a result that is not normalised; a result is
    [B, C, H', W']; a sum is None where nothing has been added yet, and no two are the same.
    """

    @staticmethod
    def forward(ctx, library, running, scales_MP, *tensors):
        """Returns the M new sums [B, C, H', W'], in place where there was one."""
        terms = len(running)
        results = [nhwc(result) for result in tensors[:terms]]
        channels = results[0].shape[-1]
        sums, fresh, in_place = open_sums(tensors[terms:], results[0].shape, results[0].dtype)
        scales = scales_MP.double().contiguous()
        norm = scales.new_empty(terms, 2, channels)
        call = _call(running, scales, results, norm)
        call.sums, call.fresh = pointers(sums), (ctypes.c_int64 * len(sums))(*fresh)
        library.run("terms_forward", results[0].dtype, call)
        ctx.mark_dirty(*in_place)
        ctx.library, ctx.running, ctx.scales_dtype = library, running, scales_MP.dtype
        ctx.save_for_backward(scales, norm, *results)
        return tuple(sums)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        """Gradients of scales and results; those of the sums pass through."""
        scales, norm, *results = ctx.saved_tensors
        terms = len(results)
        gradients = tuple(nhwc(gradient) for gradient in gradients)
        need_results = ctx.needs_input_grad[3 : 3 + terms]
        d_results = [
            torch.empty_like(result) if needed else None
            for result, needed in zip(results, need_results, strict=True)
        ]
        d_scales = torch.empty_like(scales) if ctx.needs_input_grad[2] else None
        call = _call(ctx.running, scales, results, norm)
        call.sums = pointers(gradients)
        call.d_results, call.d_scales = pointers(d_results), pointer(d_scales)
        ctx.library.run("terms_backward", results[0].dtype, call)
        had_sum = ctx.needs_input_grad[3 + terms :]
        passed = [g.permute(0, 3, 1, 2) if had else None for g, had in zip(gradients, had_sum, strict=True)]
        return (
            None,
            None,
            None if d_scales is None else d_scales.to(ctx.scales_dtype),
            *(None if d is None else d.permute(0, 3, 1, 2) for d in d_results),
            *passed,
        )


def _call(running: Sequence[Running], scales: Tensor, results: Sequence[Tensor], norm: Tensor) -> Call:
    """What both directions have in common."""
    first = results[0]
    return Call(
        edges=len(scales),
        terms=len(results),
        pixels=first.numel() // first.shape[-1],
        c=first.shape[-1],
        threads=torch.get_num_threads(),
        eps=BN_EPS,
        momentum=BN_MOMENTUM,
        results=pointers(results),
        norm=pointer(norm),
        running_mean=pointers([None if pair is None else pair[0] for pair in running]),
        running_var=pointers([None if pair is None else pair[1] for pair in running]),
        scales=pointer(scales),
    )
