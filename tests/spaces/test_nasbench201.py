"""NAS-Bench-201: its architectures, its supernet against the literal one, its networks' exact costs."""

import csv
import gzip
import itertools

import pytest
import torch
from torch.nn import functional as F

from nas.analysis.cost.complexity import count_cost
from nas.errors import ConfigError
from nas.genotype import Genotype, parse
from nas.op_weights import OpWeights
from nas.spaces.nasbench201.network import EvaluationCell
from nas.spaces.nasbench201.space import EDGES, OPERATIONS, NasBench201Space
from nas.spaces.native.library import load_library
from nas.spaces.space import ImageInputs
from nas.spaces.supernet.growth import growth_maps, inherit
from tests.reference.literal_nasbench201 import LiteralNasBench201, literal_view, load_literal
from tests.shared import shared, shared_json

IMAGES = (3, 8, 8)
WAYS = ("torch", "wide", "native")
FORMATS = (torch.contiguous_format, torch.channels_last)
REVERSED = tuple(reversed(OPERATIONS))  # a convolution starts the sums, and not the identity
DISCONNECTED = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


def text(names):
    a, b, c, d, e, f = names
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


def one_hot(names):
    weights = torch.zeros(len(EDGES), len(OPERATIONS))
    for row, name in enumerate(names):
        weights[row, OPERATIONS.index(name)] = 1.0
    return {"cell": weights}


# --- architectures -----------------------------------------------------------------------------------


def test_rows_of_alpha_are_the_edges_of_the_architecture_string_in_order():
    assert EDGES == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert NasBench201Space("nasbench201").groups["cell"].shape == (6, 5)


def test_all_15625_architectures_are_distinct_and_written_as_they_are_read():
    found = set()
    for names in itertools.product(OPERATIONS, repeat=6):
        genotype = parse(text(names))
        assert genotype.to_text() == text(names)
        found.add(genotype)
    assert len(found) == 15_625


def test_derivation_takes_the_strongest_operation_of_every_edge_none_included():
    space = NasBench201Space("nasbench201")
    for names in itertools.islice(itertools.product(OPERATIONS, repeat=6), 0, None, 97):
        derived = space.derive(one_hot(names))
        assert derived == parse(text(names))
        assert Genotype.to_json(derived) == parse(derived.to_json()).to_json()


def test_ties_go_to_the_lower_column():
    assert str(NasBench201Space("nasbench201").derive({"cell": torch.ones(6, 5)})) == DISCONNECTED


# --- supernet ----------------------------------------------------------------------------------------


def pair(operations=OPERATIONS, channels=4, cells=1, image_shape=IMAGES, partial=1):
    """The fast and the literal supernet with equal parameters, and random op weights."""
    torch.manual_seed(0)
    space = NasBench201Space("nasbench201", operations, cells, channels, partial)
    fast = space.supernet(ImageInputs(image_shape, 10)).double()
    literal = LiteralNasBench201(space.groups, image_shape, 10, cells, channels, partial).double()
    load_literal(fast, literal)
    return fast, literal, {"cell": torch.rand(space.groups["cell"].shape).double()}


def compute(network, way):
    """Chooses torch's operators edge by edge, wide ones, or the compiled kernel."""
    network.execution.wide = way == "wide"
    if way == "native":
        network.execution.native = load_library()
        if network.execution.native is None:
            pytest.skip("the compiled kernel cannot be built here")


def run(network, weights, x, y):
    weights_EO = weights["cell"].clone().requires_grad_()
    x = x.clone().requires_grad_()
    logits = network(x, {"cell": weights_EO})
    F.cross_entropy(logits, y).backward()
    return logits, x.grad, weights_EO.grad


