"""Seconds of a training step: small batches and the line through them, or a whole batch that is short."""

import time
from types import SimpleNamespace

import pytest
import torch

from nas.measure import planned_runs
from nas.measure.planned_runs import training_seconds

CPU = torch.device("cpu")


@pytest.fixture
def timed(monkeypatch):
    """`timed({2: 0.1, ...})`: what builds steps that take so long by their batch, and the batches built."""

    def put(seconds):
        built = []

        def build(size):
            built.append(size)
            return SimpleNamespace(train=size)

        monkeypatch.setattr(planned_runs, "seconds_of", lambda size, *_: seconds[size])
        return build, built

    return put


def test_a_short_step_of_the_whole_batch_is_measured_itself(timed):
    build, built = timed({2: 0.02, 8: 0.06, 64: 0.1})
    step, how = training_seconds(build, 64, CPU, time.monotonic() + 60)
    assert (step, how, built) == (0.1, "steps x measured seconds", [2, 8, 64])


def test_a_long_one_is_extrapolated_and_never_built(timed):
    build, built = timed({2: 0.2, 8: 0.8})
    step, how = training_seconds(build, 64, CPU, time.monotonic() + 60)
    assert step == pytest.approx(6.4) and built == [2, 8]
    assert how == "steps x seconds extrapolated from batch 2 and 8"


def test_a_batch_that_is_small_is_measured_once(timed):
    build, built = timed({2: 0.2, 4: 0.3})
    assert training_seconds(build, 4, CPU, time.monotonic() + 60)[0] == 0.3 and built == [2, 4]
