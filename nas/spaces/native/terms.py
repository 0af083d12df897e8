"""Results of a fan-out's candidates, times op weights, as one autograd function around the compiled kernel.

Shapes: B batch, C channels, H' W' space of the results, M edges, P results; m of them in one tensor.
"""

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas.spaces.native.layout import nhwc, open_sums
from nas.spaces.native.library import pointer, pointers
from nas.spaces.norm import BN_EPS, BN_MOMENTUM

ADDRESSES = ctypes.POINTER(ctypes.c_void_p)
NUMBERS = ctypes.POINTER(ctypes.c_int64)


class Summand(NamedTuple):
    """What the kernel must know of a tensor of results beside the tensor.

    Attributes:
        parts: m, how many results lie side by side in it, [B, m*C, H', W'].
        running: the running mean and variance [m, C] of their batch norms, which are updated; None for
            results that are not normalised.
    """

    parts: int = 1
    running: tuple[Tensor, Tensor] | None = None


class Call(ctypes.Structure):
    """`Call` of terms.cpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("edges", "terms", "pixels", "c", "threads", "fixed")),
        *((name, ctypes.c_double) for name in ("eps", "momentum")),
        ("results", ADDRESSES),
        ("rows", NUMBERS),
        ("held", ctypes.c_void_p),
        ("norm", ctypes.c_void_p),
        ("running_mean", ADDRESSES),
        ("running_var", ADDRESSES),
        ("scales", ctypes.c_void_p),
        ("sums", ADDRESSES),
        ("fresh", NUMBERS),
        ("d_results", ADDRESSES),
        ("d_scales", ctypes.c_void_p),
    ]


class TermsSum(torch.autograd.Function):
    """sums[i] + the sum over p of scales[i, p] * BN_p(result p) where held[i, p].

    No normalised result is stored: an op weight times an affine-free batch norm is a factor and a summand a
    channel. Not twice differentiable: callers who need that use torch's own operators.

    `apply(library, fixed, summands, held_MP, scales_MP, *results, *sums)`: `fixed` for norms by their
    running statistics, which has no backward pass; a `Summand` for each tensor of results
    [B, m*C, H', W'], whose m in order are P in all; `held_MP` are 64-bit integers, 0 where a result is not
    that of an edge, and scales are not read there; a sum [B, C, H', W'] is None where nothing has been added
    yet, and no two are the same.
    """

    @staticmethod
    def forward(ctx, library, fixed, summands, held_MP, scales_MP, *tensors):
        """Returns the M new sums [B, C, H', W'], in place where there was one."""
        count = len(summands)
        results = [nhwc(result) for result in tensors[:count]]
        first = results[0]
        channels = first.shape[-1] // summands[0].parts
        sums, fresh, in_place = open_sums(tensors[count:], (*first.shape[:3], channels), first.dtype)
        scales = scales_MP.double().contiguous()
        norm = scales.new_empty(scales.shape[1], 2, channels)
        call = _call(summands, held_MP, scales, results, norm)
        call.sums, call.fresh, call.fixed = pointers(sums), (ctypes.c_int64 * len(sums))(*fresh), fixed
        library.run("terms_forward", first.dtype, call)
        ctx.mark_dirty(*in_place)
        ctx.library, ctx.summands, ctx.held, ctx.scales_dtype = library, summands, held_MP, scales_MP.dtype
        ctx.save_for_backward(scales, norm, *results)
        return tuple(sums)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        """Gradients of scales and results; those of the sums pass through."""
        scales, norm, *results = ctx.saved_tensors
        count = len(results)
        gradients = tuple(nhwc(gradient) for gradient in gradients)
        need_results = ctx.needs_input_grad[5 : 5 + count]
        d_results = [
            torch.empty_like(result) if needed else None
            for result, needed in zip(results, need_results, strict=True)
        ]
        d_scales = torch.empty_like(scales) if ctx.needs_input_grad[4] else None
        call = _call(ctx.summands, ctx.held, scales, results, norm)
        call.sums = pointers(gradients)
        call.d_results, call.d_scales = _parts(ctx.summands, d_results), pointer(d_scales)
        ctx.library.run("terms_backward", results[0].dtype, call)
        had_sum = ctx.needs_input_grad[5 + count :]
        passed = [g.permute(0, 3, 1, 2) if had else None for g, had in zip(gradients, had_sum, strict=True)]
        return (
            None,
            None,
            None,
            None,
            None if d_scales is None else d_scales.to(ctx.scales_dtype),
            *(None if d is None else d.permute(0, 3, 1, 2) for d in d_results),
            *passed,
        )


def _parts(summands: Sequence[Summand], tensors: Sequence[Tensor | None]) -> ctypes.Array:
    """The addresses of P results, of tensors [B, H', W', m*C] or [m, C] that hold m each; null for None."""
    found: list[int | None] = []
    for summand, tensor in zip(summands, tensors, strict=True):
        if tensor is None:
            found += [None] * summand.parts
        else:
            step = tensor.shape[-1] * tensor.element_size()
            step = step // summand.parts if tensor.dim() == 4 else step
            found += range(tensor.data_ptr(), tensor.data_ptr() + step * summand.parts, step)
    return (ctypes.c_void_p * len(found))(*found)


def _call(
    summands: Sequence[Summand], held: Tensor, scales: Tensor, results: Sequence[Tensor], norm: Tensor
) -> Call:
    """What both directions have in common."""
    first = results[0]
    rows = [result.shape[-1] for result, one in zip(results, summands, strict=True) for _ in range(one.parts)]
    means, variances = (
        [None if one.running is None else one.running[which] for one in summands] for which in range(2)
    )
    return Call(
        edges=len(scales),
        terms=len(rows),
        pixels=first.numel() // first.shape[-1],
        c=norm.shape[-1],
        threads=torch.get_num_threads(),
        eps=BN_EPS,
        momentum=BN_MOMENTUM,
        results=_parts(summands, results),
        rows=(ctypes.c_int64 * len(rows))(*rows),
        held=pointer(held),
        norm=pointer(norm),
        running_mean=_parts(summands, means),
        running_var=_parts(summands, variances),
        scales=pointer(scales),
    )
