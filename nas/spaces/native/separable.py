"""Separable candidates of a fan-out as one autograd function around the compiled kernel.

Shapes: B batch, C channels, H W space, M edges, S steps of the candidate (2: `sep_conv`, 1: `dil_conv`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas.spaces.native.library import Library
from nas.spaces.operations import BN_EPS, BN_MOMENTUM


@dataclass(frozen=True)
class SeparableSpec:
    """What stays the same from call to call."""

    library: Library
    kernel: int
    stride: int
    dilation: int
    steps: int

    def stride_of(self, step: int) -> int:
        """The stride is in the first step."""
        return self.stride if step == 0 else 1


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


class SeparableSum(torch.autograd.Function):
    """sums[i] + scales[i] * candidate_i(x) for the M edges of a candidate, in training mode.

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
        depthwise, pointwise = tensors[:steps], tensors[steps : 2 * steps]
        sums = tensors[2 * steps :]
        x = _nhwc(x_BCHW)
        outputs, norms = [], []
        for step in range(steps):
            source = x if step == 0 else outputs[-1]
            z, mean, invstd = _step_forward(
                spec, step, source, norms[-1] if norms else None, depthwise, pointwise
            )
            _update_running(running[step], mean, invstd, z[0].numel() // z.shape[-1])
            outputs.append(z)
            norms.append((mean, invstd))
        z, (mean, invstd) = outputs[-1], norms[-1]
        scale = (scales_M[:, None] * invstd).to(z.dtype).contiguous()
        shift = (-scale * mean).contiguous()
        results, in_place = [], []
        pixels, channels = z[0].numel() // z.shape[-1], z.shape[-1]
        for edge in range(edges):
            total = sums[edge]
            fresh = total is None
            if fresh:
                # Not a permuted [B, H, W, C]: autograd cannot add in place to several views.
                shape = (z.shape[1], channels, *z.shape[2:4])
                total = torch.empty(shape, dtype=z.dtype, memory_format=torch.channels_last)
            elif _is_nhwc(total):
                in_place.append(total)
            else:
                total = total.contiguous(memory_format=torch.channels_last)
            spec.library.affine_add(
                total.permute(0, 2, 3, 1), z[edge], scale[edge], shift[edge], pixels, channels, not fresh
            )
            results.append(total)
        ctx.mark_dirty(*in_place)
        ctx.spec = spec
        flat_norms = [tensor for pair in norms for tensor in pair]
        ctx.save_for_backward(x, scales_M, *depthwise, *pointwise, *outputs, *flat_norms)
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        """Gradients of input, scales and weights; those of the sums pass through."""
        spec, steps = ctx.spec, ctx.spec.steps
        x, scales_M, *saved = ctx.saved_tensors
        depthwise, pointwise, outputs = saved[:steps], saved[steps : 2 * steps], saved[2 * steps : 3 * steps]
        norms = [(saved[3 * steps + 2 * s], saved[3 * steps + 2 * s + 1]) for s in range(steps)]
        need_x, need_weights = ctx.needs_input_grad[2], ctx.needs_input_grad[4]
        z, (mean, invstd) = outputs[-1], norms[-1]
        edges, channels = len(scales_M), z.shape[-1]
        pixels = z[0].numel() // channels
        gradients = [_nhwc(g) for g in gradients]
        reduced = torch.empty(edges, 2, channels, dtype=torch.float64)
        for edge in range(edges):
            spec.library.reduce(
                gradients[edge], z[edge], mean[edge], invstd[edge], pixels, channels, reduced[edge]
            )
        dscales_M = reduced[:, 1].sum(-1).to(scales_M.dtype)
        dx = torch.empty_like(x) if need_x else None
        d_depthwise = [_empty64(w) if need_weights else None for w in depthwise]
        d_pointwise = [_empty64(w) if need_weights else None for w in pointwise]
        if need_x or need_weights:
            last = _norm_backward(reduced, mean, invstd, pixels, scales_M)
            hidden = torch.empty_like(outputs[0][0]) if steps == 2 else None
            for edge in range(edges):
                weights = (depthwise, pointwise, d_depthwise, d_pointwise)
                _edge_backward(
                    spec, edge, gradients[edge], last[edge], x, weights, outputs, norms, hidden, dx
                )
        grads_w = [
            None if d is None else _depthwise_layout(d, w)
            for d, w in zip(d_depthwise, depthwise, strict=True)
        ] + [
            None if d is None else d.to(w.dtype).view_as(w)
            for d, w in zip(d_pointwise, pointwise, strict=True)
        ]
        had_sum = ctx.needs_input_grad[4 + 2 * steps :]
        passed = [g.permute(0, 3, 1, 2) if had else None for g, had in zip(gradients, had_sum, strict=True)]
        return None, None, None if dx is None else dx.permute(0, 3, 1, 2), dscales_M, *grads_w, *passed


def _step_forward(spec, step, source, norm, depthwise, pointwise):
    """One step for all edges: its results [M, B, H', W', C] and their mean and 1/std [M, C]."""
    edges, channels = depthwise[step].shape[:2]
    shared = step == 0
    batch, height, width, _ = source.shape if shared else source.shape[1:]
    stride = spec.stride_of(step)
    out = (edges, batch, (height - 1) // stride + 1, (width - 1) // stride + 1, channels)
    z = torch.empty(out, dtype=source.dtype)
    stats = torch.empty(edges, 2, channels, dtype=torch.float64)
    for edge in range(edges):
        spec.library.forward(
            source if shared else source[edge],
            None if norm is None else norm[0][edge],
            None if norm is None else norm[1][edge],
            depthwise[step][edge],
            pointwise[step][edge],
            z[edge],
            stats[edge],
            (batch, height, width, channels),
            spec.kernel,
            stride,
            spec.dilation,
        )
    count = z[0].numel() // channels
    mean = stats[:, 0] / count
    variance = (stats[:, 1] / count - mean * mean).clamp_min_(0)
    return z, mean.to(z.dtype), (variance + BN_EPS).rsqrt().to(z.dtype)


def _update_running(buffers: tuple[Tensor, Tensor], mean: Tensor, invstd: Tensor, count: int) -> None:
    variance = invstd.double().pow(-2) - BN_EPS
    unbiased = (variance * (count / max(1, count - 1))).to(mean.dtype)
    buffers[0].lerp_(mean.to(buffers[0].dtype), BN_MOMENTUM)
    buffers[1].lerp_(unbiased.to(buffers[1].dtype), BN_MOMENTUM)


def _norm_backward(
    reduced: Tensor, mean: Tensor, invstd: Tensor, count: int, scales_M: Tensor | None
) -> Tensor:
    """Coefficients [M, 3, C] of dz = a*g + b*z + c, batch norm's backward pass from the sums [M, 2, C]."""
    mean, invstd = mean.double(), invstd.double()
    gain = invstd if scales_M is None else scales_M.double()[:, None] * invstd
    slope = gain * invstd * reduced[:, 1] / count
    return torch.stack([gain, -slope, slope * mean - gain * reduced[:, 0] / count], dim=1)


def _edge_backward(spec, edge, gradient, coefficients, x, weights, outputs, norms, hidden, dx):
    """Walks one edge's steps from the last to the first."""
    depthwise, pointwise, d_depthwise, d_pointwise = weights
    for step in reversed(range(spec.steps)):
        first = step == 0
        source = x if first else outputs[step - 1][edge]
        mean, invstd = (None, None) if first else (norms[step - 1][0][edge], norms[step - 1][1][edge])
        result = dx if first else hidden
        stats = None if first else torch.empty(2, source.shape[-1], dtype=torch.float64)
        if result is None and d_depthwise[step] is None:
            return
        spec.library.backward(
            gradient,
            outputs[step][edge],
            coefficients.to(x.dtype).contiguous(),
            source,
            mean,
            invstd,
            depthwise[step][edge],
            pointwise[step][edge],
            result,
            first and edge > 0,
            stats,
            None if d_depthwise[step] is None else d_depthwise[step][edge],
            None if d_pointwise[step] is None else d_pointwise[step][edge],
            tuple(source.shape),
            spec.kernel,
            spec.stride_of(step),
            spec.dilation,
        )
        if not first:
            count = source.numel() // source.shape[-1]
            coefficients = _norm_backward(stats[None], mean[None], invstd[None], count, None)[0]
            gradient = hidden


def _is_nhwc(x_BCHW: Tensor) -> bool:
    return x_BCHW.permute(0, 2, 3, 1).is_contiguous()


def _nhwc(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.permute(0, 2, 3, 1).contiguous()


def _empty64(weight: Tensor) -> Tensor:
    return torch.empty(weight.shape[0], weight[0].numel(), dtype=torch.float64)


def _depthwise_layout(found: Tensor, weight: Tensor) -> Tensor:
    """[M, k*k * C] from the kernel -> [M, C, 1, k, k]."""
    edges, channels = weight.shape[:2]
    return found.view(edges, -1, channels).transpose(1, 2).reshape(weight.shape).to(weight.dtype)
