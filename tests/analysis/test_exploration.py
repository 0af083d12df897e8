"""The accuracy of sampled architectures: their range, how many differ, and the picture of both."""

import warnings

import pytest
import torch

from nas.analysis.benchmark_table import BenchmarkTable
from nas.analysis.exploration import COLUMNS, check_exploration, explore
from nas.analysis.plots.exploration import draw_exploration
from nas.analysis.tabular import Tabular
from nas.errors import ConfigError
from nas.spaces.nasbench201.space import NasBench201Space
from tests.analysis.test_plots import picture
from tests.analysis.test_tabular import CONVS, OPERATIONS, POOLS, SKIPS
from tests.methods.flat import flat_method

SPACE = NasBench201Space("nasbench201")
SKIP, CONV, POOL = (OPERATIONS.index(name) for name in ("skip_connect", "nor_conv_3x3", "avg_pool_3x3"))


def tabular(metric="x_test"):
    figures = {CONVS: {"x_test": 94.0}, SKIPS: {"x_test": 54.0}, POOLS: {}}
    return Tabular(BenchmarkTable(figures, "tabular.file=x"), metric)


def favouring(*columns):
    """Strengths {cell: [S, 6, 5]}: draw s favours the operation columns[s] on every edge."""
    return {"cell": torch.nn.functional.one_hot(torch.tensor(columns), 5)[:, None].repeat(1, 6, 1).float()}


def test_every_draw_is_derived_and_looked_up():
    scores = {"cell": favouring(CONV)["cell"][0]}
    found = explore(SPACE, scores, favouring(SKIP, CONV, SKIP, POOL), tabular())
    assert found == {
        "samples": 4, "distinct": 3, "min": 0.54, "mean": pytest.approx((0.54 + 0.94 + 0.54) / 3),
        "max": 0.94, "derived": 0.94, "best": 0.94,
    }  # fmt: skip
    assert ("epoch", *found) == COLUMNS


def test_what_the_table_lacks_is_blank():
    found = explore(SPACE, {"cell": favouring(POOL)["cell"][0]}, favouring(POOL, POOL), tabular())
    assert (found["distinct"], found["best"]) == (1, 0.94)
    assert all(found[name] is None for name in ("min", "mean", "max", "derived"))


@pytest.mark.parametrize("relaxation", ["softmax", "dirichlet"])
def test_a_decided_distribution_draws_the_derived_architecture_only(relaxation):
    method = flat_method("x", {"cell": (6, 5)}, relaxation=relaxation)
    with torch.no_grad():
        method.alpha["cell"].copy_(torch.tensor([-30.0, -30.0, -30.0, 30.0, -30.0]).expand(6, 5))
    generator = torch.Generator().manual_seed(0)
    found = explore(SPACE, method.scores(), method.sample_strengths(20, generator), tabular())
    assert (found["distinct"], found["min"], found["derived"]) == (1, 0.94, 0.94)


@pytest.mark.parametrize("relaxation", ["softmax", "dirichlet"])
def test_an_undecided_distribution_draws_widely_and_repeatably_and_leaves_the_search_alone(relaxation):
    method = flat_method("x", {"cell": (6, 5)}, relaxation=relaxation)
    before = torch.get_rng_state()
    draws = [method.sample_strengths(50, torch.Generator().manual_seed(seed))["cell"] for seed in (1, 1, 2)]
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert explore(SPACE, method.scores(), {"cell": draws[0]}, tabular())["distinct"] > 40


@pytest.mark.parametrize(
    ("samples", "table", "trains", "words"),
    [
        (-1, tabular(), True, "whole number"),
        (True, tabular(), True, "whole number"),
        (1.5, tabular(), True, "whole number"),
        (10, None, True, "set tabular.file"),
        (10, tabular(None), True, "set tabular.metric to one of x_test"),
        (10, tabular(), False, "only draws"),
    ],
)
def test_an_exploration_that_cannot_be_looked_up_is_refused(samples, table, trains, words):
    with pytest.raises(ConfigError, match=rf"analysis\.exploration\.samples={samples}: .*{words}"):
        check_exploration(samples, table, trains)


def test_none_is_asked_for_by_default():
    check_exploration(0, None, trains=False)


def rows(number):
    return [
        {
            "epoch": e, "samples": 100, "distinct": 100 - e, "min": 0.1 + 0.005 * e, "mean": 0.8,
            "max": 0.94, "derived": 0.9, "best": 0.9437,
        }
        for e in range(number)
    ]  # fmt: skip


@pytest.mark.parametrize("number", [1, 3, 60])
def test_the_band_is_drawn(number, tmp_path):
    picture(draw_exploration(rows(number), tmp_path / "exploration.png"))


def test_epochs_that_the_table_does_not_know_leave_a_gap(tmp_path):
    some = rows(5)
    for name in ("min", "mean", "max", "derived"):
        del some[2][name]
    picture(draw_exploration(some, tmp_path / "exploration.png"))


def test_without_a_best_of_all_there_is_no_line_for_it(tmp_path):
    """As of a surrogate, of whose space nobody knows the best."""
    some = [{name: value for name, value in row.items() if name != "best"} for row in rows(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture(draw_exploration(some, tmp_path / "exploration.png"))


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no exploration"):
        draw_exploration([], tmp_path / "exploration.png")
    assert list(tmp_path.iterdir()) == []
