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
