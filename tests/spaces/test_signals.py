"""Networks of signals reach along time alone, and none of their weights is idle."""

import itertools

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas.errors import ConfigError
from nas.formats.description import Description, Preprocessing
from nas.formats.families import build
from nas.spaces.darts.space import DartsSpace
from nas.spaces.dso.space import DsoSpace
from nas.spaces.nasbench201.space import NasBench201Space
from nas.spaces.operations import DARTS
from nas.spaces.signals import along_time
from nas.spaces.space import ImageInputs

INPUTS = ImageInputs((2, 1, 32), 3)
CANDIDATES = ["none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_5x5"]
SPACES = {
    "darts": lambda: DartsSpace("darts", CANDIDATES, 2, 3, 4),
    "nasbench201": lambda: NasBench201Space(
        "nasbench201", ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"], 1, 4
    ),
    "dso": lambda: DsoSpace("dso", 2, blocks_per_stage=(1, 1), init_channels=4),
}  # fmt: skip


def supernet(space, **options):
    torch.manual_seed(0)
    network = space.supernet(INPUTS, **options)
    weights = {name: torch.rand(group.shape) + 0.1 for name, group in space.groups.items()}
    return network, weights


def rows(network):
    """Heights of all kernels."""
    return {one.shape[-2] for one in network.parameters() if one.ndim >= 4}


@pytest.mark.parametrize(
    ("name", "stride"), list(itertools.product(sorted(set(DARTS.published) - {"noise"}), (1, 2)))
)
def test_an_operation_is_the_middle_row_of_its_square_form(name, stride):
    torch.manual_seed(0)
    flat = along_time(DARTS.build(name, 4, stride)).double()
    square = DARTS.build(name, 4, stride).double()
    for ours, theirs in zip(flat.parameters(), square.parameters(), strict=True):
        assert ours.ndim < 4 or ours.shape[-2] == 1
        with torch.no_grad():
            if theirs.ndim < 4:
                theirs.copy_(ours)
            else:
                theirs[..., theirs.shape[-2] // 2, :] = ours[..., 0, :]
    x = torch.randn(2, 4, 1, 16).double()
    torch.testing.assert_close(flat(x), square(x))
    assert flat(x).shape == (2, 4, 1, 16 // stride)


def test_kernels_are_drawn_as_torch_draws_those_of_one_row():
    torch.manual_seed(0)
    flat = along_time(nn.Conv2d(64, 64, 3, bias=False)).weight.detach()
    drawn = nn.Conv2d(64, 64, (1, 3), bias=False).weight.detach()
    assert flat.shape == drawn.shape
    assert float(flat.abs().max()) == pytest.approx(float(drawn.abs().max()), rel=1e-3)
    assert float(flat.std()) == pytest.approx(float(drawn.std()), rel=0.05)


@pytest.mark.parametrize("name", SPACES)
def test_every_weight_of_a_supernet_learns(name):
    network, weights = supernet(SPACES[name]())
    assert rows(network) == {1}
    weights = {key: one.requires_grad_() for key, one in weights.items()}
    network(torch.randn(4, *INPUTS.image_shape), weights).square().sum().backward()
    for key, one in network.named_parameters():
        assert one.grad is not None and bool(one.grad.abs().sum() > 0), key
        if one.ndim >= 4:  # no place of a kernel is met by padding alone
            assert bool((one.grad.abs().sum(tuple(range(one.ndim - 1))) > 0).all()), key
    assert all(bool(one.grad.isfinite().all()) for one in weights.values())


@pytest.mark.parametrize("partial", [1, 2])
def test_all_ways_to_compute_a_supernet_are_one(partial):
    network, weights = supernet(SPACES["darts"](), partial=partial)
    network.double()
    x, weights = torch.randn(4, *INPUTS.image_shape).double(), {k: v.double() for k, v in weights.items()}
    found = []
    for wide, recompute in ((False, False), (True, False), (True, True)):
        network.execution.wide, network.execution.recompute = wide, recompute
        network.zero_grad()
        logits = network(x, weights)
        logits.square().sum().backward()
        found.append((logits.detach(), [one.grad.clone() for one in network.parameters()]))
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])


def random_genotype(space):
    torch.manual_seed(3)
    return space.derive({name: torch.rand(group.shape) for name, group in space.groups.items()})


