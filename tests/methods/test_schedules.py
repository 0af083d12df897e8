"""Progressive stages: which stage an epoch is in, when alpha rests, and two learning-rate schedules."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import ConfigError
from nas.methods.schedules import Stage, Stages
from tests.methods.flat import flat_method

AUTHORS = [
    {"epochs": 25, "partial": 6, "freeze": 10},
    {"epochs": 25, "partial": 4, "keep": 4, "freeze": 10},
]


def method_of(**settings):
    settings = {
        "stages": AUTHORS,
        "weight_scheduler": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 50, eta_min=0.0),
    } | settings
    return flat_method("m", {"cell": (2, 7)}, relaxation="dirichlet", **settings)


def test_stages_are_read():
    stages = Stages(AUTHORS)
    assert list(stages) == [Stage(25, 6, None, 10), Stage(25, 4, 4, 10)]
    assert stages.epochs == 50
    assert [stages.at(epoch) for epoch in (0, 24, 25, 49)] == [(0, 0), (0, 24), (1, 0), (1, 24)]
    with pytest.raises(ConfigError, match="end after 50 epochs"):
        stages.at(50)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_every_epoch_belongs_to_one_stage_in_order(lengths):
    stages = Stages([{"epochs": n} for n in lengths])
    expected = [(index, within) for index, n in enumerate(lengths) for within in range(n)]
    assert [stages.at(epoch) for epoch in range(stages.epochs)] == expected


def test_alpha_rests_at_the_start_of_each_stage():
    method = method_of()
    assert [e for e in range(50) if method.active(e)] == [*range(10, 25), *range(35, 50)]
    assert not any(method_of(update="none", stages=None).active(e) for e in range(50))
    assert next(e for e in range(50) if method_of(warmup_epochs=12).active(e)) == 12


def test_the_epochs_must_fill_the_search():
    assert method_of().changes(50) == [25]
    assert method_of(stages=None).changes(7) == []
    with pytest.raises(ConfigError, match=r"trainer\.max_epochs=60: .* 25 \+ 25, sum to 50"):
        method_of().changes(60)


def rates(method, lr=0.1, starts=(25,), epochs=50):
    """The learning rate of every epoch, with a new optimiser and schedule at each start of a stage."""

    def new():
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)

    optimizer = new()
    scheduler, found = method.weight_scheduler(optimizer), []
    for epoch in range(epochs):
        if epoch in starts:
            optimizer = new()
            scheduler = method.stage_scheduler(optimizer, scheduler)
        assert scheduler.get_last_lr() == [optimizer.param_groups[0]["lr"]]
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_restart_is_the_authors_sequence():
    """Stage 2 starts again at 0.1 and follows 0.1 (1 + cos(pi t / 50)), t = 25 .. 49."""
    found = rates(method_of())
    assert found[25] == 0.1
    first = [0.05 * (1 + math.cos(math.pi * t / 50)) for t in range(25)]
    second = [0.1 * (1 + math.cos(math.pi * t / 50)) for t in range(25, 50)]
    assert found == pytest.approx(first + second, rel=1e-9)


def test_continuous_is_one_cosine():
    found = rates(method_of(learning_rate_at_stage="continuous"))
    assert found == pytest.approx([0.05 * (1 + math.cos(math.pi * t / 50)) for t in range(50)], rel=1e-9)


def test_restart_with_a_floor_and_three_stages():
    """eta_min + (lr - eta_min) (1 + cos(pi t / T)) / (1 + cos(pi s / T)) from the start s of the stage."""
    method = method_of(
        weight_scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 30, eta_min=0.01)
    )
    found = rates(method, starts=(10, 24), epochs=30)
    expected = []
    for t in range(30):
        s = max(start for start in (0, 10, 24) if start <= t)
        share = (1 + math.cos(math.pi * t / 30)) / (1 + math.cos(math.pi * s / 30))
        expected.append(0.01 + 0.09 * share)
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_resumed_stage_goes_on_bit_by_bit():
    """The optimiser's and the schedule's state, which a checkpoint holds, are enough in mid-stage."""
    method = method_of()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = method.weight_scheduler(optimizer)
    for _ in range(25):
        optimizer.step()
        scheduler.step()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = method.stage_scheduler(optimizer, scheduler)
    again = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    resumed = method.weight_scheduler(again)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    again.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    for _ in range(5):
        for o, s in ((optimizer, scheduler), (again, resumed)):
            o.step()
            s.step()
        assert again.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_only_the_cosine_restarts():
    method = method_of(weight_scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 10))
    with pytest.raises(ConfigError, match="not for StepLR"):
        rates(method)
    method = method_of(
        weight_scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 10), learning_rate_at_stage="continuous"
    )
    assert rates(method) == pytest.approx([0.1 * 0.1 ** (t // 10) for t in range(50)])


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "at least one stage"),
        ("two", "at least one stage"),
        ([25], r"stages\[0\]=25: must be a mapping"),
        ([{"partial": 2}], "the key epochs is missing"),
        ([{"epochs": 0}], r"stages\[0\]\.epochs=0"),
        ([{"epochs": 2.5}], r"stages\[0\]\.epochs=2\.5"),
        ([{"epochs": True}], r"stages\[0\]\.epochs=True"),
        ([{"epochs": 3, "partial": 0}], r"partial=0"),
        ([{"epochs": 3, "keep": 0}], r"keep=0"),
        ([{"epochs": 3, "freeze": -1}], r"freeze=-1"),
        ([{"epochs": 3, "freeze": 4}], "only 3 epochs"),
        ([{"epochs": 3, "wide": 2}], r"unknown keys \['wide'\]; known are epochs, partial, keep, freeze"),
        ([{"epochs": 3, "keep": 3}, {"epochs": 1}, {"epochs": 3, "keep": 4}], r"keep=\[3, 4\]"),
        ([{"epochs": 3, "partial": 2}, {"epochs": 3, "partial": 4}], r"partial=\[2, 4\]"),
    ],
)
def test_bad_stages_say_what_is_wrong(stages, message):
    with pytest.raises(ConfigError, match=message):
        method_of(stages=stages)


def test_unknown_learning_rate_rule():
    with pytest.raises(ConfigError, match=r"method\.learning_rate_at_stage=halve"):
        method_of(learning_rate_at_stage="halve")
