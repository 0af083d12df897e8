"""The recipes of DSO-NAS as they are composed: learning rates by epoch, weight decay, what they build."""

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from torch import nn

from nas.config import CONF, instantiate, register_resolvers
from nas.engine.decay import sgd_on_matrices
from nas.genotype import parse
from nas.spaces.dso_network import DsoNetwork
from nas.spaces.dso_parts import build_operation

SIZES = ("blocks_per_stage", "init_channels", "stem", "dropout")


@pytest.fixture
def recipe():
    """`recipe("dso_cifar10")` -> its keys, as `nas.evaluate` composes them."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda name: compose("evaluate", [f"recipe={name}"]).recipe
    GlobalHydra.instance().clear()


def rates(found):
    """The learning rate of every epoch."""
    optimizer = instantiate(found.optimizer)([nn.Parameter(torch.zeros(1, 1))])
    schedule = instantiate(found.scheduler)(optimizer)
    rates = []
    for _ in range(found.epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_cifar10_is_six_cosines_each_twice_as_long_as_the_one_before(recipe):
    found = rates(recipe("dso_cifar10"))
    starts = [epoch for epoch, rate in enumerate(found) if rate == pytest.approx(0.05)]
    assert starts == [0, 10, 30, 70, 150, 310]
    assert len(found) == 310 + 320
    assert 1e-4 < found[-1] < 1.1e-4
    assert found[5] == pytest.approx((0.05 + 1e-4) / 2)


def test_imagenet_rises_for_five_epochs_and_falls_in_a_line_to_zero(recipe):
    found = rates(recipe("dso_imagenet"))
    assert found[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found[5:] == pytest.approx([0.5 * (240 - epoch) / 240 for epoch in range(5, 240)])


@pytest.mark.parametrize(("name", "size", "classes"), [("dso_cifar10", 32, 10), ("dso_imagenet", 224, 1000)])
def test_a_recipe_builds_its_network(name, size, classes, recipe):
    found = recipe(name)
    text = "; ".join(f"reduce_{n}:2[1=conv_1x1(0) 2=conv_3x3(0)]>1,2" for n in (1, 2, 3))
    genotype = parse(f"DSO(block:1[1=sep_conv_3x3(0)]>1; {text})")
    with torch.device("meta"):
        network = DsoNetwork(
            genotype, (3, size, size), classes, auxiliary=True, **{key: found[key] for key in SIZES}
        )
    reductions = len(found.blocks_per_stage) - 1
    assert len(network.blocks) == sum(found.blocks_per_stage) + reductions
    assert network.auxiliary is not None


def test_scales_and_biases_do_not_decay():
    network = nn.Sequential(build_operation("sep_conv_3x3", 4, scale=True), nn.Linear(4, 2))
    optimizer = sgd_on_matrices(network.parameters(), lr=0.1, momentum=0.0, weight_decay=0.5, nesterov=False)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in network.named_parameters():
        factor = 1.0 if name.endswith("bias") or "norm" in name else 1 - 0.1 * 0.5
        torch.testing.assert_close(parameter, factor * before[name])


def test_momentum_is_nesterov_s():
    weight = nn.Parameter(torch.ones(1, 1))
    optimizer = sgd_on_matrices([weight], lr=0.1, momentum=0.9, weight_decay=0.0)
    for _ in range(2):
        weight.grad = torch.ones(1, 1)
        optimizer.step()
    # v = 1, then 1.9; each step takes lr (g + mu v).
    assert weight.item() == pytest.approx(1 - 0.1 * (1 + 0.9) - 0.1 * (1 + 0.9 * 1.9))
