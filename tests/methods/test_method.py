"""A method owns alpha, in a fixed order, and knows what its rows and columns mean."""

import collections
import math

import pytest
import torch

from nas.errors import ConfigError
from nas.methods.layout import layout_of
from nas.methods.updates import ArchitectureGradient
from nas.spaces.darts.space import DartsSpace
from tests.methods.flat import flat_method

OPERATIONS = ["none", "skip_connect", "sep_conv_3x3"]


def method_for(space, **settings):
    shapes = {name: group.shape for name, group in space.groups.items()}
    return flat_method("darts1", shapes, layout=layout_of(space.groups), **settings)


def test_alphas_are_named_parameters_in_a_fixed_order():
    method = method_for(DartsSpace("darts", OPERATIONS))
    assert [name for name, _ in method.named_parameters()] == ["alpha.normal", "alpha.reduce"]
    assert [tuple(a.shape) for a in method.alphas()] == [(14, 3), (14, 3)]


def test_softmax_rows_sum_to_one_and_start_nearly_uniform():
    method = method_for(DartsSpace("darts", OPERATIONS))
    for weights_EO in method.op_weights().values():
        torch.testing.assert_close(weights_EO.sum(-1), torch.ones(14))
        assert (weights_EO - 1 / 3).abs().max() < 0.01
    assert method.entropy()["normal"] == pytest.approx(math.log(3), abs=1e-4)


def test_start_at_zero_as_the_paper_says():
    assert not any(a.any() for a in method_for(DartsSpace("darts", OPERATIONS), init_scale=0.0).alphas())


def test_entropy_of_a_decided_edge_is_zero():
    method = method_for(DartsSpace("darts", OPERATIONS))
    with torch.no_grad():
        method.alpha["normal"].copy_(torch.tensor([200.0, 0.0, 0.0]).expand(14, 3))
    assert method.entropy()["normal"] == 0.0


def test_concentrations_of_a_dirichlet_are_recorded_and_other_methods_have_none():
    space = DartsSpace("darts", OPERATIONS)
    assert method_for(space).concentrations() == {}
    shapes = {name: group.shape for name, group in space.groups.items()}
    method = flat_method("drnas", shapes, relaxation="dirichlet", layout=layout_of(space.groups))
    with torch.no_grad():
        method.alpha["normal"].copy_(torch.tensor([2.0, 0.0, -1.0]).expand(14, 3))
    assert method.concentrations()["normal"] == pytest.approx(3 + 1 + math.exp(-1))


def test_warmup_delays_the_architecture():
    method = method_for(DartsSpace("darts", OPERATIONS), warmup_epochs=2)
    assert [method.active(epoch) for epoch in range(4)] == [False, False, True, True]


def test_state_survives_a_round_trip():
    space = DartsSpace("darts", OPERATIONS)
    one, other = method_for(space), method_for(space)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.alpha["reduce"], other.alpha["reduce"])


@pytest.mark.parametrize(
    "operations", [["skip_connect", "none", "sep_conv_3x3"], ["none", "skip_connect", "dil_conv_3x3"]]
)
def test_parameters_of_another_order_are_refused(operations):
    one, other = (method_for(DartsSpace("darts", names)) for names in (OPERATIONS, operations))
    with pytest.raises(ConfigError, match="normal row 0 has operations"):
        other.load_state_dict(one.state_dict())


def test_random_draws_every_cell_equally_often():
    """Chi-square of node 3's pairs of inputs and of the operations, over 1,500 draws; bounds at p = 1e-4."""
    space = DartsSpace("darts", OPERATIONS + ["max_pool_3x3"], num_nodes=2)
    pairs, names = collections.Counter(), collections.Counter()
    torch.manual_seed(0)
    for _ in range(1500):
        random = method_for(space, update="none", init_scale=1.0)
        edges = space.derive(random.strengths())["normal"].nodes[1]
        pairs[tuple(edge.source for edge in edges)] += 1
        names.update(edge.operation for edge in edges)
    assert set(pairs) == {(0, 1), (0, 2), (1, 2)}
    assert set(names) == {"skip_connect", "sep_conv_3x3", "max_pool_3x3"}
    for counts, bound in ((pairs, 18.4), (names, 18.4)):  # two degrees of freedom each
        mean = sum(counts.values()) / 3
        assert sum((count - mean) ** 2 / mean for count in counts.values()) < bound


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"relaxation": "tanh"}, "method.relaxation=tanh"),
        ({"warmup_epochs": -1}, "method.warmup_epochs=-1"),
        ({"clip": 0.0}, "method.clip=0.0"),
        ({"architecture_clip": -5.0}, "method.architecture_clip=-5.0"),
        ({"architecture_clip": 5.0, "update": "joint"}, "method.architecture_clip=5.0"),
        ({"init_scale": -1.0}, "method.init_scale=-1.0"),
    ],
)
def test_bad_settings_name_their_key(settings, key):
    with pytest.raises(ConfigError, match=key):
        method_for(DartsSpace("darts", OPERATIONS), **settings)


class Steep:
    """An update whose gradient has norm 13, over both groups."""

    def gradient(self, problem, weight_batch, architecture_batch):
        shapes = [alpha.shape for alpha in problem]
        gradients = [torch.zeros(shape) for shape in shapes]
        gradients[0][0, 0], gradients[1][0, 0] = 5.0, 12.0
        return ArchitectureGradient(torch.tensor(1.0), gradients)


@pytest.mark.parametrize(("clip", "share"), [(None, 1.0), (20.0, 1.0), (6.5, 0.5)])
def test_the_architecture_gradient_is_clipped_as_a_whole_and_before_the_anchor(clip, share):
    """DrNAS's code for ImageNet: clip_grad_norm_ at 5, then Adam adds its decay."""
    method = method_for(DartsSpace("darts", OPERATIONS), architecture_clip=clip, lam=0.1, anchor="l2")
    found = method.gradient(method.alphas(), None, None, Steep())
    expected = [0.1 * alpha.detach() for alpha in method.alphas()]
    expected[0][0, 0] += 5.0 * share
    expected[1][0, 0] += 12.0 * share
    for gradient, wanted in zip(found.gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-6)
