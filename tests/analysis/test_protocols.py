"""What the runs of a protocol add up to."""

from nas.analysis import protocols


def test_trainings_of_one_cell_are_no_further_searches():
    """Means of 0.9 and 0.8 of two trainings each: 85 ± 7.07 % over n = 2 cells, whatever n counts above."""
    values = {"search/0": (0.88, 0.92), "search/1": (0.8, 0.8)}
    rows = [
        protocols.Row(
            "evaluate", f"evaluate/{seed}", of, seed, "", "finished", 1.0, False, {"test_accuracy": one}
        )
        for of, given in values.items()
        for seed, one in enumerate(given)
    ]
    found = protocols.final_figures(rows, "evaluate")
    line = "4 trainings of 2 cells: test_accuracy [%] of the cells' means 85.00 ± 7.07 (n=2)"
    assert found["test_accuracy"].n == 4 and protocols.cells_line(rows, found) == line
    # One training of each, or one cell: nothing to tell apart.
    assert protocols.cells_line(rows[::2], found) is None and protocols.cells_line(rows[:2], found) is None


def test_settings_of_a_grid_are_not_averaged():
    rows = [
        protocols.Row(
            "evaluate",
            f"evaluate/{run}",
            f"search/{run}",
            seed,
            setting,
            "finished",
            1.0,
            False,
            {"test_accuracy": one},
        )
        for run, (setting, seed, one) in enumerate(
            [("gamma=1", 0, 0.5), ("gamma=1", 1, 0.7), ("gamma=2", 0, 0.9)]
        )
    ]
    table = protocols.by_setting(rows, "evaluate")
    assert table == [
        ["setting", "n", "test_accuracy [%]"],
        ["gamma=1", "2", "60.00 ± 14.14"],
        ["gamma=2", "1", "90.00"],
    ]
    report = protocols.report(rows, protocols.final_figures(rows, "evaluate"), ["in all"], table)
    means, _, runs = report.partition("in all")
    assert "70.00" not in means and "gamma=2" in means and "70.00" in runs
    found = protocols.settings_summary(rows, "evaluate")
    assert found["gamma=1"]["n"] == 2 and found["gamma=2"] == {
        "n": 1,
        "test_accuracy": 0.9,
        "test_accuracy_std": None,
    }
    # One setting is a mean as ever.
    assert protocols.by_setting(rows[:2], "evaluate") == []