def assert_same(fast, literal, weights, batch=4, memory_format=torch.contiguous_format):
    fast.zero_grad(), literal.zero_grad()
    channels, size = fast.stem[0].in_channels, 8
    x = torch.randn(batch, channels, size, size).double().contiguous(memory_format=memory_format)
    y = torch.randint(0, 10, (batch,))
    torch.testing.assert_close(run(fast, weights, x, y), run(literal, weights, x, y), rtol=1e-10, atol=1e-12)
    parameters = dict(literal.named_parameters())
    gradients = literal_view(fast, {name: p.grad for name, p in fast.named_parameters()})
    assert set(gradients) == set(parameters)
    for name, parameter in parameters.items():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-10, atol=1e-12, msg=name)
    buffers = dict(literal.named_buffers())
    for name, value in literal_view(fast, dict(fast.named_buffers())).items():
        if "places" not in name:
            torch.testing.assert_close(value, buffers[name], rtol=1e-10, atol=1e-12, msg=name)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("operations", [OPERATIONS, REVERSED])
@pytest.mark.parametrize("way", WAYS)
def test_outputs_gradients_and_statistics_agree_with_the_literal_supernet(
    way, operations, train, memory_format
):
    fast, literal, weights = pair(operations)
    compute(fast, way)
    for network in (fast, literal):  # move the running statistics away from their start, in both
        torch.manual_seed(1)
        network(torch.randn(5, *IMAGES).double(), weights)
        network.train(train)
    assert_same(fast, literal, weights, 4, memory_format)
    assert_same(fast, literal, weights, 3, memory_format)  # a partial last batch


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("operations", [["nor_conv_3x3"], ["none", "nor_conv_1x1"], ["skip_connect"]])
def test_shorter_lists_of_operations_agree(operations, way):
    fast, literal, weights = pair(operations, cells=2)
    compute(fast, way)
    assert_same(fast, literal, weights)


def test_one_channel_and_three_cells_a_stage_agree():
    fast, literal, weights = pair(channels=1, cells=3, image_shape=(1, 8, 8))
    assert_same(fast, literal, weights)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("channels, partial", [(4, 2), (8, 4), (3, 3)])
@pytest.mark.parametrize("way", ["torch", "native"])
def test_partial_channels_agree(way, channels, partial, memory_format):
    fast, literal, weights = pair(channels=channels, partial=partial)
    compute(fast, way)
    assert_same(fast, literal, weights, memory_format=memory_format)


@pytest.mark.parametrize("way", ["torch", "native"])
@pytest.mark.parametrize("partial", [1, 2])
def test_dropped_candidates_are_not_built_and_count_nothing(partial, way):
    """As the literal supernet with their op weights at zero; edge 0 -> 1 keeps nothing that computes."""
    space = NasBench201Space("nasbench201", cells_per_stage=1, init_channels=4, partial=partial)
    kept = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    kept[0] = torch.tensor([True, False, False, False, False])
    fast = space.supernet(ImageInputs(IMAGES, 10), kept={"cell": kept}).double()
    compute(fast, way)
    literal = LiteralNasBench201(space.groups, IMAGES, 10, 1, 4, partial).double()
    load_literal(fast, literal)
    weights = {"cell": torch.rand(6, 5).double() * kept}
    x, y = torch.randn(4, *IMAGES).double(), torch.randint(0, 10, (4,))
    ours, theirs = run(fast, weights, x, y), run(literal, weights, x, y)
    torch.testing.assert_close(ours[:2], theirs[:2], rtol=1e-10, atol=1e-12)
    computed = kept & torch.tensor([name != "none" for name in OPERATIONS])
    torch.testing.assert_close(ours[2][computed], theirs[2][computed], rtol=1e-10, atol=1e-12)
    assert sum("candidates" in name for name, _ in fast.named_parameters()) < 3 * 2 * 3


