"""Separable convolutions of all edges of a candidate side by side, keeping only what batch norm read.

Shapes: B batch, C channels, H W space, m edges, S steps of the candidate (2: `sep_conv`, 1: `dil_conv`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas.spaces.norm import BN_EPS, BN_MOMENTUM


@dataclass(frozen=True)
class WideSpec:
    """What stays the same from call to call."""

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


class WideSeparable(torch.autograd.Function):
    """Scaled separable convolutions of m edges in training mode, [B, C, H, W] -> [B, m*C, H', W'].

    Keeps the input and the pointwise convolutions' results for the backward pass; the repetition of the
    input, batch norms, the ReLUs after them and depthwise convolutions are computed again. Not twice
    differentiable.

    `apply(spec, running, repeated, x, scale, *depthwise, *pointwise)`: `running` is S pairs of BN buffers
    [m*C] that are updated; `repeated` is x m times side by side, which all candidates share in the forward
    pass; x is behind its ReLU; scale [m*C]; depthwise is S of [m*C, 1, k, k], pointwise S of [m*C, C, 1, 1].
    """

    @staticmethod
    def forward(ctx, spec, running, repeated_BCHW, x_BCHW, scale, *weights):
        """All edges' normalised and scaled results."""
        # On no device there is no autocast, and asking for it is an error.
        device = "cpu" if x_BCHW.is_meta else x_BCHW.device.type
        ctx.low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x_BCHW.dtype
        with torch.autocast(device, enabled=False):
            depthwise, pointwise = _cast(weights, ctx.low, spec.steps)
            kept = []
            h_BCHW = repeated_BCHW.to(ctx.low)
            for step in range(spec.steps):
                d_BCHW = _depthwise(spec, step, h_BCHW, depthwise[step])
                z_BCHW = torch.conv2d(d_BCHW, pointwise[step], groups=_edges(pointwise[step]))
                weight = scale if step == spec.steps - 1 else None
                mean_C, var_C = running[step]
                h_BCHW, mean, invstd = torch.native_batch_norm(
                    z_BCHW, weight, None, mean_C, var_C, True, BN_MOMENTUM, BN_EPS
                )
                kept += [z_BCHW, mean, invstd]
                if step < spec.steps - 1:
                    h_BCHW = h_BCHW.relu_()
        ctx.spec = spec
        ctx.save_for_backward(x_BCHW, scale, *weights, *kept)
        return h_BCHW

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient_BCHW):
        """Gradients of input, scale and weights."""
        spec, low = ctx.spec, ctx.low
        x_BCHW, scale, *rest = ctx.saved_tensors
        weights, kept = rest[: 2 * spec.steps], rest[2 * spec.steps :]
        need_x, need_scale = ctx.needs_input_grad[3:5]
        need_weights = ctx.needs_input_grad[5]
        depthwise, pointwise = _cast(weights, low, spec.steps)
        d_weights: list[Tensor | None] = [None] * (2 * spec.steps)
        d_scale, g_BCHW = None, gradient_BCHW
        for step in reversed(range(spec.steps)):
            z_BCHW, mean, invstd = kept[3 * step : 3 * step + 3]
            last = step == spec.steps - 1
            g_BCHW, d_gamma, _ = torch.ops.aten.native_batch_norm_backward(
                g_BCHW,
                z_BCHW,
                scale if last else None,
                None,
                None,
                mean,
                invstd,
                True,
                BN_EPS,
                [need_x or need_weights, last and need_scale, False],
            )
            d_scale = d_gamma if last and need_scale else d_scale
            if not (need_x or need_weights):
                break
            edges = _edges(pointwise[step])
            if step == 0:
                h_BCHW = x_BCHW.to(low).repeat(1, edges, 1, 1)
            else:
                # Normalised again from its input, statistics included: one operator, and exactly as before.
                before = kept[3 * step - 3]
                h_BCHW = torch.native_batch_norm(before, None, None, None, None, True, 0.0, BN_EPS)[0].relu_()
            # Where only the input's gradient is wanted the convolution's input says no more than its shape.
            d_BCHW = _depthwise(spec, step, h_BCHW, depthwise[step]) if need_weights else z_BCHW
            g_BCHW, d_weights[spec.steps + step] = _convolution_backward(
                g_BCHW, d_BCHW, pointwise[step], [1, 1], [0, 0], [1, 1], edges, True, need_weights
            )
            channels, (stride, padding, dilation) = h_BCHW.shape[1], spec.depthwise(step)
            g_BCHW, d_weights[step] = _convolution_backward(
                g_BCHW, h_BCHW, depthwise[step], stride, padding, dilation, channels, True, need_weights
            )
            if step > 0:
                g_BCHW = torch.ops.aten.threshold_backward(g_BCHW, h_BCHW, 0)
        if need_x:
            dx_BCHW = g_BCHW.unflatten(1, (edges, x_BCHW.shape[1])).sum(1).to(x_BCHW.dtype)
        d_weights = [None if d is None else d.to(w.dtype) for d, w in zip(d_weights, weights, strict=True)]
        return None, None, None, dx_BCHW if need_x else None, d_scale, *d_weights


def _cast(weights, low, steps):
    cast = [weight.to(low) for weight in weights]
    return cast[:steps], cast[steps:]


def _edges(pointwise: Tensor) -> int:
    return pointwise.shape[0] // pointwise.shape[1]


def _depthwise(spec, step, h_BCHW, weight):
    stride, padding, dilation = spec.depthwise(step)
    return torch.conv2d(h_BCHW, weight, None, stride, padding, dilation, h_BCHW.shape[1])


def _convolution_backward(g, x, weight, stride, padding, dilation, groups, need_x, need_weight):
    gradients = torch.ops.aten.convolution_backward(
        g, x, weight, None, stride, padding, dilation, False, [0, 0], groups, [need_x, need_weight, False]
    )
    return gradients[0], gradients[1]
