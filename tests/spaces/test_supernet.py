"""The supernet that runs by source node equals the literal one that runs by edge, in float64."""

import copy

import pytest
import torch
from torch.nn import functional as F

from nas.spaces.darts import DartsSpace
from nas.spaces.native.library import load_library
from tests.reference.literal import LiteralDarts
from tests.reference.mapping import literal_view, load_literal

DARTS = [
    "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect",
    "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
]  # fmt: skip
MIXED_LISTS = [["skip_connect", "sep_conv_3x3"], ["dil_conv_5x5", "max_pool_3x3"], ["none", "avg_pool_3x3"]]


@pytest.fixture(scope="module")
def library():
    found = load_library()
    if found is None:
        pytest.skip("the compiled kernel cannot be built here")
    return found


def pair(operations, channels=4, num_cells=4, seed=0):
    torch.manual_seed(seed)
    space = DartsSpace("darts", operations, num_cells=num_cells, init_channels=channels)
    fast = space.supernet((3, 16, 16), 10).double()
    literal = LiteralDarts(space.groups, (3, 16, 16), 10, num_cells, channels).double()
    load_literal(fast, literal.state_dict())
    weights = {name: torch.rand(group.shape).double() for name, group in space.groups.items()}
    return fast, literal, weights


def run(network, weights, x, y, memory_format=torch.contiguous_format):
    weights = {name: value.clone().requires_grad_() for name, value in weights.items()}
    x = x.contiguous(memory_format=memory_format).clone().requires_grad_()
    logits = network(x, weights)
    F.cross_entropy(logits, y).backward()
    return logits, x.grad, {name: value.grad for name, value in weights.items()}


def assert_same(fast, literal, weights, batch, memory_format=torch.contiguous_format):
    fast.zero_grad(), literal.zero_grad()
    x, y = torch.randn(batch, 3, 16, 16).double(), torch.randint(0, 10, (batch,))
    ours, theirs = run(fast, weights, x, y, memory_format), run(literal, weights, x, y)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    names = [name for name, _ in literal.named_parameters()]
    gradients = literal_view(fast, names, "grad")
    assert set(gradients) == set(names)
    for name, parameter in literal.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-10, atol=1e-12, msg=name)
    buffers = dict(literal.named_buffers())
    for name, value in literal_view(fast, buffers).items():
        torch.testing.assert_close(value, buffers[name], rtol=1e-10, atol=1e-12, msg=name)


@pytest.mark.parametrize("channels", [4, 6, 16])
@pytest.mark.parametrize("train", [True, False])
def test_outputs_gradients_and_buffers_agree(channels, train):
    fast, literal, weights = pair(DARTS, channels)
    for network in (fast, literal):  # move the running statistics away from their start, in both
        network.train()
        torch.manual_seed(1)
        network(torch.randn(5, 3, 16, 16).double(), weights)
        network.train(train)
    assert_same(fast, literal, weights, batch=4)
    assert_same(fast, literal, weights, batch=3)  # a partial last batch


def test_lists_that_differ_edge_by_edge_agree():
    per_edge = [MIXED_LISTS[row % 3] for row in range(14)]
    fast, literal, weights = pair({"normal": per_edge, "reduce": per_edge[::-1]})
    assert_same(fast, literal, weights, batch=4)


@pytest.mark.parametrize("train", [True, False])
def test_channels_last_agrees(train):
    """Gradients as well: torch's channels-last batch norm misreads an expanded weight going backward."""
    fast, literal, weights = pair(DARTS)
    fast.train(train), literal.train(train)
    assert_same(fast, literal, weights, batch=4, memory_format=torch.channels_last)


@pytest.mark.parametrize("channels", [2, 4, 6, 12, 16, 36])
def test_the_compiled_kernel_agrees(library, channels):
    fast, literal, weights = pair(DARTS, channels)
    fast.execution.native = library
    assert_same(fast, literal, weights, batch=4)
    assert_same(fast, literal, weights, batch=3, memory_format=torch.channels_last)
    assert_same(fast, literal, weights, batch=1)  # fewer images than threads


def test_the_compiled_kernel_on_lists_that_differ_edge_by_edge(library):
    per_edge = [MIXED_LISTS[row % 3] for row in range(14)]
    fast, literal, weights = pair({"normal": per_edge, "reduce": per_edge[::-1]})
    fast.execution.native = library
    assert_same(fast, literal, weights, batch=4)


def test_the_compiled_kernel_gives_gradients_of_alpha_alone(library):
    fast, literal, weights = pair(DARTS)
    x, y = torch.randn(4, 3, 16, 16).double(), torch.randint(0, 10, (4,))
    expected = run(literal, weights, x, y)[2]
    fast.execution.native = library
    fast.requires_grad_(False)
    leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
    F.cross_entropy(fast(x, leaves), y).backward()
    for name, leaf in leaves.items():
        torch.testing.assert_close(leaf.grad, expected[name], rtol=1e-10, atol=1e-12)
    assert all(p.grad is None for p in fast.parameters())


def test_the_compiled_kernel_steps_aside_for_second_derivatives(library):
    fast, _, weights = pair(DARTS)
    fast.execution.native = library
    leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
    with fast.twice_differentiable():
        loss = F.cross_entropy(fast(torch.randn(4, 3, 16, 16).double(), leaves), torch.zeros(4).long())
        first = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
        torch.autograd.grad(sum(g.sum() for g in first), list(leaves.values()))
    assert fast.execution.native is library


def test_not_a_number_is_not_hidden(library):
    fast, _, weights = pair(["sep_conv_3x3", "dil_conv_5x5"])
    fast.execution.native = library
    x = torch.randn(2, 3, 16, 16).double()
    x[0, 0, 3, 3] = torch.nan
    assert not torch.isfinite(fast(x, weights)).all()


def test_noise_is_fresh_scaled_and_strided():
    fast, _, weights = pair(["noise", "sep_conv_3x3"])
    x = torch.randn(2, 3, 16, 16).double()
    assert not torch.equal(fast(x, weights), fast(x, weights))
    silent = {name: value * torch.tensor([0.0, 1.0]) for name, value in weights.items()}
    assert torch.equal(fast.eval()(x, silent), fast(x, silent))


def test_second_derivatives_agree():
    fast, literal, weights = pair(["none", "avg_pool_3x3", "skip_connect", "sep_conv_3x3"])
    x, y = torch.randn(4, 3, 16, 16).double(), torch.randint(0, 10, (4,))
    results = []
    for network in (fast, literal):
        leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
        loss = F.cross_entropy(network(x, leaves), y)
        first = torch.autograd.grad(loss, list(network.parameters()), create_graph=True)
        results.append(torch.autograd.grad(sum(g.pow(2).sum() for g in first), list(leaves.values())))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-12)


def test_a_supernet_with_the_compiled_kernel_can_be_copied(library):
    fast, _, weights = pair(["skip_connect", "sep_conv_3x3"])
    fast.execution.native = library
    x = torch.randn(2, 3, 16, 16).double()
    assert torch.equal(copy.deepcopy(fast)(x, weights), fast(x, weights))
