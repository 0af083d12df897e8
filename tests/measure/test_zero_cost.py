"""Zero-cost measures against the formulas written out, on tiny networks in double precision."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nas.errors import ConfigError
from nas.measure.steps import Numerics
from nas.measure.zero_cost import MEASURES, SIZES, Measure, Probe, find_measure
from nas.measure.zero_cost.naswot import kernel
from nas.measure.zero_cost.rater import Logits, Rater
from nas.spaces.nasbench201 import NasBench201Space
from nas.spaces.space import ImageInputs

NAMES = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Mlp(nn.Module):
    """Two linear layers, a ReLU that is called as a function between them, and a ReLU beside the way."""

    def __init__(self):
        super().__init__()
        self.first, self.beside, self.second = nn.Linear(6, 5), nn.Linear(6, 4), nn.Linear(5, 3)

    def forward(self, x):
        x = x.flatten(1)
        F.relu(self.beside(x))
        return self.second(torch.relu(self.first(x)))


def probe_of(network, batches=1, images=4, shape=(1, 2, 3), classes=3):
    made = [
        (torch.randn(images, *shape, dtype=torch.float64), torch.randint(classes, (images,)))
        for _ in range(batches)
    ]
    example = torch.empty(1, *shape, dtype=torch.float64)
    return Probe(network.double(), made, F.cross_entropy, example, params=7, macs=11)


def measured(name, probe):
    return find_measure(name, "measures")(probe)


def slopes(network, probe, number=0):
    """Gradients of the loss in the weights of `first` and `second`."""
    images, labels = probe.batches[number]
    loss = F.cross_entropy(network(images), labels)
    return torch.autograd.grad(loss, [network.first.weight, network.second.weight])


def test_snip_on_a_linear_layer_by_hand():
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    probe = probe_of(network)
    (images, labels), weight = probe.batches[0], network[1].weight
    x = images.flatten(1)
    errors = (network[1](x).softmax(1) - F.one_hot(labels, 3)) / len(x)
    assert measured("snip", probe) == pytest.approx((weight * (errors.T @ x)).abs().sum().item(), rel=1e-12)
    assert measured("grad_norm", probe) == pytest.approx((errors.T @ x).norm().item(), rel=1e-12)


def test_gradients_of_several_layers():
    network = Mlp()
    probe = probe_of(network)
    first, second = slopes(network, probe)
    by_hand = (network.first.weight * first).abs().sum() + (network.second.weight * second).abs().sum()
    # The layer beside the way to the logits adds nothing.
    assert measured("snip", probe) == pytest.approx(by_hand.item(), rel=1e-12)
    assert measured("grad_norm", probe) == pytest.approx(float(first.norm() + second.norm()), rel=1e-12)


def test_grasp_against_the_whole_hessian():
    network = Mlp()
    probe = probe_of(network)
    images, labels = probe.batches[0]
    shapes = [network.first.weight.shape, network.second.weight.shape]
    flat = torch.cat([network.first.weight.flatten(), network.second.weight.flatten()]).detach()

    def loss(flat):
        first, second = (part.view(shape) for part, shape in zip(flat.split([30, 15]), shapes, strict=True))
        hidden = F.linear(images.flatten(1), first, network.first.bias).relu()
        return F.cross_entropy(F.linear(hidden, second, network.second.bias), labels)

    hessian = torch.autograd.functional.hessian(loss, flat)
    gradient = torch.autograd.functional.jacobian(loss, flat)
    assert measured("grasp", probe) == pytest.approx(float(-(flat * (hessian @ gradient)).sum()), rel=1e-10)


def test_synflow_is_the_sum_over_paths_times_the_layers():
    layers = [nn.Linear(6, 4, bias=False), nn.Linear(4, 5, bias=False), nn.Linear(5, 3, bias=False)]
    # Batch norm is skipped, so that its statistics and scale do not count.
    network = nn.Sequential(nn.Flatten(), layers[0], nn.BatchNorm1d(4), layers[1], nn.ReLU(), layers[2])
    nn.init.constant_(network[2].weight, 3.0)
    product = torch.ones(1, 3, dtype=torch.float64)
    probe = probe_of(network)
    for layer in reversed(layers):
        product = product @ layer.weight.detach().abs()
    # Every layer sees the same sum over paths.
    assert measured("synflow", probe) == pytest.approx(3 * float(product.sum()), rel=1e-12)


def test_naswot_against_loops():
    network = Mlp()
    probe = probe_of(network, images=5)
    images = probe.batches[0][0]
    codes = (network.first(images.flatten(1)) > 0).tolist()
    by_hand = [[sum(a == b for a, b in zip(one, other, strict=True)) for other in codes] for one in codes]
    assert kernel(network, images).tolist() == by_hand
    sign, logarithm = np.linalg.slogdet(np.array(by_hand, dtype=float))
    found = measured("naswot", probe)
    assert found == pytest.approx(logarithm, rel=1e-9) if sign else found == -math.inf


@pytest.mark.parametrize("relu", [nn.ReLU(), nn.ReLU(inplace=True)], ids=str)
def test_every_relu_is_counted_once(relu):
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 3), relu)
    probe = probe_of(network)
    assert kernel(network, probe.batches[0][0]).diagonal().tolist() == [3.0] * 4


def test_a_network_without_relu_has_no_codes():
    assert math.isnan(measured("naswot", probe_of(nn.Sequential(nn.Flatten(), nn.Linear(6, 3)))))


def test_jacov_is_that_of_the_correlations_of_the_images():
    network = Mlp()
    probe = probe_of(network)
    rows = torch.autograd.functional.jacobian(lambda x: network(x).sum(1), probe.batches[0][0])
    jacobian = np.array([rows[i, i].flatten().numpy() for i in range(4)])
    centred = jacobian - jacobian.mean(1, keepdims=True)
    covariance = centred @ centred.T
    deviation = np.sqrt(np.diag(covariance))
    values = np.linalg.eigvals(covariance / np.outer(deviation, deviation)).real
    expected = -sum(math.log(v + 1e-5) + 1 / (v + 1e-5) for v in values)
    assert measured("jacov", probe) == pytest.approx(expected, rel=1e-6)
    constant = nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(1), nn.Linear(1, 3))
    assert math.isnan(measured("jacov", probe_of(constant)))


def test_zico_against_loops():
    network = Mlp()
    probe = probe_of(network, batches=3)
    expected = 0.0
    for layer in zip(*(slopes(network, probe, number) for number in range(3)), strict=True):
        gradients = np.array([one.flatten().tolist() for one in layer])
        ratios = [
            sum(abs(g) for g in column) / len(column) / np.std(column) for column in gradients.T
            if np.std(column) > 0
        ]  # fmt: skip
        expected += math.log(sum(ratios))
    assert measured("zico", probe) == pytest.approx(expected, rel=1e-10)
    # Where no gradient changes nothing is left to count.
    again = Probe(network, [probe.batches[0]] * 2, F.cross_entropy, probe.example)
    assert measured("zico", again) == 0.0


def test_sizes_are_what_was_counted():
    assert [measured(name, probe_of(Mlp())) for name in SIZES] == [7, 11]


@pytest.fixture
def cell():
    """An evaluation network in which nothing follows node 1 of a cell."""
    space = NasBench201Space("nasbench201", NAMES, cells_per_stage=1, init_channels=2)
    genotype = space.derive({"cell": torch.eye(5)[[2, 3, 0, 1, 0, 3]]})
    return Logits(space.network(genotype, ImageInputs((1, 8, 8), 3)))


@pytest.mark.parametrize("name", MEASURES)
def test_the_network_and_the_generator_are_left_as_they_were(name, cell):
    network = cell.double().eval()
    probe = probe_of(network, batches=2, shape=(1, 8, 8))
    first = next(network.parameters())
    first.grad = torch.ones_like(first)
    first.requires_grad_(False)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    images = [batch[0].clone() for batch in probe.batches]
    state = torch.get_rng_state()
    found = measured(name, probe)
    assert math.isfinite(found) and measured(name, probe) == found
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state) and not network.training
    assert bool((first.grad == 1).all()) and not first.requires_grad
    assert sum(parameter.grad is not None for parameter in network.parameters()) == 1
    assert all(torch.equal(batch[0], image) for batch, image in zip(probe.batches, images, strict=True))


def test_what_a_network_draws_is_the_same_in_every_measure():
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 3), nn.ReLU(), nn.Dropout())
    probe = probe_of(network)
    torch.manual_seed(5)
    found = measured("snip", probe)
    torch.manual_seed(6)
    assert measured("snip", probe) == found
    assert measured("snip", Probe(network, probe.batches, F.cross_entropy, probe.example, seed=1)) != found


class Depth(Measure):
    """Somebody else's measure."""

    batches = 0

    def score(self, network, probe):
        return sum(isinstance(one, nn.Linear) for one in network.modules())


