"""The page of several runs: means with intervals, a baseline, and what makes runs not comparable."""

import pytest

from nas.analysis.summaries import conditions_of
from nas.analysis.sweeps import Run
from nas.errors import ConfigError
from nas.genotype import parse
from nas.pages import index_page as index
from nas.pages.group_page import Group, GroupPage
from nas.pages.index_page import Entry, index_page
from nas.pages.members import Member
from tests.pages.folders import CELL, SUMMARY

ACCURACY = {
    "darts1": (0.90, 0.91, 0.92, 0.93),
    "random": (0.80, 0.82, 0.81, 0.85),
    "drnas": (0.95, 0.94, 0.97, 0.96),
}


def members(**further):
    found = []
    for method, values in ACCURACY.items():
        for seed, value in enumerate(values):
            summary = SUMMARY | {"seed": seed, "method": method} | further.get(method, {})
            run = Run(f"{method}/{seed}", {"method": method, "seed": str(seed)}, "finished",
                      figures={"test_accuracy": value}, conditions=conditions_of(summary))  # fmt: skip
            rows = [{"epoch": str(e), "valid_accuracy": str(value - 0.1 / (e + 1))} for e in range(3)]
            found.append(Member(run, summary, rows))
    return found


def group(runs, baseline=None, figure=None):
    return Group("sweep", "runs", runs, ["seed"], figure, baseline, [], [])


def tables(page):
    return {one.caption: one for section in page.sections for one in section.blocks if one.kind == "table"}


def fields(row):
    return [cell.text for cell in row]


def test_a_setting_has_mean_deviation_and_interval_and_its_values(parsed):
    page = GroupPage(group(members())).page()
    row = tables(page)["Settings"].rows[0]
    assert fields(row)[:2] == ["darts1", "4"]
    assert fields(row)[2].startswith("91.50 ± 1.29 [90.")
    assert row[2].title == "n = 4: 90.00, 91.00, 92.00, 93.00"
    assert page.tiles[-1].value == "drnas"
    assert [one for one in parsed(page).ids() if one in ("result", "curves", "runs")] == [
        "result",
        "curves",
        "runs",
    ]


def test_a_baseline_is_compared_seed_by_seed_and_what_so_few_can_show_is_said():
    found = tables(GroupPage(group(members(), "method=random")).page())["Against method=random"]
    first, second = (fields(row) for row in found.rows)
    assert first[:3] == ["method=darts1", "4 pairs", "+9.50"]
    assert second[:3] == ["method=drnas", "4 pairs", "+13.50"]
    # Of four pairs all signs agree: 2 of 16 arrangements, and no p can be smaller.
    assert first[5] == second[5] == "0.125" and first[7] == "0.125" and first[6] == "0.250"


def test_a_baseline_that_is_no_row_is_refused():
    with pytest.raises(ConfigError, match="baseline=method=nobody: no row is that; there are method=darts1"):
        GroupPage(group(members(), "method=nobody"))


def test_a_figure_that_no_run_has_is_refused():
    with pytest.raises(ConfigError, match="figure=table_rank: no run has it"):
        GroupPage(group(members(), None, "table_rank"))


def test_unequal_budgets_data_and_versions_are_flagged():
    runs = members(random={"epochs": 0, "split_hash": "another", "versions": {"torch": "1.0"}})
    found = GroupPage(group(runs)).page()
    notes = [one.text for section in found.sections for one in section.blocks if one.kind == "note"]
    assert "Not equal, budget: epochs: 3 in method=darts1, method=drnas; 0 in method=random." in notes
    assert any("data: hash of the split" in one for one in notes) and any("torch" in one for one in notes)
    equal = GroupPage(group(members())).page()
    assert not [one for section in equal.sections for one in section.blocks if "Not equal" in str(one)]


def test_what_did_not_finish_counts_nowhere_and_is_told():
    runs = members()
    runs[0] = Member(Run("darts1/0", {"method": "darts1", "seed": "0"}, "died", "died after 2 epochs"))
    page = GroupPage(group(runs)).page()
    assert fields(tables(page)["Settings"].rows[0])[1] == "3 of 4"
    assert tables(page)["Every run"].rows[0][1].title == "died after 2 epochs"


def test_curves_have_the_mean_over_seeds_and_a_band(parsed):
    page = GroupPage(group(members())).page()
    _, charts = next(one for one in page.sections if one.key == "curves").blocks
    chart, of_time = charts.items
    assert of_time.title.endswith(", over the time of a run")
    assert fields(chart.table.rows[2]) == ["3", "88.17", "78.67", "92.17"]
    band = chart.spec["layer"][0]["encoding"]
    assert (band["y"]["field"], band["y2"]["field"]) == ("l", "u")


def test_an_index_draws_each_architecture_once_and_stops_where_it_would_be_too_large(parsed, monkeypatch):
    entries = [Entry(one, parse(CELL)) for one in members()]
    calls = []
    monkeypatch.setattr(
        index, "draw", lambda genotype, draw=index.draw: calls.append(genotype) or draw(genotype)
    )
    page = index_page("runs", entries, [], "")
    assert len(calls) == 1
    assert all(one["drawings"].items for one in page.extra["runs"])
    monkeypatch.setattr(index, "PARTS", 30)
    page = index_page("runs", entries, [], "")
    assert [bool(one["drawings"].items) for one in page.extra["runs"]] == [True] * 2 + [False] * 10
    found = parsed(page, "index.html.j2")
    assert len([tag for tag, _ in found.elements if tag == "template"]) == len(entries)
