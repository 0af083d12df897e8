"""The supernet that runs by source node equals the literal one that runs by edge, in float64."""

import copy

import pytest
import torch
from torch.nn import functional as F

from nas.errors import ConfigError
from nas.spaces.darts.space import DartsSpace
from nas.spaces.space import ImageInputs
from nas.spaces.supernet.growth import growth_maps, inherit
from tests.reference.literal import LiteralDarts
from tests.reference.mapping import literal_view, load_literal

DARTS = [
    "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect",
    "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
]  # fmt: skip
MIXED_LISTS = [["skip_connect", "sep_conv_3x3"], ["dil_conv_5x5", "max_pool_3x3"], ["none", "avg_pool_3x3"]]


def pair(operations, channels=4, num_cells=3, num_nodes=3, partial=1):
    torch.manual_seed(0)
    space = DartsSpace("darts", operations, num_nodes, num_cells, channels, partial=partial)
    fast = space.supernet(ImageInputs((3, 16, 16), 10)).double()
    literal = LiteralDarts(space.groups, (3, 16, 16), 10, num_cells, channels, partial=partial).double()
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
    fast, literal, weights = pair(DARTS, channels, num_cells=4, num_nodes=4)
    for network in (fast, literal):  # move the running statistics away from their start, in both
        network.train()
        torch.manual_seed(1)
        network(torch.randn(5, 3, 16, 16).double(), weights)
        network.train(train)
    assert_same(fast, literal, weights, batch=4)
    assert_same(fast, literal, weights, batch=3)  # a partial last batch


@pytest.mark.parametrize("num_cells", [1, 2])
def test_networks_of_reductions_alone_agree(num_cells, caplog):
    """The authors' code places reductions at num_cells // 3 and 2 * num_cells // 3, whatever comes out."""
    fast, literal, weights = pair(DARTS, num_cells=num_cells)
    assert fast.kinds == ["reduce"] * num_cells and "the normal cell is not searched" in caplog.text
    x, y = torch.randn(4, 3, 16, 16).double(), torch.randint(0, 10, (4,))
    ours, theirs = run(fast, weights, x, y), run(literal, weights, x, y)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert ours[2]["normal"] is None and ours[2]["reduce"].abs().sum() > 0


def test_lists_that_differ_edge_by_edge_agree():
    per_edge = [MIXED_LISTS[row % 3] for row in range(14)]
    fast, literal, weights = pair({"normal": per_edge, "reduce": per_edge[::-1]}, num_nodes=4)
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
    fast, literal, weights = pair({"normal": per_edge, "reduce": per_edge[::-1]}, num_nodes=4)
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
    with fast.execution.twice_differentiable():
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


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_wide_operators_agree(recompute, train, memory_format):
    fast, literal, weights = pair(DARTS)
    fast.execution.wide, fast.execution.recompute = True, recompute
    fast.train(train), literal.train(train)
    assert_same(fast, literal, weights, batch=4, memory_format=memory_format)


@pytest.mark.parametrize("recompute", [False, True])
def test_wide_operators_on_lists_that_differ_edge_by_edge(recompute):
    per_edge = [MIXED_LISTS[row % 3] for row in range(14)]
    fast, literal, weights = pair({"normal": per_edge, "reduce": per_edge[::-1]}, num_nodes=4)
    fast.execution.wide, fast.execution.recompute = True, recompute
    assert_same(fast, literal, weights, batch=4)


@pytest.mark.parametrize("frozen", ["alpha", "weights"])
def test_recomputation_gives_the_gradients_that_are_asked_for(frozen):
    fast, literal, weights = pair(["max_pool_3x3", "sep_conv_3x3", "dil_conv_3x3"])
    fast.execution.wide = fast.execution.recompute = True
    x, y = torch.randn(4, 3, 16, 16).double(), torch.randint(0, 10, (4,))
    expected = run(literal, weights, x, y)[2]
    leaves = {name: value.clone().requires_grad_(frozen == "weights") for name, value in weights.items()}
    fast.requires_grad_(frozen == "alpha")
    F.cross_entropy(fast(x, leaves), y).backward()
    if frozen == "weights":
        for name, leaf in leaves.items():
            torch.testing.assert_close(leaf.grad, expected[name], rtol=1e-10, atol=1e-12)
        return
    names = [name for name, _ in literal.named_parameters()]
    gradients = literal_view(fast, names, "grad")
    for name, parameter in literal.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-10, atol=1e-12, msg=name)


