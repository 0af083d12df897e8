"""The compiled average against torch's: values, gradients and theirs, what is not a number, what is kept."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from nas.analysis.cost.counting import count_saved_bytes
from nas.spaces.native.average import Average, average

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def literal(x_BCHW, stride=1):
    return F.avg_pool2d(x_BCHW, 3, stride, 1, count_include_pad=False)


def both_ways(function, x_BCHW):
    """A result, and the gradient of the images for a gradient that is no constant."""
    x_BCHW = x_BCHW.clone().requires_grad_()
    found = function(x_BCHW)
    waves = torch.arange(found.numel(), dtype=found.dtype).view(found.shape).cos()
    return found.detach(), torch.autograd.grad(found, x_BCHW, waves)[0]


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(*(st.integers(1, most) for most in (3, 21, 9, 9))),
    last=st.booleans(),
    threads=st.sampled_from([1, 3]),
)
def test_averages_equal_torch(library, shape, last, threads):
    x_BCHW = torch.randn(shape, generator=torch.Generator().manual_seed(0)).double()
    if last:
        x_BCHW = x_BCHW.to(memory_format=torch.channels_last)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours = both_ways(lambda x: Average.apply(library, x), x_BCHW)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(ours, both_ways(literal, x_BCHW), **EXACT)


def test_it_has_gradients_of_gradients(library):
    x_BCHW = torch.randn(2, 3, 4, 3).double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: Average.apply(library, x).square(), x_BCHW)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_run_that_diverges_is_noticed(library, value):
    x_BCHW = torch.randn(2, 9, 5, 5)
    x_BCHW[0, 3, 2, 2] = x_BCHW[1, :, :2] = value
    ours = both_ways(lambda x: Average.apply(library, x), x_BCHW)
    torch.testing.assert_close(ours, both_ways(literal, x_BCHW), equal_nan=True)


def test_nothing_is_kept_for_the_backward_pass(library):
    x_BCHW = torch.randn(2, 8, 6, 6).requires_grad_()
    assert count_saved_bytes(lambda: average(library, 1, x_BCHW).sum()) == 0
    assert count_saved_bytes(lambda: average(None, 1, x_BCHW).sum()) > 0


@pytest.mark.parametrize("stride", [1, 2])
def test_torch_serves_where_the_kernel_cannot(library, stride):
    """Without a kernel, at stride 2, and in a type that it does not know."""
    x_BCHW = torch.randn(2, 3, 5, 4)
    torch.testing.assert_close(average(None, stride, x_BCHW), literal(x_BCHW, stride))
    torch.testing.assert_close(average(library, stride, x_BCHW), literal(x_BCHW, stride))
    half = x_BCHW.bfloat16()
    torch.testing.assert_close(average(library, stride, half), literal(half, stride))