@pytest.mark.parametrize("name", SPACES)
def test_costs_are_those_of_the_modules(name):
    space = SPACES[name]()
    genotype = random_genotype(space)
    sizes = {"darts": {"num_cells": 3, "init_channels": 4}}.get(name, {})
    network = space.network(genotype, INPUTS, **sizes)
    assert rows(network) == {1}
    pieces = space.pieces(INPUTS, **sizes)
    built = {piece: pieces.build(piece) for piece in pieces.of(genotype)}
    counted = sum(
        count * sum(one.numel() for one in built[piece].parameters())
        for piece, count in pieces.of(genotype).items()
    )
    assert counted == sum(one.numel() for one in network.parameters())
    for piece, module in built.items():
        maps = [torch.randn(2, piece.channels, piece.height, piece.width) for _ in range(piece.inputs)]
        out = module.eval()(*maps)
        out = out[0] if isinstance(out, tuple) else out
        assert out.ndim == 2 or out.shape[2:] == (1, piece.width // piece.stride), piece


def test_the_search_counts_what_a_network_computes():
    """Of DSO-NAS in closed form, of cells on their modules."""
    space = SPACES["dso"]()
    costs = space.costs(INPUTS)
    alive = {name: torch.ones(group.shape, dtype=torch.bool) for name, group in space.groups.items()}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        space.network(space.derive({name: one.float() for name, one in alive.items()}), INPUTS).eval()(
            torch.randn(1, *INPUTS.image_shape)
        )
    stem, head = 2 * 3 * 4 * 32, 8 * 3
    counted = sum(one.macs(alive[name]) for name, one in costs.items())
    assert counter.get_total_flops() // 2 == counted + stem + head
    dense = SPACES["nasbench201"]().costs(INPUTS)["cell"]
    assert dense.params_EO[0].tolist() == [0, 0, *(k * (4**2 + 8**2 + 16**2) for k in (1, 3)), 0]
    assert dense.macs_EO[0].tolist() == [0, 0, *(k * 32 * (4**2 + 8**2 / 2 + 16**2 / 4) for k in (1, 3)), 0]


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_an_auxiliary_head_reaches_along_time_alone(stem):
    space = SPACES["darts"]()
    sizes = {"num_cells": 3, "init_channels": 4, "stem": stem, "auxiliary": True}
    long = ImageInputs((2, 1, 256), 3)
    network = space.network(random_genotype(space), long, **sizes)
    logits, auxiliary = network.train()(torch.randn(2, 2, 1, 256))
    assert auxiliary.shape == logits.shape == (2, 3) and rows(network) == {1}
    with pytest.raises(ConfigError, match="feature maps of at least"):
        space.network(random_genotype(space), ImageInputs((2, 1, 32), 3), **sizes | {"stem": "imagenet"})


@pytest.mark.parametrize(("length", "stem"), [(2, "cifar"), (30, "cifar"), (48, "imagenet")])
def test_signals_that_do_not_survive_the_reductions_are_refused(length, stem):
    space = SPACES["darts"]()
    with pytest.raises(ConfigError, match=f"signals of {length} time steps are too short or uneven"):
        space.network(random_genotype(space), ImageInputs((2, 1, length), 3), 3, 4, stem)
    if stem == "cifar":
        with pytest.raises(ConfigError, match="multiple of 4 long"):
            space.supernet(ImageInputs((2, 1, length), 3))


@pytest.mark.parametrize("name", SPACES)
def test_a_network_that_leaves_the_project_is_the_same(name):
    space = SPACES[name]()
    genotype = random_genotype(space)
    sizes = {
        "darts": {"num_cells": 3, "init_channels": 4, "stem": "cifar"},
        "nasbench201": {"cells_per_stage": 1, "init_channels": 4},
        "dso": {"blocks_per_stage": [1, 1], "init_channels": 4, "stem": "cifar"},
    }[name]
    network = space.network(genotype, INPUTS, **sizes).eval()
    steps = Preprocessing((1, 32), (1, 32), (0.5, 2.0), (1.0, 3.0))
    classifier = build(Description(genotype, sizes, INPUTS.image_shape, 3, "mine", steps))
    classifier.load_state_dict(network.state_dict())
    x = torch.randn(2, *INPUTS.image_shape)
    torch.testing.assert_close(classifier(x), network(x)[0])
