"""The largest width within a budget: against a search of all widths, and what cannot be met."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nas.analysis.cost.complexity import Cost, count_cost
from nas.analysis.cost.width import fitting_width, largest_fitting
from nas.errors import ConfigError

QUICK = settings(max_examples=60, deadline=None, derandomize=True)


def polynomial(width):
    """Costs as networks have them: a quadratic part, a linear part, and stem and classifier beside."""
    return Cost(params=9 * width**2 + 70 * width + 10, params_auxiliary=0, macs=40 * width**2 + 500, parts=())


@QUICK
@given(
    macs=st.none() | st.integers(600, 10**6),
    params=st.none() | st.integers(100, 10**6),
    least=st.integers(1, 4),
    step=st.integers(1, 3),
)
def test_agrees_with_a_look_at_every_width(macs, params, least, step):
    def within(width):
        cost = polynomial(width)
        return (macs is None or cost.macs <= macs) and (params is None or cost.params <= params)

    fitting = [width for width in range(least, 400, step) if within(width)]
    if (macs is None and params is None) or not fitting:
        with pytest.raises(ConfigError, match=r"method\.budget"):
            fitting_width(polynomial, macs, params, least, step)
    else:
        assert fitting_width(polynomial, macs, params, least, step) == fitting[-1]


def test_a_budget_that_is_met_exactly_is_met():
    assert fitting_width(polynomial, macs=polynomial(28).macs) == 28
    assert fitting_width(polynomial, macs=polynomial(28).macs - 1) == 27
    assert fitting_width(polynomial, macs=polynomial(28).macs, least=2, step=4) == 26


def test_prices_few_networks_and_none_twice():
    asked = []

    def price(width):
        asked.append(width)
        return polynomial(width)

    assert fitting_width(price, params=polynomial(1000).params) == 1000
    assert len(asked) == len(set(asked)) <= 21


def test_a_real_network_meets_its_budget():
    def price(width):
        return count_cost(
            lambda: nn.Sequential(nn.Conv2d(3, width, 3), nn.Conv2d(width, width, 3)), (3, 8, 8)
        )

    width = fitting_width(price, macs=1e6)
    assert price(width).macs <= 1e6 < price(width + 1).macs


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({}, "neither macs nor params"),
        ({"macs": 0}, r"method\.budget\.macs=0: must be null or positive"),
        ({"params": -1.0}, r"method\.budget\.params=-1\.0"),
        ({"macs": 500}, "init_channels=1 costs 540 multiply-adds and 89 parameters"),
        ({"macs": 1e9, "params": 50}, "params=50 is below the narrowest"),
        ({"macs": 1e9, "step": 0}, "both must be at least 1"),
    ],
)
def test_what_cannot_be_met_is_refused_in_words(wanted, message):
    with pytest.raises(ConfigError, match=message):
        fitting_width(polynomial, **wanted)


def test_the_largest_size_that_fits_where_small_ones_cannot_be_built():
    asked = []

    def fits(value):
        asked.append(value)
        if value < 3:
            raise ConfigError("too small")
        return value <= 7

    assert largest_fitting(range(1, 20), fits) == 7 and len(asked) <= 6
    assert largest_fitting(range(1, 5), fits) == 4
    for values in (range(1, 3), range(8, 12), ()):
        assert largest_fitting(values, fits) is None


def test_a_cost_that_does_not_grow_is_no_endless_search():
    with pytest.raises(ConfigError, match="does not grow"):
        fitting_width(lambda width: Cost(1, 0, 1, ()), macs=10)
