"""What runs add up to: which keys are axes, means over seeds, and where unfinished runs go."""

import csv
import io
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from nas.analysis import summaries, sweeps
from nas.analysis.plots.sweep import draw_sweep
from nas.analysis.sweeps import Run
from nas.errors import ConfigError


def job(number, accuracy=None, status="finished", **overrides):
    figures = {} if accuracy is None else {"test_accuracy": accuracy}
    typed = {key.replace("__", "."): str(value) for key, value in overrides.items()}
    return Run(
        str(number), {"dataset": "digits", **typed}, status, "" if figures else "failed: why", "", figures
    )


LAMBDA = [
    job(0, 0.90, method__lam="0", seed=0),
    job(1, 0.94, method__lam="0", seed=1),
    job(2, 0.80, method__lam="1e-3", seed=0),
    job(3, None, "failed", method__lam="1e-3", seed=1),
    job(4, None, "stopped", method__lam="1", seed=0),
]


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_what_varies_is_an_axis_and_seeds_are_averaged_over():
    assert sweeps.axes(LAMBDA) == ["method.lam"]
    assert sweeps.axes(LAMBDA, over=()) == ["method.lam", "seed"]
    assert sweeps.axes(LAMBDA, over=("method.lam", "seed")) == []
    shown = [job(0, 0.9, logger="csv", traceback="true"), job(1, 0.9, logger="wandb", traceback="false")]
    assert sweeps.axes(shown) == [], "how a run is shown changes no result"


