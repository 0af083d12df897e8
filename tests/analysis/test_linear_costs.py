"""A cost as a sum over edges: exact where it is one, and its error told where it is none."""

import itertools
import re

import numpy as np
import pytest
import torch

from nas.analysis.cost.complexity import count_cost
from nas.analysis.cost.linear import POOR, fit_costs, keeps_every_edge
from nas.analysis.cost.pricing import EdgePrices
from nas.analysis.cost.whole_space import range_of
from nas.analysis.cost_table import read_costs
from nas.analysis.sampling import choices_of, every_architecture
from nas.commands.cost_ranges import drawn
from nas.errors import ConfigError
from nas.genotype import parse
from nas.spaces.darts.space import DartsSpace
from nas.spaces.nasbench201.space import NasBench201Space
from nas.spaces.space import ImageInputs
from tests.analysis.test_tabular import OPERATIONS, arch
from tests.shared import shared

INPUTS = ImageInputs((3, 16, 16), 4)
CELLS = NasBench201Space("nasbench201", ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3"], 1, 4)
CHOOSING = DartsSpace("darts", ["none", "skip_connect", "sep_conv_3x3"], 3, 3, 4)


def multiply_adds(space):
    def price(genotype):
        cost = count_cost(lambda: space.network(genotype, INPUTS), INPUTS.example)
        return cost.params, cost.macs

    prices = EdgePrices(price)
    return lambda genotype: float(prices(genotype)[1])


@pytest.mark.parametrize("space", [CELLS, CHOOSING], ids=["nasbench201", "darts"])
def test_what_adds_up_is_fitted_exactly_and_its_ends_are_those_of_the_space(space):
    price, some = multiply_adds(space), drawn(space)
    found = range_of(price, some, space.groups, space.derive, "macs")
    assert found.exact and found.linear.r2 == pytest.approx(1.0) and found.linear.error < 1e-9
    for genotype in drawn(space, seed=1)[:50]:
        assert found.linear(genotype, space.groups) == pytest.approx(price(genotype), rel=1e-9)
    seen = [price(one) for one in (every_architecture(space, "x") if space is CELLS else some)]
    assert (found.smallest == min(seen)) if space is CELLS else (found.smallest <= min(seen))
    assert (found.largest == max(seen)) if space is CELLS else (found.largest >= max(seen))
    assert found.middle == np.median([price(one) for one in some])


@pytest.mark.parametrize("space", [CELLS, CHOOSING], ids=["nasbench201", "darts"])
def test_from_zero_every_architecture_costs_less_by_one_number(space):
    price, some = multiply_adds(space), drawn(space)
    linear = fit_costs(some, [price(one) for one in some], space.groups, "macs")
    edgewise = keeps_every_edge(some, space.groups)
    assert edgewise is (space is CELLS)
    shifted = linear.from_zero(space.groups, edgewise)
    gaps = {
        round(price(one) - sum(float(shifted[name][row, column]) for name, pairs in
              choices_of(one, space.groups).items() for row, column in pairs), 3)
        for one in some
    }  # fmt: skip
    assert len(gaps) == 1
    assert all(float(cost_EO.min()) == 0 for cost_EO in shifted.values())
    # `none`, which no cell of DARTS has, is as free as the cheapest.
    assert float(shifted["cell" if space is CELLS else "normal"][:, 0].max()) < 1e-6


def test_r2_and_error_are_those_of_the_architectures_that_were_held_out():
    generator = np.random.default_rng(0)
    codes = generator.permutation(list(itertools.product(range(4), repeat=6)))[:500]
    names = CELLS.groups["cell"].operations[0]
    genotypes = [parse(arch(*(names[column] for column in code))) for code in codes]
    costs = generator.uniform(1, 5, (6, 4))
    values = [costs[range(6), code].sum() + generator.normal(0, 0.8) for code in codes]
    found = fit_costs(genotypes, values, CELLS.groups, "x")
    assert (found.fitted, found.held_out) == (400, 100)
    true = np.array(values[400:])
    said = np.array([found(one, CELLS.groups) for one in genotypes[400:]])
    assert found.r2 == pytest.approx(1 - ((true - said) ** 2).sum() / ((true - true.mean()) ** 2).sum())
    assert found.error == pytest.approx(np.median(np.abs(said - true) / true))
    assert 0.5 < found.r2 < 0.98


def test_what_cannot_be_fitted_is_refused_and_a_range_is_of_what_was_drawn():
    some = drawn(CELLS)
    with pytest.raises(ConfigError, match="too few to fit"):
        fit_costs(some[:5], [1.0] * 5, CELLS.groups, "x")
    with pytest.raises(ConfigError, match="all architectures cost the same"):
        fit_costs(some, [1.0] * len(some), CELLS.groups, "x")
    with pytest.raises(ConfigError, match="x: known of none"):
        range_of(lambda one: None, some, CELLS.groups, CELLS.derive, "x")
    equal = range_of(lambda one: 1.0, some, CELLS.groups, CELLS.derive, "x")
    assert (equal.smallest, equal.middle, equal.largest, equal.linear) == (1, 1, 1, None)
    # The dearest edge alone: no sum.
    uneven = range_of(
        lambda one: 1.0 + str(one).count("nor_conv_3x3") ** 2, some, CELLS.groups, CELLS.derive, "x"
    )
    assert not uneven.exact and uneven.largest <= 37


def test_thirty_numbers_stand_for_most_of_the_real_devices():
    table = read_costs(shared("data/nasbench201/nb201_latency_27devices.csv.gz"))
    space = NasBench201Space("nasbench201", list(OPERATIONS))
    archs = np.random.default_rng(0).permutation(sorted(table.columns["eyeriss"].values))[:1000]
    known = {one: parse(one) for one in archs}
    poor = []
    for name, column in table.columns.items():
        there = [one for one in archs if one in column.values]
        found = fit_costs([known[a] for a in there], [column.values[a] for a in there], space.groups, name)
        poor += [name] if found.r2 < POOR else []
        assert found.r2 > 0.6, name
    assert {"pixel2", "samsung_s7", "essential_ph_1"} <= set(poor) and len(poor) <= 5
    assert not [name for name in poor if re.match("1080ti|titan|fpga|eyeriss", name)]
    assert torch.is_tensor(found.costs["cell"])
