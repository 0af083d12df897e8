"""The DARTS space: edges, derivation, evaluation networks, and what it refuses."""

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from nas import genotype as genotypes
from nas.analysis.cost.complexity import count_cost
from nas.errors import ConfigError
from nas.genotype import Edge
from nas.running.config import CONF
from nas.spaces.darts.space import DartsSpace
from nas.spaces.modules import convolved
from nas.spaces.operations import DARTS
from nas.spaces.space import ImageInputs
from tests.shared import shared_json

THREE = ["none", "skip_connect", "sep_conv_3x3"]


def space_file(name):
    base = OmegaConf.load(CONF / "space" / "darts.yaml")
    own = OmegaConf.load(CONF / "space" / f"{name}.yaml")
    inherits = own.pop("defaults", None)
    return instantiate(OmegaConf.merge(base, own) if inherits else own, _convert_="all")


def test_edges_run_node_by_node():
    group = DartsSpace("darts", THREE).groups["normal"]
    assert group.edges[:5] == ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert group.shape == (14, 3)


def strengths(space, rows):
    found = {name: torch.zeros(group.shape) for name, group in space.groups.items()}
    for (row, column), value in rows.items():
        for tensor in found.values():
            tensor[row, column] = value
    return found


def test_derivation_keeps_the_two_strongest_edges_by_their_best_operation():
    space = DartsSpace("darts", THREE)
    cell = space.derive(strengths(space, {(2, 1): 0.5, (3, 2): 0.2, (4, 2): 0.9}))["normal"]
    assert cell.nodes[1] == (Edge(0, "skip_connect"), Edge(2, "sep_conv_3x3"))


def test_derivation_never_takes_none_however_strong():
    space = DartsSpace("darts", THREE)
    cell = space.derive(strengths(space, {(row, 0): 5.0 for row in range(14)}))["reduce"]
    assert "none" not in cell.operations


def test_ties_go_to_the_lower_index():
    space = DartsSpace("darts", THREE)
    cell = space.derive(strengths(space, {}))["normal"]
    assert [edge.source for edge in cell.nodes[3]] == [0, 1]
    assert cell.operations == {"skip_connect"}


def test_derivation_matches_the_reference_numbers():
    import numpy as np

    from tests.parity import GROUPS, OPERATIONS
    from tests.shared import shared

    data = np.load(shared("goldens/darts_cnn_tiny.npz"))
    expected = shared_json("goldens/darts_cnn_tiny.json")["genotypes"]
    space = DartsSpace("darts", OPERATIONS)
    for run in ("traj1", "traj2"):
        alphas = {group: torch.from_numpy(data[f"{run}.{key}"]) for group, key in GROUPS.items()}
        found = space.derive({group: alpha.softmax(-1) for group, alpha in alphas.items()})
        for group in GROUPS:
            pairs = expected[run][group]
            nodes = [sorted((source, name) for name, source in pairs[i : i + 2]) for i in range(0, 8, 2)]
            assert [[(e.source, e.operation) for e in node] for node in found[group].nodes] == nodes


@pytest.mark.parametrize("network", ["cifar", "imagenet"])
@pytest.mark.parametrize("name", ["DARTS_V1", "DARTS_V2", "DrNAS_cifar10"])
def test_evaluation_networks_cost_what_the_references_cost(name, network):
    expected = shared_json("goldens/counts.json")["evaluation"][f"{name}/{network}"]
    sizes = {"cifar": ((3, 32, 32), 10, 20, 36), "imagenet": ((3, 224, 224), 1000, 14, 48)}
    shape, classes, cells, channels = sizes[network]
    space = DartsSpace("darts", THREE)
    cost = count_cost(
        lambda: space.network(
            genotypes.load(name), ImageInputs(shape, classes), cells, channels, network, auxiliary=True
        ),
        shape,
    )
    assert cost.params == expected["params_without_aux"]
    assert cost.params_auxiliary == expected["aux_params"]
    assert cost.macs == expected["macs"]
    assert sum(macs for _, _, macs in cost.parts) == cost.macs
    assert sum(params for _, params, _ in cost.parts) == cost.params + cost.params_auxiliary


