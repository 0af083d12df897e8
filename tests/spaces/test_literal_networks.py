"""Evaluation networks of images are the literal ones of `tests/reference`, in float64, weights copied."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from nas import genotype as genotypes
from nas.domains.images import Images
from nas.errors import ConfigError
from nas.measure.literals import build_literal, find_literal
from nas.spaces.darts.space import DartsSpace
from nas.spaces.modules import DropPath
from nas.spaces.nasbench201.space import NasBench201Space
from nas.spaces.native.library import load_library
from nas.spaces.operations import DARTS
from nas.spaces.space import ImageInputs
from tests.reference.literal_network import OPS, load_literal

EXACT = {"rtol": 1e-9, "atol": 1e-9}
LAYOUTS = [torch.contiguous_format, torch.channels_last]
CIFAR = {"num_cells": 3, "init_channels": 4}
CASES = {
    # Four cells: after the last one the release's auxiliary head would alter what the classifier reads.
    "darts": (DartsSpace, "DARTS_V2", (3, 32, 32), {**CIFAR, "num_cells": 4, "auxiliary": True}),
    "dilated and pooled": (DartsSpace, "DARTS_V1", (3, 16, 16), CIFAR),
    "factorised kernels": (DartsSpace, "AmoebaNet", (3, 16, 16), CIFAR),
    "imagenet": (DartsSpace, "PC_DARTS_image", (3, 64, 64), {**CIFAR, "stem": "imagenet"}),
    "nasbench201": (
        NasBench201Space,
        "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|",
        (3, 16, 16),
        {"cells_per_stage": 1, "init_channels": 4},
    ),
}


def pair(case, layout=torch.contiguous_format, native=None):
    """Our network and the literal one with its weights, in float64, and noise in a memory format."""
    kind, cell, shape, sizes = CASES[case]
    space = kind("darts", list(OPS)) if kind is DartsSpace else kind("nasbench201")
    genotype = genotypes.load(cell, space.family)
    torch.manual_seed(0)
    ours = space.network(genotype, ImageInputs(shape, 10), **sizes).double()
    known = {"genotype": genotype, "image_shape": shape, "num_classes": 10, **sizes}
    literal = build_literal(find_literal(space.network_reference, "bench.evaluation"), known).double()
    names = load_literal(ours, literal)
    if hasattr(ours, "execution"):
        ours.execution.native = native
    images_BCHW = torch.randn(4, *shape, dtype=torch.float64).contiguous(memory_format=layout)
    return ours, literal.to(memory_format=layout), names, images_BCHW


def trained(network, images_BCHW, rate):
    """Logits, the auxiliary ones among them, gradients by name, and buffers after a training pass."""
    network.train()
    network.set_drop_path(rate)
    torch.manual_seed(1)
    outputs = [one for one in network(images_BCHW) if one is not None]
    labels_B = torch.arange(len(images_BCHW))
    sum(F.cross_entropy(one, labels_B) for one in outputs).backward()
    gradients = {name: one.grad for name, one in network.named_parameters()}
    return [one.detach() for one in outputs], gradients, dict(network.named_buffers())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kernel", [False, True])
def test_equal_in_training_and_inference(case, kernel, layout):
    """Paths are dropped, the same ones; running statistics are those after that step."""
    native = load_library() if kernel else None
    if kernel and native is None:
        pytest.skip("the compiled kernel cannot be built here")
    ours, literal, names, images_BCHW = pair(case, layout, native)
    mine, theirs = (trained(one, images_BCHW, 0.3) for one in (ours, literal))
    torch.testing.assert_close(mine[0], theirs[0], **EXACT)
    assert len(mine[0]) == (2 if case == "darts" else 1)
    for found, expected in zip(mine[1:], theirs[1:], strict=True):
        torch.testing.assert_close({names[name]: one for name, one in found.items()}, expected, **EXACT)
    with torch.no_grad():
        (logits_BK, none), (expected_BK, _) = (one.eval()(images_BCHW) for one in (ours, literal))
    torch.testing.assert_close(logits_BK, expected_BK, **EXACT)
    assert none is None


def test_another_weight_is_another_network():
    """What the comparison rests on: it does see a weight that differs by a millionth."""
    ours, literal, _, images_BCHW = pair("darts")
    other = copy.deepcopy(literal)
    with torch.no_grad():
        next(iter(other.cells[1].parameters())).mul_(1 + 1e-6)
        found = [one.eval()(images_BCHW)[0] for one in (ours, literal, other)]
    torch.testing.assert_close(found[0], found[1], **EXACT)
    assert (found[0] - found[2]).abs().max() > 1e-9


def test_every_operation_of_published_cells_has_its_twin():
    known = {edge.operation for one in genotypes.published().values() if "darts" in one
             for _, cell in one["darts"].cells for _, edge in cell.edges}  # fmt: skip
    assert known <= set(OPS) <= set(DARTS.published)


def test_where_the_tests_are_not_installed_one_line_says_so():
    with pytest.raises(
        ConfigError, match=r"^bench.evaluation=true: tests.nowhere.Net cannot be imported"
    ) as told:
        find_literal("tests.nowhere.Net", "bench.evaluation")
    assert "\n" not in str(told.value) and "set bench.evaluation=false" in str(told.value)


def test_an_operation_without_a_twin_is_refused():
    source = SimpleNamespace(name="digits", image_shape=(1, 8, 8), num_classes=10)
    genotype = genotypes.load("DARTS_V2", "darts").to_dict()
    genotype["cells"]["normal"]["nodes"][0][0]["operation"] = "noise"
    literal = find_literal(DartsSpace.network_reference, "bench.evaluation")
    with pytest.raises(ConfigError, match="no operation 'noise'"):
        Images().reference_network(literal, genotypes.from_dict(genotype), None, source, dict(CIFAR))


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_paths_are_dropped_as_timms_class_drops_them(rate):
    """Bit by bit, the same draws."""
    from timm.layers import DropPath as Theirs

    x_BCHW = torch.randn(8, 2, 3, 3)
    for training in (True, False):
        found = []
        for kind in (DropPath, Theirs):
            torch.manual_seed(5)
            found.append(kind(rate).train(training)(x_BCHW))
        assert torch.equal(*found)
