"""Scaling factors as a relaxation, random connections, and candidates that are alive in any number."""

import copy

import pytest
import torch

from nas.errors import ConfigError
from nas.methods.masks import Alive
from nas.methods.relaxations import Connections, ScalingFactors
from tests.methods.flat import relaxation_of

LAMBDA = torch.tensor([[1.5, 0.0, -2.0], [0.0, 0.0, 0.25]])


def test_factors_start_at_one_with_the_noise_that_is_asked_for():
    relaxation = relaxation_of("scaling")
    assert torch.equal(relaxation.initial(4, 3, 0.0), torch.ones(4, 3))
    torch.manual_seed(0)
    drawn = ScalingFactors(init=0.5).initial(2000, 5, 0.1)
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.01)
    assert drawn.std().item() == pytest.approx(0.1, rel=0.05)


def test_factors_are_the_op_weights_and_their_size_is_what_derivation_ranks():
    relaxation = relaxation_of("scaling")
    for weights in (relaxation.op_weights(LAMBDA), relaxation.evaluation_weights(LAMBDA)):
        assert torch.equal(weights, LAMBDA)
    for ranked in (relaxation.strengths(LAMBDA), relaxation.scores(LAMBDA)):
        assert torch.equal(ranked, LAMBDA.abs())
    ((label, (start, function)),) = relaxation.bases(LAMBDA).items()
    assert label == "lambda" and torch.equal(function(start), LAMBDA)


@pytest.mark.parametrize(
    ("name", "options", "normalised"),
    [
        ("softmax", {}, True),
        ("dirichlet", {"ranking": "mean"}, True),
        ("scaling", {}, False),
        ("connections", {"density": 0.5}, False),
    ],
)
def test_normalised_says_whether_the_weights_of_an_edge_sum_to_one(name, options, normalised):
    relaxation = relaxation_of(name, **options)
    torch.manual_seed(0)
    sums = relaxation.op_weights(relaxation.initial(50, 3, 0.0)).sum(-1)
    assert relaxation.normalised is normalised
    assert bool(((sums - 1).abs() < 1e-5).all()) is normalised


@pytest.mark.parametrize("relaxation", [ScalingFactors(), Connections(0.5)])
def test_there_is_nothing_to_draw_from(relaxation):
    for ask in (
        lambda: relaxation.sample(LAMBDA, 3, torch.Generator()),
        lambda: relaxation.argmax_log_probabilities(LAMBDA),
    ):
        with pytest.raises(ConfigError, match=f"method.relaxation={relaxation.name}: .*no distribution"):
            ask()


def test_connections_are_there_with_their_density():
    built = relaxation_of("connections", density=0.3)
    torch.manual_seed(0)
    drawn = built.initial(4000, 2, 0.0)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert drawn.mean().item() == pytest.approx(0.3, abs=0.02)
    torch.manual_seed(0)
    assert torch.equal(drawn, Connections(0.3).initial(4000, 2, 0.0)), "from the global generator"
    assert (Connections(1.0).initial(5, 2, 0.0) == 1).all()
    with pytest.raises(ConfigError, match=r"method.init_scale=0.001"):
        Connections(0.3).initial(4, 2, 1e-3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tanh", {}, "known are softmax, dirichlet, scaling, connections, concrete, sigmoid, simplex"),
        (
            "scaling",
            {"density": 0.5},
            "method.density=0.5: only for method.relaxation=connections, not for sca",
        ),
        ("scaling", {"ranking": "mean"}, "method.ranking=mean: only for method.relaxation=dirichlet"),
        ("connections", {"density": 0.5, "evaluation_draw": "mean"}, "method.evaluation_draw=mean: only for"),
        ("dirichlet", {"density": 0.5}, "method.density=0.5: only for"),
        ("connections", {}, "method.density=null"),
        ("connections", {"density": 0.0}, "method.density=0.0"),
        ("connections", {"density": 1.1}, "method.density=1.1"),
    ],
)
def test_options_belong_to_their_relaxation(name, options, message):
    with pytest.raises(ConfigError, match=message):
        relaxation_of(name, **options)


MASK = torch.tensor([[True, False, True], [False, False, False]])


def alive_of(mask=MASK):
    found = Alive({"cell": (2, 3), "other": (1, 1)})
    found.keep_only({"cell": mask})
    return found


def test_an_edge_may_keep_any_number_and_dropped_values_are_zero_without_gradient():
    found = alive_of()
    values = torch.tensor([[1.0, float("nan"), 3.0], [4.0, 5.0, float("inf")]], requires_grad=True)
    taken = found.take("cell", values)
    assert taken.tolist() == [[1, 0, 3], [0, 0, 0]]
    (gradient,) = torch.autograd.grad(taken.square().sum(), values)
    assert gradient.tolist() == [[2, 0, 6], [0, 0, 0]]


def test_values_are_spread_whatever_comes_before_their_edges():
    values = torch.arange(1.0, 13.0, dtype=torch.float64).view(2, 2, 3)
    spread = alive_of().spread("cell", values, -1.0)
    assert spread.tolist() == [[[1, -1, 3], [-1, -1, -1]], [[7, -1, 9], [-1, -1, -1]]]
    assert spread.dtype == values.dtype


def test_what_was_dropped_does_not_come_back():
    found = alive_of()
    found.keep_only({"cell": torch.tensor([[True, True, False], [True, True, True]])})
    assert found.masks()["cell"].tolist() == [[True, False, False], [False, False, False]]
    assert found.masks()["other"].all(), "not named, so nothing of it is dropped"
    found.masks()["cell"].fill_(True)
    assert found.masks()["cell"].sum() == 1, "masks() are copies"


def test_masks_are_part_of_the_checkpoint():
    found, other = alive_of(), Alive({"cell": (2, 3), "other": (1, 1)})
    assert set(found.state_dict()) == {"mask_cell", "mask_other"}
    other.load_state_dict(found.state_dict())
    for one in (other, copy.deepcopy(found)):
        assert torch.equal(one.take("cell", torch.ones(2, 3)), MASK.float())


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"cells": MASK}, "group cells: there are cell, other"),
        ({"cell": MASK[:1]}, r"group cell: of shape \(1, 3\), not \(2, 3\)"),
    ],
)
def test_masks_that_fit_nothing_are_refused(masks, message):
    with pytest.raises(ConfigError, match=message):
        alive_of().keep_only(masks)


def test_nothing_waits_for_the_device():
    found = Alive({"cell": (2, 3)}).to("meta")
    values = torch.ones(2, 3, device="meta")
    assert found.spread("cell", found.take("cell", values), -1.0).is_meta
