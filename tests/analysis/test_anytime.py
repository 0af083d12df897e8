"""Curves of what runs would have given so far, of runs of different lengths too."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.analysis.anytime import POINTS, Course, band, spread_evenly
from nas.errors import ConfigError

NAN = float("nan")


def test_a_finished_run_keeps_its_result_and_an_unfinished_one_ends():
    runs = [Course([1, 2], [10, 20]), Course([1, 2, 3, 4], [30, 30, 30, 30]), Course([1], [80], ended=False)]
    found = band(runs)
    assert found.x.tolist() == [1, 2, 3, 4]
    assert found.n.tolist() == [3, 2, 2, 2], "n says where a run is missing"
    assert found.mean.tolist() == [40, 25, 25, 25]
    assert found.runs == 3


def test_per_second_a_value_holds_until_the_next():
    found = band([Course([10, 30], [1, 3]), Course([20], [5])], points=[5, 10, 19, 25, 40])
    assert found.x.tolist() == [10, 19, 25, 40], "nothing is known before the first value"
    assert found.mean.tolist() == [1, 1, 3, 4]
    assert np.isnan(found.low[:2]).all() and np.isfinite(found.low[2:]).all(), "one run has no interval"


def test_unknown_values_are_left_out_where_they_are():
    found = band([Course([1, 2], [NAN, 4]), Course([1, 2], [2, 8])])
    assert (found.n.tolist(), found.mean.tolist()) == ([1, 2], [2, 6])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6), min_size=2, max_size=5))
def test_the_band_lies_within_the_runs_and_around_their_mean(curves):
    found = band([Course(range(1, len(curve) + 1), curve) for curve in curves])
    held = np.array([curve + [curve[-1]] * (len(found.x) - len(curve)) for curve in curves])
    assert found.mean == pytest.approx(held.mean(0), abs=1e-9)
    assert (found.n == len(curves)).all()
    assert (held.min(0) - 1e-9 <= found.low).all() and (found.low <= found.mean + 1e-9).all()
    assert (found.mean - 1e-9 <= found.high).all() and (found.high <= held.max(0) + 1e-9).all()


def test_long_runs_get_points_evenly():
    found = band([Course(np.cumsum(np.full(500, 0.7)), np.arange(500)) for _ in range(2)])
    assert len(found.x) == POINTS and found.x[-1] == pytest.approx(350)
    assert found.mean[-1] == 499


def test_nothing_gives_nothing():
    assert len(band([]).x) == len(band([Course([], [])]).x) == 0


def test_courses_that_fall_back_are_refused():
    with pytest.raises(ConfigError, match="x must rise"):
        band([Course([1, 1], [2, 3])])
    with pytest.raises(ConfigError, match="one y each"):
        band([Course([1, 2], [2])])


def test_even_steps():
    assert spread_evenly(60, 3) == [20, 40, 60]
