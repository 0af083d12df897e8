"""Pieces of networks: they are all that a network computes, and a space lists all that there can be."""

from collections import Counter

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.analysis.cost.complexity import count_cost
from nas.genotype import load
from nas.measure.latencies import random_architectures
from nas.spaces.darts.space import DartsSpace
from nas.spaces.dso.space import DsoSpace
from nas.spaces.nasbench201.space import NasBench201Space
from nas.spaces.pieces import ADD, Piece
from nas.spaces.space import ImageInputs

OPERATIONS = ["none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_5x5", "noise"]
SPACES = {
    "darts": (
        DartsSpace("darts", OPERATIONS, num_nodes=3),
        (3, 16, 16),
        {"num_cells": 5, "init_channels": 4},
    ),
    "darts on imagenet": (
        DartsSpace("darts", OPERATIONS),
        (3, 64, 64),
        {"num_cells": 4, "init_channels": 4, "stem": "imagenet"},
    ),
    "nasbench201": (NasBench201Space("nb"), (3, 8, 8), {"cells_per_stage": 2, "init_channels": 4}),
    "dso": (DsoSpace("dso", levels=2), (3, 9, 9), {"blocks_per_stage": (2, 1, 2), "init_channels": 4}),
    "dso on imagenet": (
        DsoSpace("dso", levels=2, share=False, blocks_per_stage=(1, 2)),
        (3, 37, 33),
        {"blocks_per_stage": (1, 2), "init_channels": 4, "stem": "imagenet"},
    ),
}
each = pytest.mark.parametrize("space, shape, sizes", SPACES.values(), ids=SPACES)


def cost_of(piece, module):
    """Parameters and multiply-adds of a piece, counted on the piece alone."""
    x = [torch.zeros(1, piece.channels, piece.height, piece.width) for _ in range(piece.inputs)]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(*x)
    return sum(p.numel() for p in module.parameters()), counter.get_total_flops() // 2


@each
def test_the_pieces_of_a_network_cost_what_it_costs(space, shape, sizes):
    pieces = space.pieces(ImageInputs(shape, 7), **sizes)
    known = {piece: cost_of(piece, pieces.build(piece)) for piece in pieces.all()}
    for genotype in random_architectures(space, 6, seed=3):
        whole = count_cost(lambda one=genotype: space.network(one, ImageInputs(shape, 7), **sizes), shape)
        found = pieces.of(genotype)
        sums = tuple(sum(count * known[piece][i] for piece, count in found.items()) for i in (0, 1))
        assert sums == (whole.params, whole.macs)


@each
def test_every_piece_shrinks_and_widens_as_it_says(space, shape, sizes):
    pieces = space.pieces(ImageInputs(shape, 7), **sizes)
    listed = pieces.all()
    assert len({piece.key for piece in listed}) == len(set(listed)) == len(listed)
    for piece in listed:
        x = [torch.randn(2, piece.channels, piece.height, piece.width) for _ in range(piece.inputs)]
        found = pieces.build(piece).eval()(*x)
        found = found[-1] if isinstance(found, tuple) else found
        if piece.name in ("classifier", "head"):
            assert found.shape == (2, piece.outputs)
            continue
        sides = [-(-side // piece.stride) for side in (piece.height, piece.width)]
        assert found.shape == (2, piece.outputs, *sides), piece


def sums_in(network, images):
    """(shape, how often) of the additions that a forward pass computes, by watching torch."""
    from torch.utils._python_dispatch import TorchDispatchMode

    found = Counter()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function.overloadpacket in (torch.ops.aten.add, torch.ops.aten.add_):
                found[tuple(args[0].shape[1:])] += 1
            return function(*args, **(kwargs or {}))

    with Watch(), torch.no_grad():
        network.eval()(images)
    return found


@each
def test_sums_are_counted_where_they_are(space, shape, sizes):
    pieces = space.pieces(ImageInputs(shape, 7), **sizes)
    for genotype in random_architectures(space, 4, seed=5):
        network = space.network(genotype, ImageInputs(shape, 7), **sizes)
        found = sums_in(network, torch.zeros(1, *shape))
        # The one within a residual block belongs to that piece.
        for piece, count in pieces.of(genotype).items():
            if piece.name == "residual":
                found[piece.outputs, piece.height // 2, piece.width // 2] -= count
        ours = Counter()
        for piece, count in pieces.of(genotype).items():
            if piece.name == ADD:
                ours[piece.channels, piece.height, piece.width] += count
        assert +found == ours


def test_a_published_cell_with_other_output_nodes_has_its_own_pieces():
    space = DartsSpace("darts", OPERATIONS)
    pieces = space.pieces(ImageInputs((3, 32, 32), 10), num_cells=3, init_channels=4)
    found = pieces.of(load("AmoebaNet"))
    assert any(piece.name == "preprocess" for piece in set(found) - set(pieces.all()))
    whole = count_cost(
        lambda: space.network(load("AmoebaNet"), ImageInputs((3, 32, 32), 10), num_cells=3, init_channels=4),
        (3, 32, 32),
    )
    sums = [cost_of(piece, pieces.build(piece)) for piece in found.elements()]
    assert tuple(map(sum, zip(*sums, strict=True))) == (whole.params, whole.macs)


def test_keys_tell_shapes():
    assert Piece("sep_conv_3x3", 36, 32, 32).key == "sep_conv_3x3@36x32x32"
    assert Piece("concat", 4, 8, 8, outputs=16, inputs=4).key == "concat@4*4x8x8>16"
    assert Piece("preprocess", 8, 16, 16, 2, 4) == Piece("preprocess", 8, 16, 16, stride=2, outputs=4)
