"""Rank correlations, with what is not known left out."""

import math

import pytest

from nas.analysis.correlation import Correlation, correlate


def test_ranks_count_and_what_is_unknown_does_not():
    first = [1.0, 2.0, 3.0, 4.0, math.nan, 9.0]
    second = [10.0, 20.0, 40.0, 30.0, 5.0, None]
    found = correlate(first, second)
    assert found.n == 4
    # One of six pairs is in the wrong order, and two ranks are off by one.
    assert found.kendall == pytest.approx((5 - 1) / 6)
    assert found.spearman == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert correlate([-math.inf, 1.0, 2.0], [1.0, 2.0, 3.0]).spearman == pytest.approx(1)


def test_nothing_is_said_of_two_or_of_equals():
    assert correlate([1.0, 2.0], [1.0, 2.0]) == Correlation(2, None, None)
    assert correlate([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) == Correlation(3, None, None)
    assert correlate([], []) == Correlation(0, None, None)
