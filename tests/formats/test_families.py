"""The exported classes compute what the evaluation networks compute, and speak timm's language."""

import pytest
import timm
import torch

import nas.formats.timm_models as registry
from nas.errors import ConfigError
from nas.formats.families import build
from nas.genotype import published
from nas.spaces.darts.network import DartsNetwork
from nas.spaces.dso.network import DsoNetwork
from nas.spaces.nasbench201.network import NasBench201Network
from tests.formats.networks import DSO, NB201, SMALL, built, described

# Without the auxiliary head, 14 cells of C=48, 1000 classes. The first three are those of reference networks
# (of another implementation), the others what nas.cost counted when this was written.
IMAGENET_PARAMETERS = {
    "nas_darts_v1": 4_510_432,
    "nas_darts_v2": 4_718_752,
    "nas_drnas_cifar10": 5_738_464,
    "nas_drnas_imagenet": 5_726_368,
    "nas_pc_darts_cifar": 5_270_560,
    "nas_pc_darts_image": 5_342_464,
    "nas_nasnet": 5_564_320,
    "nas_amoebanet": 4_627_360,
    "nas_pnasnet": 6_394_912,
}


def evaluation_network(description):
    """What `nas.evaluate` trains, with an auxiliary head where that fits."""
    genotype, sizes, shape = description.genotype, description.sizes, description.image_shape
    classes = description.num_classes
    if genotype.space == "darts":
        args = (sizes["num_cells"], sizes["init_channels"], sizes["stem_multiplier"], sizes["stem"])
        return DartsNetwork(genotype, shape, classes, *args, False)
    if genotype.space == "nasbench201":
        return NasBench201Network(genotype, shape, classes, sizes["cells_per_stage"], sizes["init_channels"])
    args = (sizes["blocks_per_stage"], sizes["init_channels"], sizes["stem"])
    return DsoNetwork(genotype, shape, classes, *args, auxiliary=False)


@pytest.mark.parametrize("name", SMALL)
def test_it_is_the_evaluation_network(name):
    description, network = built(name)
    original = evaluation_network(description)
    original.load_state_dict(network.state_dict())
    images_BCHW = torch.randn(3, *description.image_shape)
    logits_BK = network(images_BCHW)
    assert torch.equal(original.eval()(images_BCHW)[0], logits_BK)
    assert logits_BK.std(dim=0).min() > 1e-5, "the outputs depend on the image"


@pytest.mark.parametrize("name", SMALL)
def test_its_parts_are_timms(name):
    description, network = built(name)
    images_BCHW = torch.randn(2, *description.image_shape)
    features_BFHW = network.forward_features(images_BCHW)
    assert features_BFHW.shape[1] == network.num_features == network.head_hidden_size
    assert torch.equal(network.forward_head(features_BFHW), network(images_BCHW))
    pooled_BF = network.forward_head(features_BFHW, pre_logits=True)
    assert torch.equal(network.get_classifier()(pooled_BF), network(images_BCHW))
    conv = network.get_submodule(network.first_conv)
    assert isinstance(conv, torch.nn.Conv2d) and conv.in_channels == 3
    assert network.get_submodule(network.classifier_name) is network.get_classifier()
    network.reset_classifier(7)
    assert network(images_BCHW).shape == (2, network.num_classes) == (2, 7)
    network.reset_classifier(0)
    assert torch.equal(network(images_BCHW), pooled_BF)
    network.reset_classifier(0, "")
    assert torch.equal(network(images_BCHW), features_BFHW)
    with pytest.raises(ConfigError, match="global_pool=''"):
        network.reset_classifier(2)


