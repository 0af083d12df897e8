"""Stages that cannot follow each other are refused when a search begins, not when the first has ended."""

from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from nas.engine.stages import Leg, StageBuilder
from nas.errors import ConfigError
from nas.spaces.darts.space import DartsSpace
from nas.spaces.nasbench201.space import NasBench201Space
from nas.spaces.recurrent.space import RecurrentSpace
from nas.spaces.space import ImageInputs
from tests.methods.flat import flat_method

COSINE = partial(CosineAnnealingLR, T_max=2)


def stages_of(list_of_stages, space_partial=1, schedule=COSINE, **settings):
    space = NasBench201Space("nasbench201", ["none", "nor_conv_1x1"], 1, 8, space_partial)
    method = flat_method(
        "m",
        {name: group.shape for name, group in space.groups.items()},
        stages=list_of_stages,
        weight_optimizer=partial(torch.optim.SGD, lr=0.1),
        weight_scheduler=schedule,
        architecture_optimizer=torch.optim.Adam,
        **settings,
    )
    return StageBuilder(space, method, ImageInputs((3, 8, 8), 10), 0, lambda network: network)


TWO = [{"epochs": 1, "partial": 4}, {"epochs": 1, "partial": 2}]


def test_stages_that_fit_are_accepted():
    stages = stages_of(TWO)
    stages.check()
    stages.check_schedule()


def test_a_partial_that_does_not_divide_is_named_by_its_own_key():
    with pytest.raises(ConfigError, match=r"method\.stages\[1\]\.partial=3: does not divide .* 2 and 4"):
        stages_of([{"epochs": 1, "partial": 4}, {"epochs": 1, "partial": 3}]).check()


def test_a_partial_of_the_space_that_no_stage_would_use_is_refused():
    with pytest.raises(ConfigError, match=r"space\.partial=2: .*method\.stages"):
        stages_of(TWO, space_partial=2).check()
    stages_of(None, space_partial=2).check()


def test_a_schedule_that_cannot_restart_is_refused_at_the_start():
    steps = partial(StepLR, step_size=1)
    with pytest.raises(ConfigError, match=r"learning_rate_at_stage=restart.*StepLR"):
        stages_of(TWO, schedule=steps).check_schedule()
    stages_of(TWO, schedule=steps, learning_rate_at_stage="continuous").check_schedule()
    stages_of(TWO[:1], schedule=steps).check_schedule()


def test_a_stage_does_not_grow_from_an_earlier_epoch_than_the_last_before_it(tmp_path):
    stages = stages_of([{"epochs": 2, "partial": 4}, {"epochs": 1, "partial": 2}])
    path = tmp_path / "epoch=0001.ckpt"
    torch.save({"state_dict": stages.module(0).state_dict()}, path)
    with pytest.raises(ConfigError, match="starts from epoch 2"):
        stages.resume(Leg(1, 2, 3), path, 1)


def test_a_method_that_does_not_train_has_no_stages():
    with pytest.raises(ConfigError, match="trains nothing"):
        stages_of(TWO, update="none")


def test_a_single_candidate_an_edge_leaves_nothing_to_choose_edges_by():
    space = DartsSpace("s2", ["skip_connect", "sep_conv_3x3"], num_nodes=2, num_cells=3, init_channels=4)
    shapes = {name: group.shape for name, group in space.groups.items()}
    for keep, fits in ((1, False), (2, True)):
        method = flat_method("m", shapes, stages=[{"epochs": 1, "keep": keep}])
        stages = StageBuilder(space, method, ImageInputs((3, 8, 8), 10), 0, lambda network: network)
        with nullcontext() if fits else pytest.raises(ConfigError, match="keep at least 2"):
            stages.check()
    # NAS-Bench-201 takes every edge, so that one candidate per edge is an architecture.
    stages_of([{"epochs": 1, "keep": 1}]).check()


def test_batches_kept_for_the_curvature_are_those_of_the_epoch():
    module = stages_of(None).module(0)
    module.keep_batches, module.recent_batches = 3, ["of the last epoch"]
    module.trainer = SimpleNamespace(current_epoch=0, max_epochs=1)
    module.on_train_epoch_start()
    assert module.recent_batches == []


FRESH = [{"epochs": 1, "cells": 1}, {"epochs": 1, "cells": 2, "keep": 1, "partial": 2, "fresh": True}]


def test_a_fresh_stage_begins_anew_by_seed_and_stage_alone():
    """Another depth, other weights, alpha and optimisers; what was dropped stays so."""

    def grown(state):
        torch.manual_seed(0)
        stages = stages_of(FRESH)
        stages.check()
        stages.check_schedule()
        before = stages.module(0)
        with torch.no_grad():
            stages.method.alpha["cell"].copy_(torch.tensor([[2.0, 1.0]]).repeat(6, 1))
        optimizers, (schedule,) = before.configure_optimizers()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = 9.0
        saved = {
            "state_dict": before.state_dict(),
            "optimizer_states": [one.state_dict() for one in optimizers],
            "lr_schedulers": [schedule.state_dict()],
            "iteration": 7,
        }
        torch.manual_seed(state)
        return stages.method, *stages.grow(before, saved, 1)

    method, module, checkpoint = grown(1)
    _, other, again = grown(2)
    cells = [one for one in module.supernet.modules() if hasattr(one, "fan_out")]
    assert len(cells) == 6 and checkpoint["iteration"] == 7
    assert [group["lr"] for one in checkpoint["optimizer_states"] for group in one["param_groups"]] == [
        0.1,
        1e-3,
    ]
    assert checkpoint["lr_schedulers"][0]["last_epoch"] == 0 and checkpoint["lr_schedulers"][0]["T_max"] == 1
    assert method.kept()["cell"].tolist() == [[True, False]] * 6
    assert (method.alpha["cell"][:, 0].abs() < 0.1).all() and not method.alpha["cell"][:, 1].any()
    for name, value in checkpoint["state_dict"].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, again["state_dict"][name]), name
    assert all(torch.equal(a, b) for a, b in zip(module.weights, other.weights, strict=True))


def test_depths_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match=r"cells=\[None, 2\].*fresh=true"):
        stages_of([{"epochs": 1}, {"epochs": 1, "cells": 2}])
    with pytest.raises(ConfigError, match=r"stages\[0\]\.fresh=1: must be true or false"):
        stages_of([{"epochs": 1, "fresh": 1}])
    with pytest.raises(ConfigError, match=r"space=other have one depth"):
        RecurrentSpace("other", ["tanh"], 2).deepened(3)


def test_a_depth_that_a_space_cannot_have_is_that_of_its_stage():
    space = DartsSpace("s2", ["skip_connect", "sep_conv_3x3"], num_nodes=2, num_cells=3, init_channels=4)
    method = flat_method(
        "m",
        {name: group.shape for name, group in space.groups.items()},
        stages=[{"epochs": 1, "cells": 3}, {"epochs": 1, "cells": 2, "fresh": True}],
        weight_optimizer=partial(torch.optim.SGD, lr=0.1),
        weight_scheduler=COSINE,
        architecture_optimizer=torch.optim.Adam,
    )
    stages = StageBuilder(space, method, ImageInputs((3, 8, 8), 10), 0, lambda network: network)
    with pytest.raises(ConfigError, match=r"method\.stages\[1\]\.cells=2: every cell of such a network"):
        stages.check()
