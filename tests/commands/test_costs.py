"""A search on a table of costs says each epoch what its architecture costs, and is not changed by it."""

import itertools

import pytest

from tests.analysis.test_tabular import OPERATIONS, arch
from tests.commands.test_resume import kill_at
from tests.commands.test_tabular import DIRICHLET, TINY, accuracy, derived, rows, search, summary

DEARNESS = {"none": 0, "skip_connect": 1, "avg_pool_3x3": 2, "nor_conv_1x1": 3, "nor_conv_3x3": 7}
ALL = list(itertools.product(OPERATIONS, repeat=6))


def cost(operations):
    """A made-up cost: a sum over edges, dearer on later ones."""
    return 2 + sum(DEARNESS[name] * (2 + edge) for edge, name in enumerate(operations))


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Overrides that name a table of accuracies and two of costs, and the figures of both."""
    folder = tmp_path_factory.mktemp("tables")
    figures = {arch(*one): (round(accuracy(one), 4), cost(one)) for one in ALL}
    (folder / "accuracies.csv").write_text(
        "arch,cifar10_test\n" + "".join(f"{a},{value}\n" for a, (value, _) in figures.items())
    )
    (folder / "costs.csv").write_text(
        "arch,phone,board\n"
        + "".join(f"{a},{price},{0 if price > 100 else price}\n" for a, (_, price) in figures.items())
    )
    (folder / "more.csv").write_text("arch,chip\n" + "".join(f"{a},1\n" for a in figures))
    named = f"tabular.costs=[{folder}/costs.csv,{folder}/more.csv]"
    return (f"tabular.file={folder}/accuracies.csv", "tabular.metric=cifar10_test", named), figures


def test_every_epoch_says_cost_regret_and_distance(run, tables, tmp_path):
    overrides, figures = tables
    budget = 60
    given = (*overrides, "tabular.cost=phone", "tabular.cost_unit=ms", f"tabular.budget={budget}")
    done = search(run, tmp_path, *DIRICHLET, *given)
    best = max(value for value, price in figures.values() if price <= budget)
    archs = derived(tmp_path)
    for one, row in zip(archs, rows(tmp_path / "metrics.csv"), strict=True):
        value, price = figures[one]
        assert float(row["cost"]) == price and int(row["budget_met"]) == (price <= budget)
        regret = row["regret_constrained"]
        assert (regret != "") == (price <= budget)
        assert regret == "" or float(regret) == pytest.approx(best - value)
        at_most = max(other for other, cheaper in figures.values() if cheaper <= price)
        assert float(row["front_distance"]) == pytest.approx(at_most - value)
    found, (value, price) = summary(tmp_path), figures[archs[-1]]
    assert (found["cost_of"], found["cost"], found["cost_unit"], found["cost_budget"]) == (
        "phone", price, "ms", budget,
    )  # fmt: skip
    assert found["budget_met"] is (price <= budget)
    assert found["cost_rank"] == 1 + sum(other < price for _, other in figures.values())
    assert found["cost_equals"] == sum(other == price for _, other in figures.values())
    assert f"cost:       phone {price} ms, " in done.out
    assert "left out and never filled in: board: " in done.out


def test_looking_costs_up_does_not_change_the_search_and_survives_a_kill(run, tables, tmp_path):
    overrides = (*DIRICHLET, *tables[0], "tabular.cost=phone", "trainer.enable_progress_bar=false")
    blind, whole, killed = (tmp_path / name for name in ("blind", "whole", "killed"))
    search(run, blind, *DIRICHLET)
    search(run, whole, *overrides)
    assert (blind / "architecture.csv").read_bytes() == (whole / "architecture.csv").read_bytes()
    kill_at(tmp_path, ("nas.engine.checkpoints", "", "refuse_broken", 2, ""), "search", *overrides,
            f"hydra.run.dir={killed}")  # fmt: skip
    done = run("search", f"resume={killed}")
    assert done.status == 0
    assert (whole / "metrics.csv").read_bytes() == (killed / "metrics.csv").read_bytes()
    keys = ("cost_of", "cost", "cost_budget", "budget_met", "regret_constrained", "front_distance")
    assert [summary(whole)[key] for key in keys] == [summary(killed)[key] for key in keys]
    # Without a budget neither is anything met nor regretted.
    assert [summary(whole)[key] for key in keys[2:5]] == [None, None, None]


def test_a_drawn_architecture_has_its_cost_too(run, tables, tmp_path):
    overrides, figures = tables
    drawn = [override for override in TINY if not override.startswith("method.")]
    search(run, tmp_path, *drawn, "method=random", *overrides, "tabular.cost=board", "tabular.budget=500")
    [row], found = rows(tmp_path / "metrics.csv"), summary(tmp_path)
    price = figures[found["genotype"]][1]
    # Zero is no cost: such an architecture is not known to be within any budget.
    assert found["cost"] == (None if price > 100 else price)
    assert found["budget_met"] is (price <= 100) and int(row["budget_met"]) == (price <= 100)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["tabular.cost=watch"], "has no such column; it has phone, board, chip"),
        (["tabular.cost=phone", "tabular.budget=1.5"], "no architecture of this space costs as little"),
        (["tabular.cost=phone", "tabular.budget=-1"], "must be null or a positive number"),
        (["tabular.budget=20"], "of which cost? tabular.cost=<column"),
        (["tabular.costs=null", "tabular.cost=phone"], "a column of which file? tabular.costs=<CSV>"),
        (["tabular.file=null", "tabular.cost=phone"], "costs stand beside accuracies"),
        (["tabular.costs=nowhere.csv"], "no such file"),
        (["tabular.costs=[]"], "name one CSV file at least"),
    ],
)
def test_costs_that_cannot_be_used_are_refused_before_anything_is_trained(
    run, tables, tmp_path, overrides, words
):
    done = run("search", *TINY, *tables[0], *overrides, f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 2 and words in done.err
    assert not (tmp_path / "a/config.yaml").exists()


def test_a_command_that_reads_no_costs_says_so(run, tables, tmp_path):
    done = run("rank", "space=nasbench201", *tables[0], f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 2 and "nas.rank reads no costs" in done.err