def test_the_supernet_has_the_references_parameters():
    expected = shared_json("goldens/counts.json")["supernet_darts_C16_8cells"]["params_without_aux"]
    supernet = space_file("darts").supernet(ImageInputs((3, 32, 32), 10))
    assert sum(p.numel() for p in supernet.parameters()) == expected


@pytest.mark.parametrize("name", sorted(genotypes.published()))
def test_every_published_cell_builds_and_runs(name):
    entries = genotypes.published()[name]
    if "darts" not in entries:
        pytest.skip("a recurrent cell")
    network = DartsSpace("darts", THREE).network(
        entries["darts"], ImageInputs((3, 32, 32), 10), 3, 4, auxiliary=True
    )
    network.set_drop_path(0.5)
    logits, auxiliary = network.train()(torch.randn(2, 3, 32, 32))
    assert logits.shape == auxiliary.shape == (2, 10)
    assert network.eval()(torch.randn(2, 3, 32, 32))[1] is None


@pytest.mark.parametrize("name", sorted(DARTS.published))
@pytest.mark.parametrize("stride", [1, 2])
def test_operations_keep_channels_and_divide_the_size(name, stride):
    x = torch.randn(2, 4, 8, 8)
    assert DARTS.build(name, 4, stride)(x).shape == (2, 4, 8 // stride, 8 // stride)


def test_drop_path_spares_identities_and_evaluation():
    cell = genotypes.load("DARTS_V2")
    network = DartsSpace("darts", THREE).network(cell, ImageInputs((3, 16, 16), 10), 3, 4)
    x = torch.randn(2, 3, 16, 16)
    network.eval()
    before = network(x)[0]
    network.set_drop_path(0.9)
    assert torch.equal(network(x)[0], before)
    normal = network.cells[0]
    kinds = [edge.operation for _, edge in normal.cell.edges]
    for kind, drop in zip(kinds, normal.drop_paths, strict=True):
        assert isinstance(drop, torch.nn.Identity) == (kind == "skip_connect")


@pytest.mark.parametrize(
    ("name", "normal", "reduce"),
    [
        ("s1", ("skip_connect", "dil_conv_3x3"), ("max_pool_3x3", "avg_pool_3x3")),
        ("s2", ("skip_connect", "sep_conv_3x3"), ("skip_connect", "sep_conv_3x3")),
        ("s3", ("none", "skip_connect", "sep_conv_3x3"), ("none", "skip_connect", "sep_conv_3x3")),
        ("s4", ("noise", "sep_conv_3x3"), ("noise", "sep_conv_3x3")),
    ],
)
def test_sub_spaces_are_data(name, normal, reduce):
    space = space_file(name)
    assert space.groups["normal"].operations[0] == normal
    assert space.groups["reduce"].operations[0] == reduce
    small = DartsSpace(
        name, {g: space.groups[g].operations for g in space.groups}, num_cells=3, init_channels=4
    )
    supernet = small.supernet(ImageInputs((1, 8, 8), 10))
    weights = {g: torch.full(group.shape, 0.5) for g, group in small.groups.items()}
    assert supernet(torch.randn(2, 1, 8, 8), weights).shape == (2, 10)
    assert small.derive(weights).space == "darts"


def test_s1_lists_differ_edge_by_edge():
    operations = space_file("s1").groups["reduce"].operations
    assert operations[6] == ("max_pool_3x3", "sep_conv_3x3")
    assert len(set(operations)) > 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_cells": 0}, "space.num_cells=0"),
        ({"init_channels": -4}, "space.init_channels=-4"),
        ({"init_channels": 5}, "must be even"),
        ({"num_nodes": 0}, "space.num_nodes=0"),
        ({"edges_per_node": 3}, "space.edges_per_node=3"),
        ({"operations": ["skip_connect", "fft"]}, r"unknown operations \['fft'\]"),
        ({"operations": ["none"]}, "only 'none'"),
        ({"operations": []}, "space.operations"),
        ({"operations": ["skip_connect", "skip_connect"]}, "twice"),
        ({"operations": {"normal": THREE}}, "no list for group 'reduce'"),
        ({"operations": [["skip_connect"]] * 3}, "3 lists for 14 edges"),
    ],
)
def test_bad_settings_say_what_is_wrong(settings, message):
    with pytest.raises(ConfigError, match=message):
        DartsSpace("darts", **({"operations": THREE} | settings))