def test_a_stage_with_more_channels_inherits_copies_of_the_old_ones():
    """DrNAS's progressive search in this space: K from 4 to 2, 5 candidates to 3."""
    torch.manual_seed(0)
    space = NasBench201Space("nasbench201", cells_per_stage=1, init_channels=8)
    old = space.supernet(ImageInputs(IMAGES, 10), partial=4)
    kept = torch.tensor([[False, True, False, True, True]] * 6)
    new = space.supernet(ImageInputs(IMAGES, 10), partial=2, kept={"cell": kept})
    maps = growth_maps(old, new, torch.Generator().manual_seed(0))
    state = inherit(old.state_dict(), new, maps)
    new.load_state_dict(state)
    name = "cells.0.fan_out.0.candidates.nor_conv_3x3"
    before = old.get_submodule(name).conv.weight
    after = new.get_submodule(name).conv.weight
    assert (before.shape[1:3], after.shape[1:3]) == ((2, 2), (4, 4))
    outputs, inputs, *_ = maps[f"{name}.conv.weight"].channels
    for edge in range(3):
        torch.testing.assert_close(after[edge], before[edge][outputs[edge]][:, inputs[edge]])
    assert torch.equal(maps[f"{name}.norm.running_var"].channels[0], outputs)
    assert torch.equal(after[:, :2, :2], before)
    assert not any("nor_conv_1x1" in one for one in state)


def test_second_derivatives_agree():
    fast, literal, weights = pair()
    x, y = torch.randn(4, *IMAGES).double(), torch.randint(0, 10, (4,))
    results = []
    for network in (fast, literal):
        weights_EO = weights["cell"].clone().requires_grad_()
        loss = F.cross_entropy(network(x, {"cell": weights_EO}), y)
        first = torch.autograd.grad(loss, list(network.parameters()), create_graph=True)
        results.append(torch.autograd.grad(sum(g.pow(2).sum() for g in first), weights_EO)[0])
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-12)


def test_nodes_that_only_none_leads_to_are_zero():
    """All that is left of the images is the bias of the residual blocks: every image looks the same."""
    space = NasBench201Space("nasbench201", ["none"], 1, 4)
    logits = space.supernet(ImageInputs(IMAGES, 10)).eval()(
        torch.randn(2, *IMAGES), {"cell": torch.ones(6, 1)}
    )
    assert logits.isfinite().all()
    assert torch.equal(logits[0], logits[1])