def test_a_measure_of_others_is_named_by_its_import_path():
    assert measured(f"{__name__}.Depth", probe_of(Mlp())) == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("snp", "measures=snp: unknown; known are synflow, naswot"),
        ("nowhere.Depth", r"nowhere.Depth: cannot be imported \(ModuleNotFoundError"),
        (f"{__name__}.Mlp", "must be a class that derives from nas.measure.zero_cost.Measure"),
        ("nas.measure.zero_cost.base.Measure", r"cannot be made without arguments \(TypeError"),
        (f"{__name__}.Absent", "must be a class that derives from"),
    ],
)
def test_names_that_are_no_measure(name, words):
    with pytest.raises(ConfigError, match=words):
        find_measure(name, "measures")


@pytest.mark.parametrize("score", [lambda *_: None, lambda *_: [][0]], ids=["none", "broken"])
def test_a_measure_that_gives_no_number_is_named_with_the_architecture(score, monkeypatch):
    monkeypatch.setattr(Depth, "score", score)
    where = Numerics(torch.device("cpu"), torch.float32, None, False)
    found = {"deep": Depth()}
    rater = Rater(found, lambda _: Mlp(), lambda _: (1, 1), F.cross_entropy, torch.empty(1, 6), [], where, 0)
    with pytest.raises(RuntimeError, match=r"deep gives no number of \|a cell\| \((Type|Index)Error"):
        rater("|a cell|")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("odd"), RuntimeError),
        (ConfigError("space.x=1: too small"), ConfigError),
        (torch.OutOfMemoryError("no memory"), torch.OutOfMemoryError),
    ],
)
def test_an_architecture_whose_network_or_measure_breaks_down_is_named(error, kind, monkeypatch):
    def broken(*_):
        raise error

    where = Numerics(torch.device("cpu"), torch.float32, None, False)
    rest = (lambda _: (1, 1), F.cross_entropy, torch.empty(1, 6), [], where, 0)
    with pytest.raises(kind, match=rf"the network of \|a cell\| cannot be built.*{str(error)[-5:]}"):
        Rater({"deep": Depth()}, broken, *rest)("|a cell|")
    monkeypatch.setattr(Depth, "score", broken)
    with pytest.raises(kind, match=rf"measure deep gives no number of \|a cell\|.*{str(error)[-5:]}"):
        Rater({"deep": Depth()}, lambda _: Mlp(), *rest)("|a cell|")


def test_a_size_is_read_without_a_copy_of_the_network(cell, monkeypatch):
    monkeypatch.setattr("copy.deepcopy", lambda _: pytest.fail("a copy"))
    probe = probe_of(cell, batches=1, shape=(1, 8, 8))
    probe = replace(probe, params=7, macs=9)
    assert [find_measure(name, "measures")(probe) for name in ("params", "macs")] == [7.0, 9.0]


def test_what_is_linear_in_the_loss_doubles_with_it(cell):
    probe = probe_of(cell, batches=2, shape=(1, 8, 8))
    twice = Probe(probe.network, probe.batches, lambda *given: 2 * F.cross_entropy(*given), probe.example)
    factors = {"snip": 2, "grad_norm": 2, "grasp": 4, "jacov": 1, "naswot": 1, "synflow": 1}
    for name, factor in factors.items():
        assert measured(name, twice) == pytest.approx(factor * measured(name, probe), rel=1e-9), name
    assert measured("zico", twice) == pytest.approx(measured("zico", probe), rel=1e-9)