@pytest.mark.parametrize("num_cells", [1, 2])
def test_an_evaluation_network_may_be_one_or_two_reductions(num_cells):
    space, inputs = DartsSpace("darts", THREE), ImageInputs((3, 8, 8), 10)
    sizes = {"num_cells": num_cells, "init_channels": 4, "stem": "cifar"}
    network = space.network(genotypes.load("DARTS_V2"), inputs, **sizes)
    logits, _ = network(torch.randn(2, 3, 8, 8))
    assert logits.shape == (2, 10) and network.classifier.in_features == 4 * 4 * 2**num_cells
    assert sum(space.pieces(inputs, **sizes).of(genotypes.load("DARTS_V2")).values()) > num_cells * 8
    costs = DartsSpace("darts", THREE, num_cells=num_cells).costs(inputs)
    assert not costs["normal"].macs_EO.any() and costs["reduce"].macs_EO.any()
    with pytest.raises(ConfigError, match=rf"method\.stages: cells={num_cells}: .*; 3 cells hold one"):
        DartsSpace("darts", THREE, num_cells=5).deepened(num_cells)
    with pytest.raises(ConfigError, match=r"space\.num_cells=3 at least"):
        costs["normal"].piece(0, "skip_connect")


@pytest.mark.parametrize("size", [(3, 6, 6), (3, 7, 8), (3, 2, 2)])
def test_images_that_do_not_halve_twice_are_refused(size):
    with pytest.raises(ConfigError, match="multiples of 4"):
        DartsSpace("darts", THREE).supernet(ImageInputs(size, 10))


def test_networks_refuse_other_spaces_and_small_auxiliary_maps():
    space = DartsSpace("darts", THREE)
    with pytest.raises(ConfigError, match="'darts_rnn', not 'darts'"):
        space.network(genotypes.load("ENAS"), ImageInputs((3, 32, 32), 10))
    with pytest.raises(ConfigError, match="auxiliary_weight=0"):
        space.network(genotypes.load("DARTS_V2"), ImageInputs((3, 16, 16), 10), 3, 4, auxiliary=True)


def test_op_weights_of_the_wrong_shape_are_refused():
    space = DartsSpace("darts", THREE, num_cells=3, init_channels=4)
    supernet = space.supernet(ImageInputs((1, 8, 8), 10))
    with pytest.raises(ConfigError, match="shape"):
        supernet(torch.randn(2, 1, 8, 8), {"normal": torch.ones(14, 2), "reduce": torch.ones(14, 3)})
    with pytest.raises(ConfigError, match="groups"):
        supernet(torch.randn(2, 1, 8, 8), {"normal": torch.ones(14, 3)})


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_strided_1x1_convolutions_have_the_gradients_of_doubles(layout):
    # With oneDNN's own gradient of these weights the heap breaks, with 8 channels on an AVX-512 processor.
    for c_in, size, stride in [
        (2, (8, 8), (2, 2)),
        (4, (7, 9), (2, 2)),
        (7, (1, 12), (1, 2)),
        (8, (8, 8), (2, 2)),
        (8, (64, 64), (2, 2)),
        (16, (9, 64), (2, 2)),
    ]:
        conv = torch.nn.Conv2d(c_in, 3, 1, stride, bias=False)
        x_BCHW = torch.randn(4, c_in, *size).contiguous(memory_format=layout)
        gradients = []
        for dtype in (torch.float32, torch.float64):
            conv.to(dtype).zero_grad()
            inputs_BCHW = x_BCHW.to(dtype, copy=True).requires_grad_()
            outputs_BCHW = convolved(conv, inputs_BCHW) if dtype == torch.float32 else conv(inputs_BCHW)
            outputs_BCHW.square().sum().backward()
            gradients.append((outputs_BCHW, inputs_BCHW.grad, conv.weight.grad))
        for found, wanted in zip(*gradients, strict=True):
            torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)
