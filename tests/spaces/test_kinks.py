"""Gradients at zeros and ties, where a derivative is a convention: every way of computing has the same one.

Zeros are common (what a ReLU cut off, a bias that has not moved), so a way that disagreed there would be
another network. ReLU's derivative at 0 is 0; of equal maxima one gets the whole gradient.
"""

import pytest
import torch

from nas.spaces.dso.parts import build_operation
from nas.spaces.nasbench201.operations import NASBENCH201
from nas.spaces.native.library import load_library
from nas.spaces.native.recurrent import NativeMix
from nas.spaces.operations import DARTS
from nas.spaces.recurrent.mix import TorchMix, mix
from nas.spaces.supernet.candidate import Execution
from nas.spaces.supernet.fan_out import FanOut

OURS = [["max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_5x5"]] * 2
THEIRS = [["skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]] * 2
EXACT = {"rtol": 1e-9, "atol": 1e-11}


def few_values(*shape):
    """Images of -1, 0 and 1 alone: a third of the ReLUs at their kink, most maxima tied."""
    torch.manual_seed(0)
    return torch.randint(-1, 2, shape).double().contiguous(memory_format=torch.channels_last)


def kernel():
    found = load_library()
    if found is None:
        pytest.skip("the compiled kernel cannot be built here")
    return found


class LiteralRelu(torch.autograd.Function):
    """max(x, 0) whose derivative is 1 where x > 0 and 0 elsewhere, written down."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * (x > 0)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (x > 0)


def gradients(execution, operations, build, stride, x_BCHW):
    torch.manual_seed(0)
    module = FanOut(4, stride, (0, 1), operations, execution, build).double()
    x_BCHW = x_BCHW.clone().requires_grad_()
    scales = {name: torch.tensor([0.2, 0.7]).double().requires_grad_() for name in module.holders}
    sums = [None, None]
    module(x_BCHW, scales, sums)
    waves = torch.arange(sums[0].numel()).view(sums[0].shape).sin()
    (sums[0] * waves + 2 * sums[1] * waves.flip(0)).sum().backward()
    return [x_BCHW.grad, *(one.grad for one in scales.values()), *(p.grad for p in module.parameters())]


@pytest.mark.parametrize("way", ["wide", "recomputed", "native"])
@pytest.mark.parametrize(
    ("operations", "build", "stride"),
    [(OURS, DARTS.stacked, 1), (OURS, DARTS.stacked, 2), (THEIRS, NASBENCH201.stacked, 1)],
)
def test_candidates_agree_at_zeros_and_ties(operations, build, stride, way):
    x_BCHW = few_values(2, 4, 8, 8)
    native = kernel() if way == "native" else None
    execution = Execution(native, way in ("wide", "recomputed"), way == "recomputed")
    found = gradients(execution, operations, build, stride, x_BCHW)
    expected = gradients(Execution(), operations, build, stride, x_BCHW)
    torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("way", ["narrow", "native"])
def test_a_relu_at_zero_passes_nothing_on(way, monkeypatch):
    """A candidate behind its ReLU against the same with the ReLU written down."""
    x_BCHW = few_values(2, 4, 8, 8)
    execution = Execution(kernel() if way == "native" else None)
    found = gradients(execution, [["sep_conv_3x3"]] * 2, DARTS.stacked, 1, x_BCHW)
    monkeypatch.setattr("nas.spaces.supernet.candidate.F.relu", LiteralRelu.apply)
    expected = gradients(Execution(), [["sep_conv_3x3"]] * 2, DARTS.stacked, 1, x_BCHW)
    torch.testing.assert_close(found, expected, **EXACT)
    assert (found[0][x_BCHW == 0] == 0).all() and (found[0][x_BCHW == 1] != 0).any()


def test_of_tied_maxima_one_gets_the_gradient():
    x_BCHW = few_values(2, 4, 8, 8).requires_grad_()
    pooled = torch.nn.functional.max_pool2d(x_BCHW, 3, 1, 1)
    (found,) = torch.autograd.grad(pooled.sum(), x_BCHW)
    assert found.sum() == pooled.numel()


@pytest.mark.parametrize("name", ["sep_conv_3x3", "max_pool_3x3", "avg_pool_3x3"])
def test_operations_of_a_block_agree_at_zeros_and_ties(name):
    results = []
    for native in (None, kernel()):
        torch.manual_seed(0)
        operation = build_operation(name, 4, scale=False).double()
        operation.execution = Execution(native)
        x_BCHW = few_values(2, 4, 8, 8).requires_grad_()
        (operation(x_BCHW) * x_BCHW.detach().cos()).sum().backward()
        results.append([x_BCHW.grad, *(p.grad for p in operation.parameters())])
    torch.testing.assert_close(*results, **EXACT)


@pytest.mark.parametrize("way", ["torch", "native"])
def test_recurrent_candidates_agree_where_a_product_is_zero(way):
    """At h = 0 the slopes are tanh 1, ReLU 0, sigmoid 1/4, identity 1; against autograd and by hand."""
    torch.manual_seed(0)
    products = torch.randn(3, 2, 2, 5).double()
    products[:, :, 1] = 0.0
    state, weights, upstream = (
        torch.randn(3, 5).double(),
        torch.rand(2, 4).double(),
        torch.randn(3, 2, 5).double(),
    )
    leaves = [one.clone().requires_grad_() for one in (products, state, weights)]
    (mix(*leaves) * upstream).sum().backward()
    mixer = TorchMix() if way == "torch" else NativeMix(kernel())
    d_products, d_state, d_weights = (torch.zeros_like(one) for one in (products, state, weights))
    mixer.backward(products, state, weights, upstream, d_products, d_state, d_weights)
    torch.testing.assert_close([d_products, d_state, d_weights], [one.grad for one in leaves], **EXACT)
    slope = weights[:, 0] + weights[:, 2] / 4 + weights[:, 3]
    by_hand = upstream * torch.sigmoid(products[:, :, 0]) * slope[:, None]
    torch.testing.assert_close(d_products[:, :, 1], by_hand, **EXACT)
