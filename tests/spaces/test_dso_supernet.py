"""The supernet of DSO-NAS: against the literal one, what pruning leaves, derivation, what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from nas.errors import ConfigError
from nas.genotype import Edge
from nas.spaces.dso.space import DsoSpace
from nas.spaces.native.library import load_library
from nas.spaces.space import ImageInputs
from tests.reference.dso import is_only_literal, literal_of, load_literal

IMAGES = (3, 8, 8)
FORMATS = (torch.contiguous_format, torch.channels_last)
THREE = ["sep_conv_3x3", "max_pool_3x3", "avg_pool_3x3"]


def small(share=True, blocks=(1, 1), operations=THREE, **options):
    sizes = {"levels": 3, "init_channels": 4} | options
    return DsoSpace("dso", operations=operations, blocks_per_stage=blocks, share=share, **sizes)


def draw_factors(space, zeros=0.0, seed=0):
    """Scaling factors in [-0.2, 1), some of them zero; those of the reductions are not."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, group in space.groups.items():
        values = torch.rand(group.shape, generator=generator, dtype=torch.float64) * 1.2 - 0.2
        if not name.startswith("reduce"):
            values[torch.rand(group.shape, generator=generator) < zeros] = 0.0
        found[name] = values
    return found


def pair(space, image_shape=IMAGES):
    """The fast and the literal supernet with equal parameters."""
    torch.manual_seed(0)
    literal = literal_of(space, image_shape, 10).double()
    for parameter in literal.parameters():
        if parameter.requires_grad and parameter.dim() == 1:  # no bias is 0 and no scale is 1
            parameter.data.add_(torch.randn_like(parameter), alpha=0.3)
    fast = space.supernet(ImageInputs(image_shape, 10)).double()
    load_literal(fast, literal)
    return fast, literal


def run(network, factors, x, y):
    own = {name: values.clone().requires_grad_() for name, values in factors.items()}
    x = x.clone().requires_grad_()
    logits = network(x, own)
    F.cross_entropy(logits, y).backward()
    # A factor that the literal network did not look at has no gradient there.
    return logits, x.grad, {n: v.grad if v.grad is not None else torch.zeros_like(v) for n, v in own.items()}


def assert_same(fast, literal, factors, batch=3, memory_format=torch.contiguous_format, image_shape=IMAGES):
    fast.zero_grad(), literal.zero_grad()
    x = torch.randn(batch, *image_shape).double().contiguous(memory_format=memory_format)
    y = torch.randint(0, 10, (batch,))
    torch.testing.assert_close(run(fast, factors, x, y), run(literal, factors, x, y), rtol=1e-9, atol=1e-12)
    theirs = dict(literal.named_parameters())
    assert {n for n, p in theirs.items() if not is_only_literal(n, p)} == set(dict(fast.named_parameters()))
    for name, parameter in fast.named_parameters():
        # What does not count has no gradient in the literal network, and one of zeros here.
        ours, expected = parameter.grad, theirs[name].grad
        expected = torch.zeros_like(ours) if expected is None else expected
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12, msg=name)


def assert_same_statistics(fast, literal):
    buffers = dict(literal.named_buffers())
    found = {name: value for name, value in fast.named_buffers() if "running" in name}
    assert len(found) > 0
    for name, value in found.items():
        torch.testing.assert_close(value, buffers[name], rtol=1e-10, atol=1e-12, msg=name)


# --- against the literal supernet --------------------------------------------------------------------


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("first_factors", [True, False])
def test_outputs_gradients_and_statistics_agree_with_the_literal_supernet(
    first_factors, share, train, memory_format
):
    space = small(share, blocks=(2, 1), first_factors=first_factors)
    fast, literal = pair(space)
    factors = draw_factors(space)
    for network in (fast, literal):  # move the running statistics away from their start, in both
        torch.manual_seed(1)
        network(torch.randn(4, *IMAGES).double(), factors)
        network.train(train)
    assert_same_statistics(fast, literal)
    assert_same(fast, literal, factors, 3, memory_format)
    assert_same(fast, literal, factors, 2, memory_format)  # a partial last batch
    assert_same_statistics(fast, literal)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("first_factors", [True, False])
@pytest.mark.parametrize("zeros", [0.5, 0.85, 1.0])
def test_factors_of_zero_agree_and_those_that_count_keep_their_gradients(zeros, first_factors, memory_format):
    space = small(share=False, blocks=(2,), first_factors=first_factors)
    fast, literal = pair(space)
    for seed in range(3):
        assert_same(fast, literal, draw_factors(space, zeros, seed), memory_format=memory_format)


