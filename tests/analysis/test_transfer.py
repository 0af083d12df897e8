"""One device's costs in the place of another's: ranks, and what a choice by them comes to."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from nas.analysis.transfer import SHARES, Transfer, fewest, in_order_of_likeness, transfer
from tests.analysis.test_plots import picture


def pair(known, target, spearman):
    return Transfer(known, target, 10, spearman, (), ())


def test_a_choice_is_that_of_a_literal_look():
    generator = np.random.default_rng(0)
    heights_N = generator.uniform(50, 95, 60).round(1)
    one_N = generator.integers(1, 12, 60).astype(float)
    other_N = one_N + generator.integers(0, 6, 60)
    one_N[3], other_N[4], heights_N[5] = np.nan, np.nan, np.nan
    found = transfer("one", "other", {"one": one_N, "other": other_N}, heights_N)
    both = [i for i in range(60) if i not in (3, 4)]
    assert found.n == 58 and found.spearman == pytest.approx(spearmanr(one_N[both], other_N[both]).statistic)
    there = [i for i in both if i != 5]
    for share, overrun, regret in zip(SHARES, found.overruns, found.regrets, strict=True):
        at = int(np.ceil(share * len(there))) - 1
        limit, budget = (sorted(costs_N[i] for i in there)[at] for costs_N in (one_N, other_N))
        chosen = max((i for i in there if one_N[i] <= limit), key=lambda i: heights_N[i])
        assert overrun == pytest.approx(other_N[chosen] / budget - 1)
        best = max(heights_N[i] for i in there if other_N[i] <= budget)
        assert regret == (pytest.approx(best - heights_N[chosen]) if other_N[chosen] <= budget else None)


def test_a_device_stands_for_itself_at_no_regret():
    costs_N, heights_N = np.arange(1.0, 41.0), np.linspace(60, 90, 40)
    same = transfer("a", "b", {"a": costs_N, "b": 3 * costs_N}, heights_N)
    assert same.spearman == pytest.approx(1.0) and same.overruns == (0, 0, 0) and same.regrets == (0, 0, 0)
    assert transfer("a", "b", {"a": costs_N, "b": np.ones(40)}, heights_N).spearman is None


def test_few_tables_stand_for_all():
    high = {("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")}
    names = ["a", "b", "c", "d"]
    pairs = [pair(k, t, 0.97 if (k, t) in high else 0.5) for k in names for t in names if k != t]
    assert fewest(names, pairs) == {"b": ["a", "b", "c"], "d": ["d"]}
    order = in_order_of_likeness(names, pairs)
    assert sorted(order) == names and {order.index("a"), order.index("b")} != {0, 3}
    assert in_order_of_likeness(["a", "b"], []) == ["a", "b"]


@pytest.mark.pictures
def test_the_map_is_drawn_with_what_is_not_known_in_grey(tmp_path):
    from nas.analysis.plots.transfer import draw_transfer

    known = {("a", "b"): 0.5, ("b", "a"): 0.5, ("a", "$c$"): None}
    draw_transfer(["a", "b", "$c$"], known, tmp_path / "devices.png")
    picture(tmp_path / "devices.png")
