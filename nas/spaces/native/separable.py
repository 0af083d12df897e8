"""Separable candidates of a fan-out as one autograd function around the compiled kernel.

Shapes: B batch, C channels, H W space, M edges, S steps of the candidate (2: `sep_conv`, 1: `dil_conv`).
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas.spaces.native.layout import nhwc, open_sums
from nas.spaces.native.library import Library, pointer, pointers
from nas.spaces.norm import BN_EPS, BN_MOMENTUM


@dataclass(frozen=True)
class SeparableSpec:
    """What stays the same: kernel 3, 5 or 7; stride, dilation and steps 1 or 2; a ReLU first or none.

    `fixed`: norms by their running statistics, which stay; there is no backward pass of that.
    """

    library: Library
    kernel: int
    stride: int
    dilation: int
    steps: int
    rectify: bool = True
    fixed: bool = False


class DenseGradient(torch.autograd.Function):
    """The identity, whose gradient is laid out [B, H, W, C] in memory: once a node, not once a candidate."""

    @staticmethod
    def forward(ctx, x_BCHW):
        """The input itself."""
        return x_BCHW.view_as(x_BCHW)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient_BCHW):
        """The gradient in channels-last layout."""
        return gradient_BCHW.contiguous(memory_format=torch.channels_last)


PAIR = ctypes.c_void_p * 2


class Call(ctypes.Structure):
    """`Call` of separable.cpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("edges", "n", "h", "w", "c")),
        *((name, ctypes.c_int64) for name in ("kernel", "stride", "dilation", "steps", "threads", "rectify")),
        ("fixed", ctypes.c_int64),
        *((name, ctypes.c_double) for name in ("eps", "momentum")),
        ("x", ctypes.c_void_p),
        *((name, PAIR) for name in ("depthwise", "pointwise", "z", "norm", "running_mean", "running_var")),
        ("scales", ctypes.c_void_p),
        ("sums", ctypes.POINTER(ctypes.c_void_p)),
        ("fresh", ctypes.POINTER(ctypes.c_int64)),
        *((name, ctypes.c_void_p) for name in ("dx", "dscales")),
        *((name, PAIR) for name in ("d_depthwise", "d_pointwise")),
        *((name, PAIR) for name in ("gamma", "beta", "d_gamma", "d_beta")),
        ("factors", ctypes.c_void_p),
    ]


class SeparableSum(torch.autograd.Function):
    """sums[i] + scales[i] * candidate_i(x) for the M edges of a candidate.

    Keeps, for the backward pass, the input and the pointwise convolutions' results: what lies between is
    computed again. Not twice differentiable: callers who need that use torch's own operators.

    `apply(spec, running, x, scales_M, *depthwise, *pointwise, *sums)`: `running` is S pairs of BN buffers
    [M, C] that are updated; depthwise is S of [M, C, 1, k, k], pointwise S of [M, C, C, 1, 1]; a sum is None
    where nothing has been added yet.
    """

    @staticmethod
    def forward(ctx, spec, running, x_BCHW, scales_M, *tensors):
        """Returns the M new sums [B, C, H', W'], in place where there was one."""
        steps, edges = spec.steps, len(scales_M)
        weights = [weight.contiguous() for weight in tensors[: 2 * steps]]
        x = nhwc(x_BCHW)
        batch, height, width, channels = x.shape
        out = (batch, (height - 1) // spec.stride + 1, (width - 1) // spec.stride + 1, channels)
        outputs = [x.new_empty(1 if spec.fixed else edges, *out) for _ in range(steps)]
        norms = [x.new_empty(edges, 2, channels, dtype=torch.float64) for _ in range(steps)]
        results, fresh, in_place = open_sums(tensors[2 * steps :], out, x.dtype)
        scales = scales_M.double().contiguous()
        call = separable_call(spec, x, scales, weights, outputs, norms)
        call.running_mean = pair([mean for mean, _ in running])
        call.running_var = pair([variance for _, variance in running])
        call.sums, call.fresh = pointers(results), (ctypes.c_int64 * edges)(*fresh)
        spec.library.run("separable_forward", x.dtype, call)
        ctx.mark_dirty(*in_place)
        ctx.spec = spec
        ctx.scales_dtype = scales_M.dtype
        ctx.save_for_backward(x, scales, *weights, *outputs, *norms)
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        """Gradients of input, scales and weights; those of the sums pass through."""
        spec, steps = ctx.spec, ctx.spec.steps
        x, scales, *saved = ctx.saved_tensors
        weights, outputs, norms = saved[: 2 * steps], saved[2 * steps : 3 * steps], saved[3 * steps :]
        gradients = tuple(nhwc(gradient) for gradient in gradients)
        dx = torch.empty_like(x) if ctx.needs_input_grad[2] else None
        need_weights = any(ctx.needs_input_grad[4 : 4 + 2 * steps])
        grads_w = [torch.empty_like(weight) if need_weights else None for weight in weights]
        dscales = torch.empty_like(scales)
        call = separable_call(spec, x, scales, weights, outputs, norms)
        call.sums = pointers(gradients)
        call.dx, call.dscales = pointer(dx), pointer(dscales)
        call.d_depthwise, call.d_pointwise = pair(grads_w[:steps]), pair(grads_w[steps:])
        spec.library.run("separable_backward", x.dtype, call)
        had_sum = ctx.needs_input_grad[4 + 2 * steps :]
        passed = [g.permute(0, 3, 1, 2) if had else None for g, had in zip(gradients, had_sum, strict=True)]
        dx_BCHW = None if dx is None else dx.permute(0, 3, 1, 2)
        return None, None, dx_BCHW, dscales.to(ctx.scales_dtype), *grads_w, *passed


def separable_call(
    spec: SeparableSpec,
    x: Tensor,
    scales: Tensor | None,
    weights: Sequence[Tensor],
    outputs: Sequence[Tensor],
    norms: Sequence[Tensor],
) -> Call:
    """What both directions have in common; no scales: one edge, with a scale of 1."""
    batch, height, width, channels = x.shape
    return Call(
        edges=1 if scales is None else len(scales),
        n=batch,
        h=height,
        w=width,
        c=channels,
        kernel=spec.kernel,
        stride=spec.stride,
        dilation=spec.dilation,
        steps=spec.steps,
        threads=torch.get_num_threads(),
        rectify=spec.rectify,
        fixed=spec.fixed,
        eps=BN_EPS,
        momentum=BN_MOMENTUM,
        x=pointer(x),
        depthwise=pair(weights[: spec.steps]),
        pointwise=pair(weights[spec.steps :]),
        z=pair(outputs),
        norm=pair(norms),
        scales=pointer(scales),
    )


def pair(tensors: Sequence[Tensor | None]) -> ctypes.Array:
    """The addresses of the tensors of one or two steps."""
    return PAIR(*(pointer(tensor) for tensor in tensors))
