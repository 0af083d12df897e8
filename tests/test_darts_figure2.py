"""Figure 2 of DARTS: our own updates end where the text's two numbers say that they end."""

import csv

import pytest

from experiments.darts import figure2


@pytest.mark.parametrize("xi", figure2.XIS)
def test_both_numbers_rest_where_the_closed_form_says(xi):
    places = figure2.trajectory(xi)
    assert places[0] == (2.0, -2.0)
    assert places[-1] == pytest.approx((2 / (1 + 2 * xi),) * 2, abs=1e-6)


def test_half_a_step_ahead_finds_the_solution_and_none_does_not():
    assert figure2.trajectory(0.5)[-1] == pytest.approx(figure2.SOLUTION, abs=1e-6)
    assert figure2.trajectory(0.0)[-1] == pytest.approx((2.0, 2.0), abs=1e-6)


@pytest.mark.pictures
def test_the_command_writes_the_ends_and_the_picture(tmp_path, capsys):
    figure2.main(["--results", str(tmp_path / "new")])
    with (tmp_path / "new/figure2.csv").open(newline="") as file:
        ends = list(csv.DictReader(file))
    assert [(row["xi"], row["alpha"]) for row in ends] == [
        ("0.0", "2.000000"), ("0.1", "1.666667"), ("0.25", "1.333333"), ("0.5", "1.000000")
    ]  # fmt: skip
    assert (tmp_path / "new/figure2.png").stat().st_size > 1000
    assert len(capsys.readouterr().out.split()) == 2
