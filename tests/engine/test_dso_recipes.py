"""The recipes of DSO-NAS as they are composed: learning rates by epoch, weight decay, what they build."""

from types import SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from torch import nn

from nas.engine.decay import optimizer_of, sgd_but_biases, sgd_on_matrices
from nas.engine.evaluation_module import EvaluationModule
from nas.engine.tasks import Classification
from nas.genotype import parse
from nas.running.config import CONF, instantiate, register_resolvers
from nas.spaces.dso.network import DsoNetwork
from nas.spaces.dso.parts import build_operation
from nas.spaces.modules import DropPath

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
    optimizer = optimizer_of(instantiate(found.optimizer), nn.Linear(1, 1))
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
    """Against the authors' schedule run update by update, as means of epochs of 100 updates."""
    found, rate, every = rates(recipe("dso_imagenet")), 0.1, []
    rise, fall = (0.5 - 0.1) / (100 * 5), 0.5 / (100 * (240 - 5))
    for update in range(240 * 100):
        every.append(rate)
        rate = rate + rise if update < 500 else max(0.0, rate - fall)
    means = [sum(every[100 * e : 100 * e + 100]) / 100 for e in range(240)]
    assert found == pytest.approx(means, abs=5e-4)
    assert found[:5] == pytest.approx([0.14, 0.22, 0.30, 0.38, 0.46])
    assert found[5:] == pytest.approx([0.5 * (239.5 - epoch) / 235 for epoch in range(5, 240)])


def dropping(network):
    """The drop-path rates of each block that has any, in order."""
    blocks = [
        {module.drop_prob for module in block.modules() if isinstance(module, DropPath)}
        for block in network.blocks
    ]
    return [rates.pop() for rates in blocks if len(rates) == 1]


def test_drop_path_of_cifar10_is_the_authors_in_every_block_and_step(recipe):
    """0.5 (index + 1) / (depth + 2), where index = 36 (stage - 1) + 4 (unit - 1) and depth = 110."""
    found = recipe("dso_cifar10")
    text = "; ".join(f"reduce_{n}:2[1=conv_1x1(0)]>1" for n in (1, 2))
    genotype = parse(f"DSO(block:2[1=sep_conv_3x3(0) 2=max_pool_3x3(0,1)]>1,2; {text})")
    sizes = {key: found[key] for key in (*SIZES, "drop_path_depth")} | {"init_channels": 2}
    network = DsoNetwork(genotype, (3, 32, 32), 10, auxiliary=False, **sizes)
    network.set_drop_path(found.drop_path)
    theirs = [0.5 * (36 * stage + 4 * unit + 1) / 112 for stage in range(3) for unit in range(8)]
    assert dropping(network) == pytest.approx(theirs)
    assert theirs[0] == pytest.approx(0.00446, abs=1e-5) and theirs[-1] == pytest.approx(0.45089, abs=1e-5)

    module = EvaluationModule(
        network, Classification(), None, None, found.drop_path, 0.0, None, found.drop_path_ramp
    )
    module.trainer = SimpleNamespace(max_epochs=630, num_training_batches=390, current_epoch=2)
    for batch in (0, 7):
        module.on_train_batch_start(None, batch)
        share = (2 * 390 + batch + 1) / (390 * 630)
        assert dropping(network) == pytest.approx([share * rate for rate in theirs])


def test_a_recipe_of_before_keeps_its_drop_path():
    """Once per epoch, rate * epoch / epochs, block b of n at b / n."""
    genotype = parse("DSO(block:1[1=sep_conv_3x3(0)]>1)")
    network = DsoNetwork(genotype, (3, 8, 8), 10, (4,), 2, "cifar", auxiliary=False)
    module = EvaluationModule(network, Classification(), None, None, 0.4)
    module.trainer = SimpleNamespace(max_epochs=10, num_training_batches=3, current_epoch=5)
    for batch in (0, 1):
        module.on_train_batch_start(None, batch)
        assert dropping(network) == pytest.approx([0.05, 0.1, 0.15, 0.2])


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


def test_in_an_evaluation_all_but_biases_decay(recipe):
    """Both recipes, as the authors' code: MXNet spares what is called neither weight nor gamma."""
    for name in ("dso_cifar10", "dso_imagenet"):
        network = nn.Sequential(build_operation("sep_conv_3x3", 4, scale=True), nn.Linear(4, 2))
        found = recipe(name)
        optimizer = optimizer_of(instantiate(found.optimizer), network)
        decays = {p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        assert len(decays) == len(list(network.parameters()))
        for name, parameter in network.named_parameters():
            expected = 0.0 if name.endswith("bias") else found.optimizer.weight_decay
            assert decays[parameter] == expected, name
    assert any("norm.weight" in name for name, _ in network.named_parameters())
    plain = optimizer_of(lambda params: torch.optim.SGD(params, 0.1), network)
    assert len(plain.param_groups) == 1 and "param_names" not in plain.param_groups[0]
    assert len(sgd_but_biases([("weight", network[1].weight)], 0.1, 0.9, 0.1).param_groups) == 1


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