@pytest.mark.parametrize("name", SMALL)
def test_intermediate_maps_are_what_the_named_modules_give(name):
    description, network = built(name)
    images_BCHW = torch.randn(2, *description.image_shape)
    seen = {}
    for info in network.feature_info:
        module = network.get_submodule(info["module"])
        module.register_forward_hook(lambda _, __, out, key=info["module"]: seen.update({key: out.clone()}))
    final_BFHW, maps = network.forward_intermediates(images_BCHW)
    assert torch.equal(final_BFHW, network.forward_features(images_BCHW))
    assert len(maps) == len(network.feature_info)
    side = description.image_shape[1]
    for info, map_BCHW in zip(network.feature_info, maps, strict=True):
        assert torch.equal(map_BCHW, seen[info["module"]])
        rounded_up = -(-side // info["reduction"])
        assert map_BCHW.shape == (2, info["num_chs"], rounded_up, rounded_up)
    early = network.forward_intermediates(images_BCHW, [0, 1], stop_early=True, intermediates_only=True)
    assert all(torch.equal(a, b) for a, b in zip(early, maps[:2], strict=True))
    with pytest.raises(ConfigError, match="out_indices"):
        network.forward_intermediates(images_BCHW, [9])


def test_drop_path_is_off_in_evaluation_and_can_be_set_for_training():
    description = described()
    network = registry.FAMILIES["darts"](
        description.genotype, num_classes=3, drop_path_rate=0.5, drop_rate=0.1, **description.sizes
    )
    images_BCHW = torch.randn(2, *description.image_shape)
    assert torch.equal(network.eval()(images_BCHW), network(images_BCHW))
    network.train()
    assert not torch.equal(network(images_BCHW), network(images_BCHW))


@pytest.mark.parametrize("shape", [(3, 20, 18), (1, 16, 16)])
def test_images_that_do_not_fit_are_refused(shape):
    _, network = built()
    with pytest.raises(ConfigError, match=r"3 channels and sides that are multiples of 4"):
        network(torch.zeros(1, *shape))


def test_sizes_of_another_family_are_refused():
    description = described()
    with pytest.raises(ConfigError, match="not those of darts"):
        build(type(description)(**{**vars(description), "sizes": {"cells_per_stage": 3}}))


@pytest.mark.parametrize(
    ("entry", "arguments", "channels"),
    [
        ("nas_darts", {"genotype": "DARTS_V1", "num_cells": 3, "init_channels": 4}, [4, 16, 32, 64]),
        ("nas_darts", {"genotype": "DARTS_V1", "num_cells": 3, "init_channels": 4, "stem": "cifar"}, None),
        ("nas_nasbench201", {"genotype": NB201, "cells_per_stage": 1, "init_channels": 4}, [4, 8, 16]),
        ("nas_dso", {"genotype": DSO, "blocks_per_stage": [1, 1], "init_channels": 4}, [4, 8]),
    ],
)
def test_features_only_holds_and_computes_no_more_than_it_gives(entry, arguments, channels):
    backbone = timm.create_model(entry, features_only=True, **arguments).eval()
    whole = timm.create_model(entry, **arguments).eval()
    found = backbone(torch.randn(1, 3, 64, 64))
    assert [one.shape[1] for one in found] == backbone.feature_info.channels()
    assert channels is None or backbone.feature_info.channels() == channels
    assert [64 // one.shape[2] for one in found] == backbone.feature_info.reduction()
    missing = {name for name, _ in whole.named_parameters()} - {
        name.removeprefix("model.") for name, _ in backbone.named_parameters()
    }
    norm = () if whole.last_norm_name is None else (whole.last_norm_name,)
    assert {name.rpartition(".")[0] for name in missing} == {whole.classifier_name, *norm}
    first = timm.create_model(entry, features_only=True, out_indices=(0,), **arguments).eval()
    assert len(first(torch.randn(1, 3, 64, 64))) == 1
    assert sum(p.numel() for p in first.parameters()) < sum(p.numel() for p in backbone.parameters())


def test_every_published_genotype_is_in_timms_registry():
    names = {f"nas_{name.lower()}" for name, spaces in published().items() if "darts" in spaces}
    assert names | {"nas_darts", "nas_nasbench201", "nas_dso"} <= set(timm.list_models("nas_*"))
    assert not any(timm.is_model_pretrained(name) for name in names)
    with torch.device("meta"):
        counted = {name: sum(p.numel() for p in timm.create_model(name).parameters()) for name in names}
    assert counted == IMAGENET_PARAMETERS


def test_an_argument_that_is_none_is_refused():
    with pytest.raises(TypeError, match="num_cellz"):
        timm.create_model("nas_darts_v2", num_cellz=3)