@pytest.mark.parametrize(
    "options",
    [
        {"levels": 1, "operations": ["sep_conv_7x7"]},
        {"levels": 2, "operations": ["sep_conv_5x5", "sep_conv_5x5", "max_pool_5x5", "avg_pool_5x5"]},
        {"stem": "imagenet"},
        {"init_channels": 1},
    ],
)
def test_other_blocks_stems_and_widths_agree(options):
    space = small(**options)
    fast, literal = pair(space, (1, 9, 13))  # odd sides are rounded up
    assert_same(fast, literal, draw_factors(space), image_shape=(1, 9, 13))


def test_second_derivatives_agree():
    space = small(blocks=(1,), operations=THREE[:2], levels=2)
    fast, literal = pair(space)
    factors = draw_factors(space)["block"]
    x, y = torch.randn(3, *IMAGES).double(), torch.randint(0, 10, (3,))
    results = []
    for network in (fast, literal):
        own = factors.clone().requires_grad_()
        loss = F.cross_entropy(network(x, {"block": own}), y)
        trained = [p for p in network.parameters() if p.requires_grad]
        first = torch.autograd.grad(loss, trained, create_graph=True)
        results.append(torch.autograd.grad(sum(g.pow(2).sum() for g in first), own)[0])
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-12)


def test_autocast_gives_finite_gradients_in_single_precision():
    space = small()
    supernet = space.supernet(ImageInputs(IMAGES, 10))
    factors = {name: values.float().requires_grad_() for name, values in draw_factors(space).items()}
    for memory_format in FORMATS:
        x = torch.randn(4, *IMAGES).contiguous(memory_format=memory_format)
        with torch.autocast("cpu", torch.bfloat16):
            logits = supernet(x, factors)
        logits.float().sum().backward()
    assert all(
        values.grad.dtype == torch.float32 and values.grad.isfinite().all() for values in factors.values()
    )


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("channels", [4, 5])
def test_the_compiled_kernel_agrees_also_where_inputs_are_negative(channels, memory_format):
    if load_library() is None:
        pytest.skip("the compiled kernel cannot be built here")
    space = small(
        blocks=(2, 1), operations=["sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7"], init_channels=channels
    )
    fast, literal = pair(space)
    fast.execution.native = load_library()
    for seed in range(3):
        assert_same(fast, literal, draw_factors(space, 0.3, seed), memory_format=memory_format)
    assert_same_statistics(fast, literal)


