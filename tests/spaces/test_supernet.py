"""The supernet that runs by source node equals the literal one that runs by edge, in float64."""

import pytest
import torch
from torch.nn import functional as F

from nas.spaces.darts import DartsSpace
from tests.reference.literal import LiteralDarts
from tests.reference.mapping import literal_view, load_literal

DARTS = [
    "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect",
    "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
]  # fmt: skip
MIXED_LISTS = [["skip_connect", "sep_conv_3x3"], ["dil_conv_5x5", "max_pool_3x3"], ["none", "avg_pool_3x3"]]


def pair(operations, channels=4, num_cells=4, seed=0):
    torch.manual_seed(seed)
    space = DartsSpace("darts", operations, num_cells=num_cells, init_channels=channels)
    fast = space.supernet((3, 16, 16), 10).double()
    literal = LiteralDarts(space.groups, (3, 16, 16), 10, num_cells, channels).double()
    load_literal(fast, literal.state_dict())
    weights = {name: torch.rand(group.shape).double() for name, group in space.groups.items()}
    return fast, literal, weights


def run(network, weights, x, y):
    weights = {name: value.clone().requires_grad_() for name, value in weights.items()}
    x = x.clone().requires_grad_()
    logits = network(x, weights)
    F.cross_entropy(logits, y).backward()
    return logits, x.grad, {name: value.grad for name, value in weights.items()}


def assert_same(fast, literal, weights, batch):
    x, y = torch.randn(batch, 3, 16, 16).double(), torch.randint(0, 10, (batch,))
    ours, theirs = run(fast, weights, x, y), run(literal, weights, x, y)
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
    fast.zero_grad(), literal.zero_grad()
    assert_same(fast, literal, weights, batch=3)  # a partial last batch


def test_lists_that_differ_edge_by_edge_agree():
    per_edge = [MIXED_LISTS[row % 3] for row in range(14)]
    fast, literal, weights = pair({"normal": per_edge, "reduce": per_edge[::-1]})
    assert_same(fast, literal, weights, batch=4)


def test_channels_last_agrees():
    fast, literal, weights = pair(DARTS)
    x = torch.randn(4, 3, 16, 16).double()
    expected = literal(x, weights)
    torch.testing.assert_close(
        fast(x.to(memory_format=torch.channels_last), weights), expected, rtol=1e-10, atol=1e-12
    )


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
