"""Schedules with a warm-up, epoch by epoch, against the formulas of the authors' code."""

import math

import pytest
import torch

from nas.engine.rates import WarmCosine, cosine_with_warmup, linear_with_warmup
from nas.errors import ConfigError


def rates(build, epochs, lr=0.5):
    """The learning rate of every epoch."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    schedule = build(optimizer)
    found = []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_the_linear_schedule_of_drnas():
    found = rates(lambda optimizer: linear_with_warmup(optimizer, 250), 250)
    assert found[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found[5] == pytest.approx(0.5 * 240 / 245)
    assert found[244] == pytest.approx(0.5 * 1 / 245)
    assert found[245] == pytest.approx(0.5 * 5 / (245 * 5))
    assert found[249] == pytest.approx(0.5 * 1 / (245 * 5))


def test_the_cosine_is_torch_s_after_the_warm_up():
    found = rates(lambda optimizer: cosine_with_warmup(optimizer, T_max=50, eta_min=0.01), 50)
    cosine = rates(lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50, 0.01), 50)
    assert found[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found[5:] == pytest.approx(cosine[5:])


def test_the_recursion_goes_on_from_where_the_warm_up_ended():
    found = rates(lambda optimizer: WarmCosine(optimizer, T_max=50, eta_min=0.01), 50)
    cosine = [1 + math.cos(math.pi * epoch / 50) for epoch in range(50)]
    assert found[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found[5:] == pytest.approx([0.01 + 0.49 * wave / cosine[4] for wave in cosine[5:]])


@pytest.mark.parametrize("build", [WarmCosine, cosine_with_warmup])
def test_without_a_warm_up_it_is_the_cosine(build):
    cosine = rates(lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20), 20)
    assert rates(lambda optimizer: build(optimizer, 20, warmup=0), 20) == pytest.approx(cosine, abs=1e-15)


def test_a_stage_that_begins_in_the_warm_up_begins_with_its_rate():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    assert WarmCosine(optimizer, 20).start_of_stage(2) == pytest.approx([0.3])
    assert WarmCosine(optimizer, 20).start_of_stage(5) == pytest.approx([0.5])


@pytest.mark.parametrize("build", [linear_with_warmup, cosine_with_warmup, WarmCosine])
def test_a_resumed_schedule_goes_on(build):
    whole = rates(lambda optimizer: build(optimizer, 20), 20)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = build(optimizer, 20)
    for _ in range(7):
        optimizer.step()
        schedule.step()
    states = optimizer.state_dict(), schedule.state_dict()
    again = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    resumed = build(again, 20)
    again.load_state_dict(states[0])
    resumed.load_state_dict(states[1])
    assert again.param_groups[0]["lr"] == pytest.approx(whole[7])
    again.step()
    resumed.step()
    assert again.param_groups[0]["lr"] == pytest.approx(whole[8])


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_a_short_search_has_a_rate_in_every_epoch(epochs):
    assert min(rates(lambda optimizer: linear_with_warmup(optimizer, epochs, warmup=1), epochs)) > 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda o: linear_with_warmup(o, 0),
        lambda o: linear_with_warmup(o, 5, warmup=-1),
        lambda o: linear_with_warmup(o, 5, tail=-1),
        lambda o: cosine_with_warmup(o, 0),
        lambda o: WarmCosine(o, 0),
        lambda o: WarmCosine(o, 5, warmup=-1),
    ],
)
def test_impossible_lengths_are_refused(wrong):
    with pytest.raises(ConfigError, match="must be at least"):
        rates(wrong, 1)