# --- pruning -----------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    zeros=st.sampled_from([0.2, 0.5, 0.7, 0.9, 1.0]),
    share=st.booleans(),
    first_factors=st.booleans(),
    branch=st.sampled_from([None, 0, 1]),
    memory_format=st.sampled_from(FORMATS),
)
def test_cleaning_and_rebuilding_leave_the_logits_as_they_were(
    seed, zeros, share, first_factors, branch, memory_format
):
    torch.manual_seed(seed)
    space = small(share, first_factors=first_factors)
    whole = pair(space)[0]
    factors = draw_factors(space, zeros, seed)
    if branch is not None:
        factors["reduce_1"][branch] = 0.0
    x = torch.randn(4, *IMAGES).double().contiguous(memory_format=memory_format)
    whole(x, factors)  # running statistics of its own
    kept = space.clean({name: values != 0 for name, values in factors.items()})
    pruned = space.supernet(ImageInputs(IMAGES, 10), kept=kept).double()
    state = whole.state_dict()
    own = pruned.state_dict()
    assert own.keys() <= state.keys()
    assert all(own[name].shape == state[name].shape for name in own)
    pruned.load_state_dict({name: state[name] for name in own})
    zeroed = {name: values * kept[name] for name, values in factors.items()}
    for train in (True, False):
        whole.train(train), pruned.train(train)
        expected = whole(x, factors)
        torch.testing.assert_close(whole(x, zeroed), expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(pruned(x, zeroed), expected, rtol=0, atol=1e-12)
        # What is not held cannot come back, whatever its factor.
        torch.testing.assert_close(pruned(x, factors), expected, rtol=0, atol=1e-12)


def test_a_pruned_network_holds_what_is_alive_and_no_more():
    space = small(blocks=(1,))
    layout = space.layout
    alive = torch.zeros(space.groups["block"].shape, dtype=torch.bool)
    for edge in ((2, 4), (4, layout.output), (3, 5)):  # node 5 has no way out
        alive[layout.row(*edge)] = True
    block = space.supernet(ImageInputs(IMAGES, 10), kept={"block": alive}).blocks[0]
    assert (set(block.operations), set(block.outputs)) == ({"2", "4"}, {"4"})


@pytest.mark.parametrize("train", [True, False])
def test_a_dead_block_is_its_shortcut(train):
    space = small(blocks=(2,))
    fast = pair(space)[0].train(train)
    dead = {"block": torch.zeros(space.groups["block"].shape, dtype=torch.float64)}
    x = torch.randn(3, 4, 8, 8).double()
    factors = fast._factors(dead)["block"]
    torch.testing.assert_close(fast.blocks[1](x, factors), x, rtol=0, atol=0)
    expected = fast.blocks[0].shortcut(x)
    torch.testing.assert_close(fast.blocks[0](x, factors), expected, rtol=0, atol=0)
    rebuilt = space.supernet(
        ImageInputs(IMAGES, 10), kept={"block": torch.zeros_like(dead["block"], dtype=torch.bool)}
    )
    assert [name for name, _ in rebuilt.blocks[1].named_parameters()] == []


# --- the space ---------------------------------------------------------------------------------------


def test_the_papers_networks_have_so_many_factors():
    def count(**options):
        space = DsoSpace("dso", **options)
        return sum(len(group.edges) for group in space.groups.values())

    imagenet = {"blocks_per_stage": (2, 2, 13, 6), "init_channels": 28, "stem": "imagenet"}
    assert count(share=False) == 2980
    assert count(share=False, **imagenet) == 2858
    assert count() == 124 + 4
    assert count(**imagenet) == 124 + 6


def test_groups_are_the_blocks_in_order_and_the_reductions_which_keep_a_branch():
    space = small(share=False, blocks=(2, 1))
    assert list(space.groups) == ["block_01", "block_02", "block_03", "reduce_1"]
    guards = {name: [(g.rows, g.least) for g in group.guards] for name, group in space.groups.items()}
    assert guards == {"block_01": [], "block_02": [], "block_03": [], "reduce_1": [((0, 1), 1)]}


def test_cells_may_be_counted_in_all():
    assert DsoSpace("dso", num_cells=7).blocks_per_stage == (3, 2, 2)
    assert DsoSpace("dso", num_cells=2).blocks_per_stage == (1, 1)  # the last stage is left out


def test_derivation_keeps_what_is_above_zero_and_on_a_path():
    space = small(blocks=(1, 1))
    layout = space.layout
    scores = {name: torch.full(group.shape, -1.0) for name, group in space.groups.items()}
    for edge in ((1, 4), (0, 4), (4, 7), (7, layout.output), (2, layout.output), (3, 5), (9, layout.output)):
        scores["block"][layout.row(*edge)] = 0.5
    scores["reduce_1"][1] = 0.1
    genotype = space.derive(scores)
    sep, pool = "sep_conv_3x3", "max_pool_3x3"
    assert genotype["block"].nodes == (
        (Edge(0, sep),), (Edge(0, pool),), (),
        (Edge(0, sep), Edge(1, sep)), (), (),
        (Edge(4, sep),), (), (),
    )  # fmt: skip
    assert genotype["block"].output == (2, 7)
    assert (genotype["reduce_1"].nodes, genotype["reduce_1"].output) == (((), (Edge(0, "conv_3x3"),)), (2,))


def test_of_nothing_above_zero_a_shortcut_and_the_stronger_branch_are_left():
    space = small()
    scores = {name: torch.zeros(group.shape) for name, group in space.groups.items()}
    scores["reduce_1"] = torch.tensor([[-2.0], [-1.0]])
    genotype = space.derive(scores)
    assert (genotype["block"].edges, genotype["block"].output) == ((), (0,))
    assert genotype["reduce_1"].output == (2,)


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ({"levels": 0}, r"space\.levels=0"),
        (
            {"operations": ["skip_connect"]},
            r"unknown operations \['skip_connect'\]; known are sep_conv_3x3, ",
        ),
        ({"operations": []}, "is not a list of names"),
        ({"operations": "sep_conv_3x3"}, "is not a list of names"),
        ({"blocks_per_stage": [8, 0]}, r"space\.blocks_per_stage=\[8, 0\]"),
        ({"blocks_per_stage": []}, r"space\.blocks_per_stage=\[\]"),
        ({"blocks_per_stage": 8}, r"space\.blocks_per_stage=8"),
        ({"init_channels": 0}, r"space\.init_channels=0"),
        ({"stem": "mnist"}, r"space\.stem=mnist"),
        ({"stem": "imagenet", "init_channels": 7}, r"space\.init_channels=7: .* even"),
        ({"share": "yes"}, r"space\.share=yes"),
        ({"num_cells": 0}, r"space\.num_cells=0: must be a whole number of at least 1"),
    ],
)
def test_a_space_that_cannot_be_is_refused(arguments, complaint):
    with pytest.raises(ConfigError, match=complaint):
        DsoSpace("dso", **arguments)


def test_partial_channels_and_a_reduction_without_branches_are_refused():
    space = small()
    with pytest.raises(ConfigError, match=r"space\.partial=2"):
        space.supernet(ImageInputs(IMAGES, 10), partial=2)
    with pytest.raises(ConfigError, match="reduce_1: both branches"):
        space.supernet(ImageInputs(IMAGES, 10), kept={"reduce_1": torch.zeros(2, 1, dtype=torch.bool)})
