"""Separable convolutions of all edges of a source side by side, keeping only what batch norm read.

Shapes: B batch, C channels, H W space, m edges, Q candidates, S steps of one (2: `sep_conv`, 1: `dil_conv`).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas.spaces.norm import BN_EPS, BN_MOMENTUM


@dataclass(frozen=True)
class WideSpec:
    """What stays the same from call to call, of one candidate."""

    stride: int
    dilation: int
    kernel: int
    steps: int
    flat: bool = False

    def depthwise(self, step: int) -> tuple[list[int], list[int], list[int]]:
        """Stride, padding and dilation of a step's depthwise convolution; the stride is in the first step."""
        stride = self.stride if step == 0 else 1
        padding = self.dilation * (self.kernel - 1) // 2
        return [stride] * 2, [0 if self.flat else padding, padding], [self.dilation] * 2


class WideSeparables(torch.autograd.Function):
    """Scaled separable convolutions of Q candidates on m edges in training mode, added up: [B, m*C, H', W'].

    Keeps the input and the pointwise convolutions' results for the backward pass; the repetition of the
    input, batch norms, the ReLUs after them and depthwise convolutions are computed again. Not twice
    differentiable.

    `apply(specs, running, repeated, x, scales_QX, *weights)`: a spec for each candidate; `running` for each
    its S pairs of BN buffers [m*C], which are updated; `repeated` is x [B, C, H, W] m times side by side; x
    is behind its ReLU; scales [Q, m*C]; weights are of each candidate S depthwise ones [m*C, 1, k, k] and
    then S pointwise ones [m*C, C, 1, 1].
    """

    @staticmethod
    def forward(ctx, specs, running, repeated_BCHW, x_BCHW, scales_QX, *weights):
        """The sum of the candidates' normalised and scaled results."""
        # On no device there is no autocast, and asking for it is an error.
        device = "cpu" if x_BCHW.is_meta else x_BCHW.device.type
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x_BCHW.dtype
        total_BCHW, kept = None, []
        with torch.autocast(device, enabled=False):
            repeated_BCHW = repeated_BCHW.to(low)
            for spec, buffers, scale_X, own in zip(
                specs, running, scales_QX, _by_candidate(specs, weights), strict=True
            ):
                result_BCHW, read = _forward(spec, buffers, repeated_BCHW, scale_X, _cast(own, low))
                total_BCHW = result_BCHW if total_BCHW is None else total_BCHW.add_(result_BCHW)
                kept += read
        ctx.specs, ctx.low = specs, low
        ctx.save_for_backward(x_BCHW, scales_QX, *weights, *kept)
        return total_BCHW

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient_BCHW):
        """Gradients of input, scales and weights."""
        x_BCHW, scales_QX, *rest = ctx.saved_tensors
        count = sum(2 * spec.steps for spec in ctx.specs)
        weights, kept = rest[:count], iter(rest[count:])
        need_x, need_scales = ctx.needs_input_grad[3:5]
        needs = [any(own) for own in _by_candidate(ctx.specs, ctx.needs_input_grad[5:])]
        repeated_BCHW = None
        if need_x or any(needs):
            repeated_BCHW = x_BCHW.to(ctx.low).repeat(1, scales_QX.shape[1] // x_BCHW.shape[1], 1, 1)
        dx_BCHW: Tensor | None = None
        d_scales: list[Tensor] = []
        d_weights: list[Tensor | None] = []
        for spec, scale_X, own, need_weights in zip(
            ctx.specs, scales_QX, _by_candidate(ctx.specs, weights), needs, strict=True
        ):
            read = [next(kept) for _ in range(3 * spec.steps)]
            g_BCHW, d_scale, d_own = _backward(
                spec,
                gradient_BCHW,
                repeated_BCHW,
                read,
                scale_X,
                _cast(own, ctx.low),
                need_scales,
                need_weights,
            )
            d_scales += [] if d_scale is None else [d_scale]
            d_weights += [None if d is None else d.to(w.dtype) for d, w in zip(d_own, own, strict=True)]
            if need_x:
                dx_BCHW = g_BCHW if dx_BCHW is None else dx_BCHW.add_(g_BCHW)
        if dx_BCHW is not None:
            dx_BCHW = dx_BCHW.unflatten(1, (-1, x_BCHW.shape[1])).sum(1).to(x_BCHW.dtype)
        d_scales_QX = torch.stack(d_scales) if need_scales else None
        return None, None, None, dx_BCHW, d_scales_QX, *d_weights


def _forward(
    spec: WideSpec,
    running: Sequence[tuple[Tensor, Tensor]],
    h_BCHW: Tensor,
    scale_X: Tensor,
    weights: Sequence[Tensor],
) -> tuple[Tensor, list[Tensor]]:
    """One candidate's results, and of each step what batch norm read, its mean and its 1/std."""
    kept = []
    for step, (mean_X, var_X) in enumerate(running):
        last = step == spec.steps - 1
        d_BCHW = _depthwise(spec, step, h_BCHW, weights[step])
        pointwise = weights[spec.steps + step]
        z_BCHW = torch.conv2d(d_BCHW, pointwise, groups=_edges(pointwise))
        h_BCHW, mean, invstd = torch.native_batch_norm(
            z_BCHW, scale_X if last else None, None, mean_X, var_X, True, BN_MOMENTUM, BN_EPS
        )
        kept += [z_BCHW, mean, invstd]
        h_BCHW = h_BCHW if last else h_BCHW.relu_()
    return h_BCHW, kept


def _backward(
    spec: WideSpec,
    g_BCHW: Tensor,
    repeated_BCHW: Tensor | None,
    kept: Sequence[Tensor],
    scale_X: Tensor,
    weights: Sequence[Tensor],
    need_scale: bool,
    need_weights: bool,
) -> tuple[Tensor, Tensor | None, list[Tensor | None]]:
    """The gradients of one candidate's repeated input, scale and weights.

    Without a repeated input nobody wants more than that of the scale.
    """
    d_weights: list[Tensor | None] = [None] * (2 * spec.steps)
    d_scale = None
    for step in reversed(range(spec.steps)):
        z_BCHW, mean, invstd = kept[3 * step : 3 * step + 3]
        last = step == spec.steps - 1
        g_BCHW, d_gamma, _ = torch.ops.aten.native_batch_norm_backward(
            g_BCHW,
            z_BCHW,
            scale_X if last else None,
            None,
            None,
            mean,
            invstd,
            True,
            BN_EPS,
            [repeated_BCHW is not None, last and need_scale, False],
        )
        d_scale = d_gamma if last and need_scale else d_scale
        if repeated_BCHW is None:
            break
        h_BCHW, depthwise, pointwise = repeated_BCHW, weights[step], weights[spec.steps + step]
        if step > 0:
            # Normalised again from its input, statistics included: one operator, and exactly as before.
            before = kept[3 * step - 3]
            h_BCHW = torch.native_batch_norm(before, None, None, None, None, True, 0.0, BN_EPS)[0].relu_()
        # Where only the input's gradient is wanted the convolution's input says no more than its shape.
        d_BCHW = _depthwise(spec, step, h_BCHW, depthwise) if need_weights else z_BCHW
        g_BCHW, d_weights[spec.steps + step] = _convolution_backward(
            g_BCHW, d_BCHW, pointwise, [1, 1], [0, 0], [1, 1], _edges(pointwise), need_weights
        )
        channels, (stride, padding, dilation) = h_BCHW.shape[1], spec.depthwise(step)
        g_BCHW, d_weights[step] = _convolution_backward(
            g_BCHW, h_BCHW, depthwise, stride, padding, dilation, channels, need_weights
        )
        if step > 0:
            g_BCHW = torch.ops.aten.threshold_backward(g_BCHW, h_BCHW, 0)
    return g_BCHW, d_scale, d_weights


def _by_candidate(specs: Sequence[WideSpec], weights: Sequence[Any]) -> list[Sequence[Any]]:
    """What there is for each candidate's weights, 2*S of them."""
    ends = list(itertools.accumulate(2 * spec.steps for spec in specs))
    return [weights[end - 2 * spec.steps : end] for spec, end in zip(specs, ends, strict=True)]


def _cast(weights, low):
    return [weight.to(low) for weight in weights]


def _edges(pointwise: Tensor) -> int:
    return pointwise.shape[0] // pointwise.shape[1]


def _depthwise(spec, step, h_BCHW, weight):
    stride, padding, dilation = spec.depthwise(step)
    return torch.conv2d(h_BCHW, weight, None, stride, padding, dilation, h_BCHW.shape[1])


def _convolution_backward(g, x, weight, stride, padding, dilation, groups, need_weight):
    gradients = torch.ops.aten.convolution_backward(
        g, x, weight, None, stride, padding, dilation, False, [0, 0], groups, [True, need_weight, False]
    )
    return gradients[0], gradients[1]