def test_n_counts_finished_runs_and_a_setting_without_one_stays_in_the_table():
    zero, small, large = sweeps.settings(LAMBDA)
    assert [(s.values, s.runs, s.n) for s in (zero, small, large)] == [
        (("0",), 2, 2),
        (("1e-3",), 2, 1),
        (("1",), 1, 0),
    ]
    assert zero.stat("test_accuracy").mean == pytest.approx(0.92)
    assert zero.stat("test_accuracy").deviation == pytest.approx(0.04 / 2**0.5), "n - 1 in the denominator"
    assert small.stat("test_accuracy") == sweeps.Stat(0.80, None, 1)
    assert large.stat("test_accuracy") == sweeps.Stat(None, None, 0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_mean_and_deviation_are_those_of_the_standard_library(values):
    found = sweeps.stat(values)
    assert found.mean == pytest.approx(statistics.mean(values), rel=1e-9, abs=1e-9)
    assert found.deviation == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_one_setting_however_it_is_typed(value):
    assert sweeps.canonical(repr(value)) == sweeps.canonical(f"{value:.17e}") == value


def test_two_spellings_of_a_value_are_one_row():
    runs = [job(0, 0.9, lr="1e-3", seed=0), job(1, 0.7, lr="0.001", seed=1), job(2, 0.5, lr="0.1", seed=0)]
    assert [setting.n for setting in sweeps.settings(runs)] == [2, 1]


key = st.from_regex(r"[a-z]{1,5}(\.[a-z]{1,5}){0,2}", fullmatch=True)


@given(st.dictionaries(key, st.from_regex(r"[a-z0-9.=-]{1,8}", fullmatch=True)))
def test_overrides_are_read_as_typed(typed):
    # Values may hold a "=" themselves.
    typed = {key: value for key, value in typed.items() if not key.startswith("hydra.")}
    assert sweeps.parse_overrides(f"{key}={value}" for key, value in typed.items()) == typed
    assert sweeps.parse_overrides(f"++{key}={value}" for key, value in typed.items()) == typed


def test_settings_of_hydra_are_no_settings_and_deletions_are():
    assert sweeps.parse_overrides(["hydra.job.name=a", "hydra/callbacks=sweep", "~a.b"]) == {
        "~a.b": "deleted"
    }


def test_a_run_of_unknown_settings_belongs_to_no_row():
    lost = Run("9", {}, "lost", "it has no summary.json")
    assert [s.runs for s in sweeps.settings([*LAMBDA, lost])] == [2, 2, 1]
    assert "- 9: it has no summary.json" in sweeps.unfinished_markdown([*LAMBDA, lost])


def test_figures_of_a_summary():
    summary = {
        "schema": 1, "status": "finished", "seed": 3, "macs": 10, "params": 7, "weight_loss": None,
        "hessian_eigenvalue": float("inf"), "hessian_eigenvalue_mu": 0.5, "architecture_accuracy": 0.5,
        "table": {
            "cifar10_test": 91.0, "cifar100_test": 70.0, "cifar10_val": 80.0, "metric": "cifar10_test",
            "rank": 12, "of": 15625, "gap": 3.37, "best": 94.37,
        },
    }  # fmt: skip
    assert list(summaries.figures_of(summary).items()) == [
        ("table_accuracy", 91.0),
        ("table_rank", 12.0),
        ("table_gap", 3.37),
        ("table_cifar100_test_accuracy", 70.0),
        ("architecture_accuracy", 0.5),
        ("hessian_eigenvalue_mu", 0.5),
        ("params", 7.0),
        ("macs", 10.0),
    ]
    assert summaries.figures_of({"table": None}) == {}
    unknown = {"metric": None, "rank": None, "gap": None, "cifar10_test": 91.0}
    assert summaries.figures_of({"table": unknown}) == {"table_cifar10_test_accuracy": 91.0}


def test_csv_of_runs_keeps_every_run_and_its_reason():
    rows = read(sweeps.runs_csv(LAMBDA))
    assert [row["folder"] for row in rows] == list("01234")
    assert list(rows[0].items()) == [
        ("folder", "0"),
        ("status", "finished"),
        ("method.lam", "0"),
        ("seed", "0"),
        ("test_accuracy", "0.9"),
        ("reason", ""),
    ]
    assert (rows[3]["status"], rows[3]["test_accuracy"], rows[3]["reason"]) == ("failed", "", "failed: why")


def test_csv_of_settings_leaves_blank_what_is_not_known():
    rows = read(sweeps.table_csv(LAMBDA))
    assert [(r["method.lam"], r["runs"], r["n"], r["test_accuracy_sd"]) for r in rows[1:]] == [
        ("1e-3", "2", "1", ""),
        ("1", "1", "0", ""),
    ]


def test_markdown_reads_as_a_table():
    assert sweeps.table_markdown(LAMBDA).splitlines() == [
        "| method.lam |  n | test_accuracy [%] |",
        "| ---------- | -: | ----------------: |",
        "| 0          |  2 |      92.00 ± 2.83 |",
        "| 1e-3       |  1 |             80.00 |",
        "| 1          |  0 |                   |",
    ]


def test_a_figure_that_some_runs_lack_says_how_many_have_it():
    both, size = {"params": 4e6, "hessian_eigenvalue": 0.75}, {"params": 6e6}
    figures = [{"params": 2e6, "hessian_eigenvalue": 0.25}, both, size]
    runs = [Run(str(seed), {"seed": str(seed)}, "finished", figures=f) for seed, f in enumerate(figures)]
    assert "| 0.5000 ± 0.3536 (2) | 4.000 ± 2.000 |" in sweeps.table_markdown(runs)


def test_a_bar_in_a_value_does_not_split_the_table():
    runs = [job(0, 0.9, genotype="|none~0|"), job(1, 0.8, genotype="DARTS_V2")]
    assert r"| \|none~0\| " in sweeps.table_markdown(runs)


def test_the_picture_puts_the_longest_numeric_axis_along_x():
    runs = [
        job(10 * i + j, 0.5, space=space, space__partial=k)
        for i, space in enumerate(("s1", "s2", "darts"))
        for j, k in enumerate((1, 2))
    ]
    along, series = sweeps.curves(runs, "test_accuracy")
    assert along == "space.partial"
    assert list(series) == ["space=s1", "space=s2", "space=darts"]
    assert series["space=s1"] == [("1", (0.5,)), ("2", (0.5,))]
    seeds = [job(0, 0.5, seed=0), job(1, 0.7, seed=1)]
    assert sweeps.curves(seeds, "test_accuracy") == ("", {"": [("all", (0.5, 0.7))]})


def test_a_figure_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="figure=foo: no run has it; there are test_accuracy"):
        sweeps.main_figure(LAMBDA, "foo")
    assert sweeps.main_figure(LAMBDA) == "test_accuracy"
    assert sweeps.main_figure(LAMBDA[3:]) is None


