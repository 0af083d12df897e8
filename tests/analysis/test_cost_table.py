"""Costs beside accuracies: what cannot be one is counted, and the best within a budget is exact."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.analysis.benchmark_table import SIZE
from nas.analysis.constrained import Front, hypervolume
from nas.analysis.cost_table import read_costs
from nas.analysis.costed import Costed
from nas.analysis.sampling import pareto_front
from nas.analysis.tabular import open_tabular
from nas.errors import ConfigError
from nas.genotype import parse
from tests.analysis.test_tabular import CONVS, DRNAS, EMPTY, POOLS, SKIPS, TEXT, settings, table_file
from tests.shared import shared

COSTS = f"""arch,phone,board
{SKIPS},4,10.5
{CONVS},20,
{POOLS},4,0.2
{DRNAS},18,0.3
{EMPTY},3,-1
"""
POINTS = st.lists(st.tuples(st.integers(1, 8), st.integers(0, 6)), min_size=1, max_size=30)


def test_what_cannot_be_a_cost_is_left_out_by_its_reason(tmp_path, caplog):
    table = read_costs(table_file(tmp_path, COSTS))
    # The median of 10.5, 0.2 and 0.3 is 0.3: pools may take less than 5% of it, convolutions may not.
    assert table.columns["board"].values == {SKIPS: 10.5, POOLS: 0.2, DRNAS: 0.3}
    odd = f"arch,x\n{SKIPS},10\n{POOLS},0.1\n{CONVS},0.2\n{DRNAS},30\n{EMPTY},nan\n"
    column = read_costs(table_file(tmp_path, odd, "odd.csv")).columns["x"]
    assert column.values == {SKIPS: 10, POOLS: 0.1, DRNAS: 30} and len(column) == len(column.values) == 3
    assert CONVS not in column.values and column.values.get(EMPTY) is None and column.values.get("?") is None
    assert column.left_out == {"below 5% of the median in spite of convolutions": 1, "not finite": 1}
    # The median of 10, 0.1, 0.2 and 30 is 5.1.
    for floor, kept in ((0, True), (0.039, True), (0.04, False), (0.5, False)):
        column = read_costs(tmp_path / "odd.csv", floor=floor).columns["x"]
        assert (CONVS in column.values, POOLS in column.values) == (kept, True)
        words = f"below {100 * floor:g}% of the median in spite of convolutions"
        assert column.left_out == {"not finite": 1} | ({} if kept else {words: 1})
    for floor in (1, -0.1, float("nan")):
        with pytest.raises(ConfigError, match=r"tabular\.cost_floor=.*: must be a share"):
            read_costs(tmp_path / "odd.csv", floor=floor)
    table.tell()
    assert caplog.messages == [
        "tabular.costs (table.csv): left out and never filled in: board: 1 not above 0"
    ]


def test_whole_milliseconds_share_ranks(tmp_path):
    phone = read_costs(table_file(tmp_path, COSTS)).column("phone")
    assert [(phone.rank(cost), phone.equals(cost)) for cost in (3, 4, 18, 20)] == [
        (1, 1), (2, 2), (4, 1), (5, 1),
    ]  # fmt: skip


def test_columns_of_several_files_are_joined_and_named_once(tmp_path):
    one = table_file(tmp_path, COSTS, "one.csv")
    two = table_file(tmp_path, f"arch,x\n{SKIPS},7\n", "two.csv")
    assert read_costs([one, str(two)]).of(SKIPS) == {"phone": 4, "board": 10.5, "x": 7}
    with pytest.raises(ConfigError, match=r"column 'phone' is in .*one\.csv too"):
        read_costs([one, one])
    with pytest.raises(ConfigError, match=r"column 'phone' is in tabular\.file too"):
        read_costs(one, taken=["phone"])
    with pytest.raises(ConfigError, match="has no such column; it has phone, board"):
        read_costs(one).column("pixel")
    for text, words in (
        (f"arch,x_test\n{SKIPS},7\n", "holds accuracies by its name"),
        (f"arch,x\n{SKIPS},fast\n", "holds 'fast', which is not a number"),
        ("arch,x\nresnet,7\n", "'resnet' is not a NAS-Bench-201 architecture"),
        (f"arch,x\n{SKIPS},\n", "no column of costs"),
    ):
        with pytest.raises(ConfigError, match=words):
            read_costs(table_file(tmp_path, text, "bad.csv"))
    bad = read_costs(table_file(tmp_path, f"arch,x\n{SKIPS},0\n", "zero.csv"))
    with pytest.raises(ConfigError, match=r"tabular\.cost=x: no figure .* \(x: 1 not above 0\)"):
        bad.column("x")


def test_costs_need_accuracies_beside_them(tmp_path):
    file = str(table_file(tmp_path, COSTS))
    with pytest.raises(ConfigError, match=r"tabular\.costs=.*tabular\.file=<CSV>"):
        open_tabular(settings(None, name="none") | {"costs": file}, "nasbench201", "cifar10")
    with pytest.raises(ConfigError, match=r"tabular\.cost_floor=0\.1: without effect"):
        open_tabular(settings(file) | {"cost_floor": 0.1}, "nasbench201", "cifar10")


@given(POINTS, st.integers(0, 9))
def test_the_best_within_a_budget_is_that_of_a_literal_look(points, budget):
    front = Front(*zip(*points, strict=True))
    within = [accuracy for cost, accuracy in points if cost <= budget]
    assert front.best(budget) == (max(within) if within else None)
    nobody_beats = {
        point for point, on in zip(points, pareto_front(*zip(*points, strict=True)), strict=True) if on
    }
    assert front.points() == sorted(nobody_beats)
    for cost, accuracy in points:
        at_most = max(other for price, other in points if price <= cost)
        assert front.distance(cost, accuracy) == at_most - accuracy


@given(POINTS)
def test_the_hypervolume_is_the_number_of_unit_squares_that_are_beaten(points):
    squares = sum(
        any(cost <= x and accuracy >= y + 1 for cost, accuracy in points)
        for x, y in itertools.product(range(8), range(6))
    )
    assert hypervolume(points, 8) == squares


def test_a_quantile_is_a_cost_that_there_is():
    front = Front([4, 1, 3, 2], [1, 1, 1, 1])
    assert [front.quantile(share) for share in (0.1, 0.25, 0.5, 0.51, 1)] == [1, 1, 2, 3, 4]


def test_the_report_says_null_where_something_is_not_known(tmp_path):
    found = open_tabular(
        settings(table_file(tmp_path, TEXT)) | {"costs": str(table_file(tmp_path, COSTS, "costs.csv"))},
        "nasbench201",
        "cifar10",
    )
    costs = found.costs.column("phone").values
    front = found.front(costs, ["skip_connect", "nor_conv_3x3", "avg_pool_3x3", "none"])
    assert front.points() == [(3, 10), (4, 54.3), (20, 94)]
    # Only what the space can hold counts.
    assert found.front(costs, ["none", "avg_pool_3x3"]).points() == [(3, 10), (4, 54.3)]

    def costed(budget):
        return Costed(
            "phone", lambda one: costs.get(str(one)), "ms", budget, front, found.accuracy, lambda cost: (1, 1)
        )

    empty, convolutions = parse(EMPTY), parse(CONVS)
    assert costed(4).report(empty) == {
        "cost_of": "phone", "cost": 3, "cost_unit": "ms", "cost_budget": 4, "budget_met": True,
        "regret_constrained": 44.3, "front_distance": 0.0, "cost_rank": 1, "cost_equals": 1,
    }  # fmt: skip
    above = costed(4).report(convolutions)
    assert (above["budget_met"], above["regret_constrained"], above["front_distance"]) == (False, None, 0)
    assert costed(4).words(convolutions) == (
        "phone 20 ms, ABOVE the budget of 4; 0.00 below the best at this cost or less"
    )
    assert costed(None).columns == ("cost", "front_distance")
    assert costed(None).report(empty)["budget_met"] is None
    unknown = parse(DRNAS.replace("skip_connect", "none"))
    assert costed(4).row(unknown) == {
        "cost": None, "budget_met": 0, "regret_constrained": None, "front_distance": None,
    }  # fmt: skip
    assert costed(4).words(unknown).startswith("phone: not known of this architecture, not known to be")


def test_the_real_columns_have_the_nonsense_that_is_known_of_them(caplog):
    table = read_costs(shared("data/nasbench201/nb201_latency_27devices.csv.gz"))
    assert len(table.columns) == 27
    left_out = {name: SIZE - len(one) for name, one in table.columns.items() if one.left_out}
    assert left_out == {"pixel3": 206, "raspi4": 217}
    whole = [name for name, one in table.columns.items() if all(v == int(v) for v in one.values.values())]
    assert whole == ["essential_ph_1", "pixel2", "samsung_a50", "samsung_s7"]
    pixel2 = table.columns["pixel2"]
    counts = np.unique(list(pixel2.values.values()), return_counts=True)[1]
    assert len(counts) < 50 and pixel2.equals(15) == max(counts)


@pytest.mark.parametrize("name", ["params", "latency", "run"])
def test_a_column_whose_name_means_something_else_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=f"column '{name}' .* rename it"):
        read_costs(table_file(tmp_path, COSTS.replace("board", name)))