def test_a_one_hot_supernet_is_the_evaluation_network_of_its_architecture():
    """The supernet with the op weights of one cell computes what that cell computes, without BN's affine."""
    names = ("nor_conv_3x3", "avg_pool_3x3", "none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
    fast, _, _ = pair()
    cell = EvaluationCell(parse(text(names))["cell"], 4).double()
    searched = fast.cells[0]
    convolutions = iter([m for m in cell.modules() if isinstance(m, torch.nn.Conv2d)])
    for row, name in enumerate(names):
        if name.startswith("nor_conv"):
            source = EDGES[row][0]
            position = [edge for edge in EDGES if edge[0] == source].index(EDGES[row])
            stacked = searched.fan_out[source].candidates[name].conv.weight
            next(convolutions).weight.data.copy_(stacked[position])
    x = torch.randn(4, 4, 8, 8).double()
    route = fast._plan.route(OpWeights({"cell": one_hot(names)["cell"].double()}), "cell")
    torch.testing.assert_close(searched(x, route), cell(x), rtol=1e-10, atol=1e-12)


# --- evaluation network ------------------------------------------------------------------------------


def cost(architecture, image_shape=(3, 32, 32), num_classes=10):
    space = NasBench201Space("nasbench201")
    found = count_cost(
        lambda: space.network(parse(architecture), ImageInputs(image_shape, num_classes)), image_shape
    )
    return found.params, found.macs


def test_parameters_and_multiply_adds_are_the_reference_numbers():
    references = shared_json("goldens/counts.json")["nasbench201_C16_N5"]
    for name, expected in references.items():
        classes = int(name.rpartition("classes")[2])
        image_shape = (3, 16, 16) if classes == 120 else (3, 32, 32)
        assert cost(expected["arch"], image_shape, classes) == (expected["params"], expected["macs"]), name


def test_costs_of_all_architectures_are_the_derived_tables():
    """Costs add up edge by edge: six networks give all 15,625, and one more shows that they do.

    The table counts the additions of the classifier's bias among the multiply-adds, which nobody else does.
    """
    base = cost(DISCONNECTED)
    extra = {
        name: [(found - without) // 6 for found, without in zip(cost(text([name] * 6)), base, strict=True)]
        for name in OPERATIONS
    }
    with gzip.open(shared("data/nasbench201/nb201_cost_derived.csv.gz"), "rt") as file:
        table = {
            row["arch"]: (int(row["params_10cls"]), int(row["macs_32x32_10cls"]) - 10)
            for row in csv.DictReader(file)
        }
    for names in itertools.product(OPERATIONS, repeat=6):
        sums = tuple(total + sum(extra[name][i] for name in names) for i, total in enumerate(base))
        assert sums == table.pop(text(names)), text(names)
    assert not table
    names = ("nor_conv_1x1", *OPERATIONS)
    sums = tuple(total + sum(extra[name][i] for name in names) for i, total in enumerate(base))
    assert sums == cost(text(names))


@pytest.mark.parametrize("image_shape", [(3, 32, 32), (3, 16, 16), (1, 8, 8)])
@pytest.mark.parametrize("architecture", [DISCONNECTED, text(["nor_conv_1x1", *OPERATIONS])])
def test_networks_train_at_every_image_size_connected_or_not(architecture, image_shape):
    network = NasBench201Space("nasbench201", cells_per_stage=1, init_channels=4).network(
        parse(architecture), ImageInputs(image_shape, 10)
    )
    network.set_drop_path(0.2)
    logits, auxiliary = network(torch.randn(4, *image_shape))
    logits.sum().backward()
    assert logits.shape == (4, 10) and auxiliary is None
    assert all(p.grad is not None for p in network.classifier.parameters())


def test_a_recipes_sizes_come_before_the_spaces_own():
    space = NasBench201Space("nasbench201", cells_per_stage=2, init_channels=4)
    genotype = parse(DISCONNECTED)
    own, given = (
        space.network(genotype, ImageInputs(IMAGES, 10)),
        space.network(genotype, ImageInputs(IMAGES, 10), 1, 8),
    )
    assert (len(own.cells), own.stem[0].out_channels) == (8, 4)
    assert (len(given.cells), given.stem[0].out_channels) == (5, 8)


def test_cells_may_be_counted_in_all():
    assert NasBench201Space("nasbench201", num_cells=6).cells_per_stage == 2


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ({"cells_per_stage": 0}, r"space\.cells_per_stage=0"),
        ({"init_channels": 1.5}, r"space\.init_channels=1\.5"),
        ({"operations": ["sep_conv_3x3"]}, r"unknown operations \['sep_conv_3x3'\]; known are none, "),
        ({"num_cells": 4}, r"space\.num_cells=4: must be a multiple of 3"),
        ({"partial": 3}, r"space\.partial=3: does not divide space\.init_channels=16"),
        ({"operations": "none"}, "is not a list of names"),
        ({"operations": []}, "is not a list of names"),
    ],
)
def test_a_space_that_cannot_be_is_refused(arguments, complaint):
    with pytest.raises(ConfigError, match=complaint):
        NasBench201Space("nasbench201", **arguments)


@pytest.mark.parametrize(
    "architecture, sizes, complaint",
    [
        ("|skip_connect~0|", {}, "nodes 1 to 3"),
        (text(["sep_conv_3x3"] * 6), {}, "unknown operations"),
        (DISCONNECTED, {"cells_per_stage": 0}, r"recipe\.cells_per_stage=0"),
        (DISCONNECTED, {"auxiliary": True}, r"recipe\.auxiliary_weight: .* choose recipe=nasbench201"),
    ],
)
def test_a_network_that_cannot_be_is_refused(architecture, sizes, complaint):
    with pytest.raises(ConfigError, match=complaint):
        NasBench201Space("nasbench201").network(parse(architecture), ImageInputs(IMAGES, 10), **sizes)


def test_images_that_cannot_be_halved_twice_are_refused():
    with pytest.raises(ConfigError, match="6x6"):
        NasBench201Space("nasbench201").supernet(ImageInputs((3, 6, 6), 10))
