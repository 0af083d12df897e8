"""`nas.protocol` over a list of budgets: the whole front by one command, beside the exact one."""

import csv
import json

import pytest

from nas.analysis.constrained import Front
from tests.analysis.test_plots import picture
from tests.commands.test_costs import tables
from tests.commands.test_protocol import forked
from tests.commands.test_tabular import TINY

__all__ = ["forked", "tables"]
SHORT = [one for one in TINY if not one.startswith(("method.", "trainer.max"))]


# How a budget is asked for -> what every search is told: one that draws, and one that keeps to it.
ASKED = {
    "tabular.budget": ("method=random", "tabular.cost=phone"),
    "method.cost.budget": ("method=drnas_nb201", "method.cost.of=phone", "trainer.max_epochs=1"),
}


@pytest.mark.pictures
@pytest.mark.parametrize("key", ASKED)
def test_a_grid_of_budgets_ends_in_a_front(run, forked, tables, tmp_path, key):
    overrides, figures = tables
    folder = tmp_path / "a"
    told = [one for one in ASKED[key] if not one.startswith("tabular")]
    given = (
        "protocol=table", *overrides, "tabular.cost_unit=ms", "search.seeds=1",
        *[one for one in ASKED[key] if one.startswith("tabular")],
        f"search.overrides=[{','.join([*told, *SHORT])}]",
        f"search.grid=[[{key}=45],[{key}=90]]",
    )  # fmt: skip
    done = run("protocol", *given, f"hydra.run.dir={folder}")
    assert done.status == 0, done.err
    with (folder / "front.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["budget"]) for row in rows] == [45, 90]
    exact = Front([price for _, price in figures.values()], [value for value, _ in figures.values()])
    report = (folder / "table.md").read_text()
    assert "Accuracy against cost" in report and "| asked |" in report
    for row in rows:
        value, price = figures[row["genotype"]]
        assert (float(row["phone"]), float(row["cifar10_test"])) == (price, value)
        met = price <= float(row["budget"])
        assert row["budget_met"] == ("yes" if met else "no")
        told_met = f" {float(row['budget']):g} | {'yes' if met else ' NO'} | "
        assert told_met in report and f" {exact.distance(price, value):.2f} | " in report
    found = json.loads((folder / "summary.json").read_text())
    assert (found["front"], found["front_unit"], found["searches"]) == ("phone", "ms", 2)
    assert found["hypervolume"] <= found["hypervolume_exact"]
    assert "accuracy against cost" in done.out
    picture(folder / "figures/front.png")
