"""A separable convolution with affine batch norms, as in evaluation networks, around the compiled kernel.

Shapes: B batch, C channels, H W space, S steps (2: `sep_conv`, 1: `dil_conv`).
"""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nas.spaces.native.layout import nhwc, open_sums
from nas.spaces.native.library import pointer, pointers
from nas.spaces.native.separable import Call, SeparableSpec, pair, separable_call


class SeparableAffine(torch.autograd.Function):
    """total + factors * operation(x) in training mode, for one module with affine batch norms.

    Keeps, for the backward pass, the input and the pointwise convolutions' results. Gradients of gamma come
    from those results, never from a division by gamma, so gamma may be zero. Not twice differentiable.

    `apply(spec, norms, x, factors_B, total, *depthwise, *pointwise, *gamma, *beta)`: `norms` is S batch
    norms whose buffers are updated; factors (drop-path's, per image) may be None, total is None where nothing
    has been added yet; then S depthwise [C, 1, k, k], S pointwise [C, C, 1, 1], S gammas and S betas [C].
    """

    @staticmethod
    def forward(ctx, spec, norms, x_BCHW, factors_B, total_BCHW, *parameters):
        """Returns the new total [B, C, H', W'], in place where there was one in channels-last layout."""
        steps = spec.steps
        parameters = tuple(parameter.contiguous() for parameter in parameters)
        x = nhwc(x_BCHW)
        batch, height, width, channels = x.shape
        out = (batch, (height - 1) // spec.stride + 1, (width - 1) // spec.stride + 1, channels)
        outputs = [x.new_empty(out) for _ in range(steps)]
        statistics = [x.new_empty(2, channels, dtype=torch.float64) for _ in range(steps)]
        (total,), fresh, in_place = open_sums([total_BCHW], out, x.dtype)
        factors = None if factors_B is None else factors_B.to(x.dtype).contiguous()
        call = _affine_call(spec, norms[0], x, factors, parameters, outputs, statistics)
        call.running_mean = pair([norm.running_mean for norm in norms])
        call.running_var = pair([norm.running_var for norm in norms])
        call.sums, call.fresh = pointers([total]), (ctypes.c_int64 * 1)(*fresh)
        spec.library.run("separable_forward", x.dtype, call)
        for norm in norms:
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.add_(1)
        ctx.mark_dirty(*in_place)
        ctx.spec, ctx.norm = spec, norms[0]
        ctx.save_for_backward(x, factors, *parameters, *outputs, *statistics)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient_BCHW):
        """Gradients of the input and the parameters; that of the total passes through."""
        spec, steps = ctx.spec, ctx.spec.steps
        x, factors, *saved = ctx.saved_tensors
        parameters, outputs, statistics = saved[: 4 * steps], saved[4 * steps : 5 * steps], saved[5 * steps :]
        gradient = nhwc(gradient_BCHW)
        needed = ctx.needs_input_grad[5:]
        need_weights, need_norms = any(needed[: 2 * steps]), any(needed[2 * steps :])
        dx = torch.empty_like(x) if ctx.needs_input_grad[2] else None
        grads_w = [torch.empty_like(w) if need_weights else None for w in parameters[: 2 * steps]]
        grads_n = [torch.empty_like(p, dtype=torch.float64) for p in parameters[2 * steps :] if need_norms]
        call = _affine_call(spec, ctx.norm, x, factors, parameters, outputs, statistics)
        call.sums, call.dx = pointers([gradient]), pointer(dx)
        call.d_depthwise, call.d_pointwise = pair(grads_w[:steps]), pair(grads_w[steps:])
        call.d_gamma, call.d_beta = pair(grads_n[:steps]), pair(grads_n[steps:])
        spec.library.run("separable_backward", x.dtype, call)
        grads = [*grads_w, *(g.to(x.dtype) for g in grads_n), *([None] * (2 * steps - len(grads_n)))]
        return (
            None,
            None,
            None if dx is None else dx.permute(0, 3, 1, 2),
            None,
            gradient.permute(0, 3, 1, 2) if ctx.needs_input_grad[4] else None,
            *(g if wanted else None for g, wanted in zip(grads, needed, strict=True)),
        )


def _affine_call(
    spec: SeparableSpec,
    norm: nn.BatchNorm2d,
    x: Tensor,
    factors_B: Tensor | None,
    parameters: Sequence[Tensor],
    outputs: Sequence[Tensor],
    statistics: Sequence[Tensor],
) -> Call:
    """What both directions have in common."""
    steps = spec.steps
    call = separable_call(spec, x, None, parameters[: 2 * steps], outputs, statistics)
    call.eps, call.momentum = norm.eps, norm.momentum
    call.gamma = pair(parameters[2 * steps : 3 * steps])
    call.beta = pair(parameters[3 * steps :])
    call.factors = pointer(factors_B)
    return call