def test_recomputation_asks_each_candidate_for_itself():
    fast, literal, weights = pair(["sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3"])
    fast.execution.wide = fast.execution.recompute = True
    for name, parameter in [*fast.named_parameters(), *literal.named_parameters()]:
        parameter.requires_grad_("sep_conv_3x3" not in name)
    x, y = torch.randn(4, 3, 16, 16).double(), torch.randint(0, 10, (4,))
    run(literal, weights, x, y), run(fast, weights, x, y)
    held = [one for name, one in fast.named_parameters() if "sep_conv_3x3" in name]
    assert held and all(one.grad is None for one in held)
    others = [one for name, one in fast.named_parameters() if "sep_conv_5x5" in name or "dil_conv" in name]
    assert others and all(one.grad is not None and one.grad.abs().sum() > 0 for one in others)


def test_wide_operators_have_second_derivatives_where_they_are_asked_for():
    results = []
    for wide in (False, True):
        fast, _, weights = pair(["avg_pool_3x3", "skip_connect", "sep_conv_3x3"])
        fast.execution.wide = fast.execution.recompute = wide
        torch.manual_seed(5)
        x, y = torch.randn(4, 3, 16, 16).double(), torch.randint(0, 10, (4,))
        leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
        with fast.execution.twice_differentiable():
            loss = F.cross_entropy(fast(x, leaves), y)
            first = torch.autograd.grad(loss, list(fast.parameters()), create_graph=True)
            results.append(torch.autograd.grad(sum(g.pow(2).sum() for g in first), list(leaves.values())))
        assert fast.execution.recompute == wide
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("way", ["narrow", "native", "wide", "recompute"])
@pytest.mark.parametrize(
    ("partial", "channels", "memory_format"),
    [
        (2, 4, torch.contiguous_format),
        (4, 8, torch.contiguous_format),
        (4, 8, torch.channels_last),
        (6, 12, torch.channels_last),
    ],
)
def test_partial_channels_agree(way, partial, channels, memory_format, library):
    fast, literal, weights = pair(DARTS, channels, partial=partial)
    fast.execution.native = library if way == "native" else None
    fast.execution.wide, fast.execution.recompute = way in ("wide", "recompute"), way == "recompute"
    assert_same(fast, literal, weights, batch=3, memory_format=memory_format)
    fast.eval(), literal.eval()
    assert_same(fast, literal, weights, batch=3, memory_format=memory_format)


def test_partial_channels_that_do_not_divide_name_those_that_do():
    with pytest.raises(ConfigError, match=r"space.partial=5.*init_channels=16.*4 and 8"):
        DartsSpace("darts", DARTS, init_channels=16, partial=5)


@pytest.mark.parametrize("partial", [1, 2])
@pytest.mark.parametrize("way", ["narrow", "native", "wide"])
def test_a_network_that_holds_few_candidates_equals_zero_weights_for_the_others(way, partial, library):
    """Also with nodes that nothing reaches: their edges hold `none` alone."""
    space = DartsSpace("darts", DARTS, num_cells=3, init_channels=4)
    kept = {name: torch.zeros(14, 8, dtype=torch.bool) for name in space.groups}
    for row in range(14):
        kept["normal"][row, [0, 3 + row % 5]] = True
        kept["reduce"][row, 0] = True  # nodes 2 to 5 of the reduction cells have no candidate at all
    torch.manual_seed(0)
    full, few = (
        space.supernet(ImageInputs((3, 16, 16), 10), partial=partial, kept=k).double() for k in (None, kept)
    )
    for network in (full, few):
        network.execution.native = library if way == "native" else None
        network.execution.wide = way == "wide"
    maps = growth_maps(full, few, torch.Generator())
    few.load_state_dict(inherit(full.state_dict(), few, maps))
    x = torch.randn(2, 3, 16, 16).double()
    weights = {name: torch.rand(14, 8).double() for name in space.groups}
    zeroed = {name: value * kept[name] for name, value in weights.items()}
    torch.testing.assert_close(few(x, weights), full(x, zeroed), rtol=1e-10, atol=1e-12)


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
