"""What DSO-NAS's connections cost, against real networks and operations counted operator by operator."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.analysis.cost.complexity import count_cost
from nas.spaces.dso.space import DsoSpace
from nas.spaces.space import ImageInputs

IMAGES = (3, 8, 8)


def small(share, **options):
    sizes = {"levels": 2, "blocks_per_stage": (2, 1), "init_channels": 4} | options
    return DsoSpace("dso", share=share, **sizes)


def draw_alive(space, seed, density):
    generator = torch.Generator().manual_seed(seed)
    alive = {name: torch.rand(g.shape, generator=generator) < density for name, g in space.groups.items()}
    for name in alive:
        if name.startswith("reduce") and not alive[name].any():
            alive[name][0] = True
    return alive


def macs_of(space, alive, image_shape=IMAGES):
    """Multiply-adds of the blocks of the evaluation network, by counting operators."""
    genotype = space.derive({name: values.float() for name, values in alive.items()})
    found = count_cost(lambda: space.network(genotype, ImageInputs(image_shape, 10)), image_shape)
    return sum(macs for name, _, macs in found.parts if name.startswith("blocks"))


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    density=st.sampled_from([0.1, 0.5, 1.0]),
    share=st.booleans(),
    stem=st.sampled_from(["cifar", "imagenet"]),
    size=st.sampled_from([8, 13]),
)
def test_multiply_adds_are_those_of_the_network_that_is_derived(seed, density, share, stem, size):
    space = small(share, stem=stem)
    alive = draw_alive(space, seed, density)
    costs = space.costs(ImageInputs((3, size, size), 10))
    total = sum(costs[name].macs(alive[name]) for name in space.groups)
    assert total == macs_of(space, alive, (3, size, size))


@pytest.mark.parametrize("share", [True, False])
def test_the_share_is_that_of_the_multiply_adds_which_can_be_pruned(share):
    space = small(share)
    costs = space.costs(ImageInputs(IMAGES, 10))
    whole, nothing = (draw_alive(space, 0, density) for density in (1.1, 0.0))
    alive = draw_alive(space, 1, 0.4)
    for name, cost in costs.items():
        base = 0 if name.startswith("reduce") else cost.macs(nothing[name])
        searched = cost.macs(whole[name]) - base
        expected = (cost.macs(alive[name]) - base) / searched
        assert 0 < expected < 1 or name.startswith("reduce")
        torch.testing.assert_close(cost.share(alive[name]), torch.tensor(expected, dtype=torch.float64))
        assert cost.share(whole[name]) == 1
    assert costs[next(iter(costs))].share(nothing[next(iter(costs))]) == 0


def test_what_has_no_way_out_costs_nothing():
    space = small(True, blocks_per_stage=(1,))
    layout = space.layout
    alive = torch.ones(len(layout.edges), 1, dtype=torch.bool)
    alive[-layout.num_operations :] = False
    costs = space.costs(ImageInputs(IMAGES, 10))["block"]
    assert costs.share(alive) == 0
    assert costs.macs(alive) == 8 * 8 * 4 * 4  # the first block's shortcut
    alive[layout.row(3, layout.output)] = True  # a pooling of level 1: its 1x1 convolution alone
    assert costs.macs(alive) == 2 * 8 * 8 * 4 * 4


def test_the_authors_count_is_one_a_convolution():
    """(separable convolutions fed + connections out + 1) / (1.5*M*N + 1); those of level 1 are always fed."""
    space = DsoSpace("dso", init_channels=4)
    layout, cost = space.layout, space.costs(ImageInputs(IMAGES, 10))["block"]
    alive = torch.zeros(124, 1, dtype=torch.bool)
    assert cost.count(alive).item() == pytest.approx((2 + 1) / 25)
    for edge in ((1, 5), (2, 5), (0, 6), (3, 7), (5, 17), (8, 17), (9, 17)):  # 5, 6 convolve, 7 pools
        alive[layout.row(*edge)] = True
    assert cost.count(alive).item() == pytest.approx((2 + 2 + 3 + 1) / 25)
    assert cost.count(torch.ones(124, 1, dtype=torch.bool)) == 1
    assert space.costs(ImageInputs(IMAGES, 10))["reduce_1"].count(torch.zeros(2, 1, dtype=torch.bool)) == 1


def test_memory_access_is_what_an_operation_moves_relative_to_the_largest():
    space = DsoSpace("dso", blocks_per_stage=(1, 1), init_channels=4, share=False)
    costs = space.costs(ImageInputs(IMAGES, 10))
    moved = 2 * 8 * 8 * 4
    literal = {
        "sep_conv_3x3": 2 * moved + 4 * 9 + 4 * 4,
        "sep_conv_5x5": 2 * moved + 4 * 25 + 4 * 4,
        "max_pool_3x3": moved,
        "avg_pool_3x3": moved,
        "conv_1x1": moved + 4 * 4,
    }
    memory = costs["block_01"].memory_EO
    assert memory.shape == (124, 1)
    for (name,), (value,) in zip(costs["block_01"].names_EO, memory.tolist(), strict=True):
        assert value == pytest.approx(literal[name] / literal["sep_conv_5x5"])
    read, written = 4 * 8 * 8, 8 * 4 * 4
    branches = [read + written + 4 * 8 * kernel for kernel in (1, 9)]
    assert costs["reduce_1"].memory_EO.flatten().tolist() == pytest.approx([branches[0] / branches[1], 1])


def test_a_shared_group_adds_up_the_memory_access_of_its_blocks():
    space = DsoSpace("dso", blocks_per_stage=(1, 1), init_channels=4)
    three, five = (2 * 2 * 8 * 8 * 4 + 2 * 2 * 4 * 4 * 8 + 12 * k + 4 * 4 + 8 * 8 for k in (9, 25))
    memory = dict(
        zip(
            space.layout.edges,
            space.costs(ImageInputs(IMAGES, 10))["block"].memory_EO.flatten().tolist(),
            strict=True,
        )
    )
    assert (memory[0, 5], memory[0, 6]) == pytest.approx((three / five, 1))


def test_every_name_can_be_built_and_takes_the_shape_that_it_is_measured_on():
    costs = small(False).costs(ImageInputs(IMAGES, 10))
    assert costs["block_03"].piece(0, "sep_conv_3x3").key == "sep_conv_3x3@8x4x4"
    assert costs["reduce_1"].piece(0, "conv_3x3").key == "conv_3x3@4x8x8>8/2"
    for cost in costs.values():
        for row, (name,) in enumerate(cost.names_EO):
            piece = cost.piece(row, name)
            h = cost.build(piece)(torch.randn(2, piece.channels, piece.height, piece.width))
            assert h.shape[1:] == (piece.outputs, piece.height // piece.stride, piece.width // piece.stride)
