"""`nas.sweeps baseline=...`: rows against a named one, what is not equal, and the figure along the way."""

import csv
import json
import re

import pytest

from tests.conftest import ROOT

BASELINE = "baseline=method=darts1"


def make(folder, method, seed, accuracies, command="search", **summary):
    """A run folder as a search leaves it: a figure of a benchmark's table after each epoch."""
    place = folder / f"{method}{seed}"
    place.mkdir(parents=True)
    table = {"metric": "cifar10_test", "cifar10_test": accuracies[-1], "rank": 5, "gap": 1.0}
    found = {
        "schema": 1,
        "command": command,
        "status": "finished",
        "epochs": len(accuracies),
        "seconds": 60.0,
    }
    (place / "summary.json").write_text(json.dumps(found | {"table": table} | summary))
    (place / "overrides.yaml").write_text(f"- method={method}\n- seed={seed}\n")
    rows = "".join(f"{epoch},{one / 100}\n" for epoch, one in enumerate(accuracies))
    (place / "metrics.csv").write_text(f"epoch,table_accuracy\n{rows}")
    return place


@pytest.fixture
def folder(tmp_path):
    """Six searches of two methods: the second is better, and its code another."""
    for seed in range(6):
        make(tmp_path / "runs", "darts1", seed, [60, 70, 80 + seed], git_commit="a1")
        make(tmp_path / "runs", "drnas", seed, [60, 85, 90 + seed], git_commit="b2")
    return tmp_path / "runs"


def table(folder):
    with (folder / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.pictures
def test_rows_stand_against_the_baseline(folder, run):
    done = run("sweeps", f"folder={folder}", BASELINE)
    assert (done.status, done.err) == (0, "")
    base, better = table(folder)
    assert (base["method"], base["table_accuracy_p"]) == ("darts1", "")
    assert float(better["table_accuracy_difference"]) == 10
    assert float(better["table_accuracy_p"]) == float(better["table_accuracy_p_holm"]) == 2 / 2**6
    assert better["table_accuracy_unequal"] == "commit"
    text = (folder / "table.md").read_text()
    assert "## table_accuracy [%]: 95 % intervals, and against method=darts1" in text
    assert "> Not equal, commit: a1 in method=darts1; b2 in method=drnas." in text
    assert text.split("\n\n", 2)[2].strip() in done.out
    assert (folder / "figures/anytime.png").stat().st_size > 20_000
    with (folder / "sweep.csv").open(newline="") as file:
        singles = [row["table_accuracy"] for row in csv.DictReader(file) if row["method"] == "drnas"]
    assert singles == [f"{90.0 + seed}" for seed in range(6)], "every single value stays"


def test_without_a_baseline_there_are_intervals_and_nothing_is_compared(folder, run):
    assert run("sweeps", f"folder={folder}", "level=0.8").status == 0
    row = table(folder)[0]
    assert row["table_accuracy_interval"] == "0.8 BCa bootstrap"
    assert 80 <= float(row["table_accuracy_low"]) < float(row["table_accuracy_high"]) <= 85
    assert "table_accuracy_p" not in row


def test_the_rank_test_is_the_other_choice(folder, run):
    assert run("sweeps", f"folder={folder}", BASELINE, "test=wilcoxon", "figure=table_gap").status == 0
    assert table(folder)[1]["table_gap_test"] == "Wilcoxon signed-rank, exact"
    assert float(table(folder)[1]["table_gap_p"]) == 1


def test_a_damaged_table_of_one_run_costs_no_picture(folder, run):
    (folder / "drnas3/metrics.csv").write_bytes(b"\xff\xfe")
    (folder / "drnas4/metrics.csv").write_text("epoch,table_accuracy\n0,nan\nx,0.5\n1,0.5,7\n2,1e400\n")
    done = run("sweeps", f"folder={folder}", BASELINE)
    assert (done.status, done.err) == (0, "")
    assert f"curve: {folder / 'figures/anytime.png'}" in done.out


def test_runs_without_a_course_have_no_curve(folder, run):
    done = run("sweeps", f"folder={folder}", "figure=table_rank")
    assert done.status == 0 and "curve:" not in done.out
    assert not (folder / "figures/anytime.png").exists()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "baseline=method=dart",
            "baseline=method=dart: no row is that; there are method=darts1; method=drnas",
        ),
        ("test=t", "test=t: must be one of permutation, wilcoxon"),
        ("level=95", "level=95: must be"),
        ("level=1", "level=1: must be between 0 and 1, such as 0.95"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_message(folder, run, override, words):
    done = run("sweeps", f"folder={folder}", override)
    assert done.status == 2
    assert done.err.count("error: ") == 1 and words in done.err
    assert not (folder / "table.md").exists()


def test_the_example_of_the_document_has_the_columns_that_are_printed(folder, run):
    text = (ROOT / "docs/sweeps.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^python -m nas.sweeps (folder=\S+) (baseline=\S+)$", text, re.MULTILINE)
    assert run("sweeps", f"folder={folder}", command[1]).status == 0
    made = (folder / "table.md").read_text()

    def heads(of):
        return [
            [cell.strip() for cell in line.split("|")]
            for line in of.splitlines()
            if line.startswith("| row ")
        ]

    assert heads(text) == heads(made) != []


def test_a_baseline_of_runs_without_a_figure_is_refused(tmp_path, run):
    place = make(tmp_path / "runs", "darts1", 0, [50.0])
    (place / "summary.json").write_text('{"status": "finished"}')
    done = run("sweeps", f"folder={tmp_path / 'runs'}", BASELINE)
    assert done.status == 2 and "no finished run has a figure to compare" in done.err
