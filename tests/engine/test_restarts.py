"""Learning rates of runs whose number of epochs was changed."""

import math
from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearLR,
    SequentialLR,
)

from nas.engine.rates import cosine_with_warmup, linear_with_warmup
from nas.engine.restarts import Restart, length_of, restarts_of, with_restarts
from nas.errors import ConfigError

COSINE = partial(CosineAnnealingLR, T_max=6, eta_min=0.001)
RESTARTS = [Restart(at=6, before=6, epochs=10), Restart(at=10, before=10, epochs=13)]


def sgd(lr=0.025):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def rates(build, epochs, optimizer=None, schedule=None):
    """The learning rate of every epoch, of a new schedule or from where a given one stands."""
    optimizer = optimizer or sgd()
    schedule = schedule or build(optimizer)
    found = []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_every_restart_is_a_cosine_from_the_last_rate_to_the_least_one():
    found, first = rates(with_restarts(COSINE, RESTARTS), 13), rates(COSINE, 6)
    assert found[:6] == first
    assert found[6] == first[5] and found[10] == found[9]
    assert found[6:10] == sorted(found[6:10], reverse=True)
    expected = [0.001 + (first[5] - 0.001) * (1 + math.cos(math.pi * e / 4)) / 2 for e in range(4)]
    assert found[6:10] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("build", [COSINE, partial(cosine_with_warmup, T_max=6, warmup=2)])
@pytest.mark.parametrize("epoch", [4, 6, 8])
def test_a_run_goes_on_from_the_checkpoint_of_any_schedule(build, epoch):
    """Of the one that it was started with, or of its own, also of an epoch before the restart."""
    whole = rates(with_restarts(build, RESTARTS), 13)
    optimizer = sgd()
    earlier = build(optimizer) if epoch <= 6 else with_restarts(build, RESTARTS)(optimizer)
    rates(None, epoch, optimizer, earlier)
    states = optimizer.state_dict(), earlier.state_dict()
    again = sgd()
    schedule = with_restarts(build, RESTARTS)(again)
    again.load_state_dict(states[0])
    schedule.load_state_dict(states[1])
    assert rates(None, 13 - epoch, again, schedule) == whole[epoch:]


def test_a_restart_in_mid_schedule_leaves_the_rest_of_it_out():
    found = rates(with_restarts(COSINE, [Restart(at=2, before=6, epochs=8)]), 8)
    assert found[:2] == rates(COSINE, 2) and found[2] == found[1]
    assert found == sorted(found, reverse=True)


def test_without_restarts_the_schedule_is_what_it_was():
    assert with_restarts(COSINE, []) is COSINE


def test_which_schedules_have_a_length():
    optimizer = sgd()
    parts = [LinearLR(optimizer, total_iters=3), CosineAnnealingLR(optimizer, 20)]
    found = {
        "cosine": length_of(COSINE(sgd())),
        "linear": length_of(linear_with_warmup(sgd(), 40)),
        "warm": length_of(cosine_with_warmup(sgd(), 30)),
        "constant": length_of(ConstantLR(sgd(), total_iters=0)),
        "parts": length_of(SequentialLR(optimizer, parts, [3])),
        "exponential": length_of(ExponentialLR(sgd(), 0.9)),
        "repeated": length_of(CosineAnnealingWarmRestarts(sgd(), 10)),
    }
    assert found == {
        "cosine": 6, "linear": 40, "warm": 30, "constant": 0, "parts": 20, "exponential": None,
        "repeated": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        [{"at": 3}],
        [{"at": 6, "before": 6, "epochs": "10"}],
        [{"at": 6, "before": 6, "epochs": 6}],
        [{"at": 6, "before": 6, "epochs": 10}, {"at": 12, "before": 10, "epochs": 14}],
        ["x"],
    ],
)
def test_restarts_that_no_run_wrote_are_refused(given):
    with pytest.raises(ConfigError, match="restarts="):
        restarts_of(given)