TABLE_5 = ("0", "5e-4", "1e-3", "5e-3", "1e-2", "1e-1", "1")


@pytest.mark.parametrize(
    "ticks",
    [TABLE_5, TABLE_5[1:], ("1", "2", "4", "8"), ("-40", "0", "100"), ("darts", "s1"), ("all",), ("3",)],
    ids="_".join,
)
def test_every_kind_of_axis_draws_what_it_is_given(ticks, tmp_path):
    points = [(tick, [90.0 + i, 91.0 + i, 95.0]) for i, tick in enumerate(ticks)]
    path = draw_sweep({"": points}, tmp_path / "figures/a.png", "key", "test accuracy [%]")
    pixels = imread(path)[..., :3]
    # The faint points are the only blue there is: none may lie outside the axes.
    blue = (pixels[..., 2] - pixels[..., 0] > 0.2).any(axis=0)
    assert np.diff(blue.astype(int)).tolist().count(1) == len(ticks)


def test_a_value_whose_runs_all_failed_does_not_stretch_the_axis(tmp_path):
    sound = [("0.1", [1.0, 2.0]), ("0.2", [2.0, 3.0])]
    draw_sweep({"": sound}, tmp_path / "a.png", "lr", "loss")
    draw_sweep({"": [*sound, ("1e30", [])]}, tmp_path / "b.png", "lr", "loss")
    # Nor do settings of which no run has the figure, as a folder of ordinary runs holds them.
    draw_sweep({"": sound, "method=random": [("1e30", [])]}, tmp_path / "c.png", "lr", "loss")
    assert (imread(tmp_path / "a.png") == imread(tmp_path / "b.png")).all()


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no run"):
        draw_sweep({"": [("1", [])]}, tmp_path / "a.png", "lr", "loss")


def test_perplexities_lead_the_table_and_the_picture_of_texts():
    figures = {
        "macs": 23e6, "architecture_perplexity": 812.5, "test_loss": 4.03, "valid_perplexity": 58.123,
        "test_perplexity": 56.1,
    }  # fmt: skip
    found = summaries.figures_of({"status": "finished", **figures})
    assert list(found) == [
        "test_perplexity", "test_loss", "valid_perplexity", "architecture_perplexity", "macs"
    ]  # fmt: skip
    runs = [Run(str(seed), {"seed": str(seed)}, "finished", figures=found) for seed in (0, 1)]
    assert sweeps.main_figure(runs) == "test_perplexity"
    row = sweeps.table_markdown(runs).splitlines()[-1].split("|")
    assert [cell.strip() for cell in row[2:-1]] == [
        "56.10 ± 0.00", "4.030 ± 0.000", "58.12 ± 0.00", "812.50 ± 0.00", "23.000 ± 0.000"
    ]  # fmt: skip


def test_a_perplexity_beyond_all_numbers_counts_in_no_mean():
    assert summaries.figures_of({"status": "finished", "test_perplexity": float("inf")}) == {}


def test_accuracies_of_a_table_are_in_per_cent_however_small():
    """An architecture of nothing but `none` reaches 0.83 % on ImageNet-16-120."""
    assert sweeps.unit("table_accuracy", [0.83]).factor == 1
    assert sweeps.unit("table_in16_test_accuracy", [0.83]).factor == 1
    assert sweeps.unit("test_accuracy", [0.83]).factor == 100
