"""What the rows of a sweep show: who is compared with whom, how it is written, and what is not equal."""

import csv
import io
import time

import pytest

from nas.analysis import statistics as stats
from nas.analysis import sweeps
from nas.analysis.sweep_comparison import Asked, compared, comparison_markdown, csv_columns
from nas.analysis.sweeps import Run
from nas.errors import ConfigError

EQUAL = {"epochs": 10.0, "seconds": 100.0, "dataset": "digits", "split_hash": "1f", "git_commit": "ab"}
FIGURE = "test_accuracy"


def job(method, seed, accuracy, conditions=EQUAL, **overrides):
    typed = {"method": method, "seed": str(seed)} | {key: str(value) for key, value in overrides.items()}
    return Run(f"{method}{seed}", typed, "finished", "", "", {FIGURE: accuracy}, dict(conditions))


def rows_of(accuracies, method, seeds=range(10), **more):
    return [job(method, seed, one, **more) for seed, one in zip(seeds, accuracies, strict=False)]


BASE = (0.80, 0.82, 0.81, 0.85, 0.79, 0.83)
BETTER = (0.90, 0.91, 0.93, 0.94, 0.90, 0.95)
ALIKE = (0.81, 0.81, 0.80, 0.86, 0.78, 0.84)
RUNS = [*rows_of(BASE, "darts1"), *rows_of(BETTER, "drnas"), *rows_of(ALIKE, "random")]


def test_rows_are_compared_seed_by_seed_and_adjusted_together():
    base, better, alike = compared(RUNS, Asked(FIGURE, baseline="method=darts1")).rows
    expected = stats.compare(dict(enumerate(BETTER)), dict(enumerate(BASE)))
    found = better.comparison
    assert (found.p, found.difference, found.effect) == (expected.p, expected.difference, expected.effect)
    assert (found.n, found.p, better.needed) == (6, 2 / 2**6, 6)
    assert (base.baseline, base.comparison) == (True, None)
    assert [better.p_holm, alike.p_holm] == stats.holm([better.comparison.p, alike.comparison.p])
    assert base.interval == stats.bootstrap(BASE)


def test_the_order_of_runs_and_missing_seeds_change_no_pair():
    mixed = [RUNS[i] for i in (3, 9, 0, 6, 11, 5, 1, 8, 4, 2)] + [job("drnas", 77, 0.1)]
    found = compared(mixed, Asked(FIGURE, baseline="method=drnas")).rows
    (row,) = (one for one in found if not one.baseline)
    pairs = {0: -0.10, 2: -0.12, 3: -0.09, 5: -0.12}
    assert row.comparison.difference == pytest.approx(sum(pairs.values()) / 4)
    assert set(row.comparison.left_out) == {(1.0, None), (4.0, None), (77.0, None)}


def test_rows_without_common_seeds_are_compared_as_groups():
    runs = [*rows_of(BASE, "darts1"), *rows_of(BETTER, "drnas", range(50, 60))]
    row = compared(runs, Asked(FIGURE, baseline="method=darts1")).rows[1]
    assert row.comparison == stats.compare_unpaired(BETTER, BASE)
    ranks = compared(runs, Asked(FIGURE, baseline="method=darts1", test="wilcoxon")).rows[1]
    assert ranks.comparison.test == "Mann-Whitney U, exact"
    assert "6 against 6, permutation of runs" in comparison_markdown(
        compared(runs, Asked(FIGURE, baseline="method=darts1")), sweeps.unit(FIGURE, BASE)
    )


def test_rows_with_one_run_or_none_are_rows_too():
    broken = Run("x", {"method": "gdas", "seed": "0"}, "failed", "failed: why")
    runs = [*rows_of(BASE, "darts1"), job("random", 0, 0.5), job("drnas", 77, 0.9), broken]
    _, one, alone, none = compared(runs, Asked(FIGURE, baseline="method=darts1")).rows
    assert (one.comparison.paired, one.comparison.of, one.comparison.p) == (False, (1, 6), 2 / 7)
    assert (alone.comparison.of, alone.interval, alone.needed) == ((1, 6), None, None)
    assert (none.comparison.p, none.comparison.difference, none.p_holm) == (None, None, None)
    text = comparison_markdown(
        compared(runs, Asked(FIGURE, baseline="method=darts1")), sweeps.unit(FIGURE, BASE)
    )
    assert "| method=gdas   |  0 |" in text


def test_rows_of_many_keys_take_moments():
    keys = [f"k{i}" for i in range(500)]
    runs = [
        Run(
            one,
            {"seed": "0"} | {key: str(int(key == one)) for key in keys},
            "finished",
            figures={FIGURE: 0.5},
        )
        for one in keys
    ]
    began = time.monotonic()
    found = compared(runs, Asked(FIGURE, baseline="k7=1"))
    assert [row.baseline for row in found.rows].index(True) == 7
    assert len(found.rows) == 500 and time.monotonic() - began < 30
    assert all(len(row.label) <= 200 for row in found.rows)


def test_a_baseline_of_several_rows_is_that_of_the_same_space():
    runs = [
        *(job(m, seed, one, space=space) for m, group in (("darts1", BASE), ("drnas", BETTER))
          for space in ("s1", "s2") for seed, one in enumerate(group)),
    ]  # fmt: skip
    found = compared(runs, Asked(FIGURE, baseline="method=darts1")).rows
    assert [row.label for row in found if row.baseline] == [
        "method=darts1, space=s1",
        "method=darts1, space=s2",
    ]
    assert [row.comparison.n for row in found if row.comparison] == [6, 6]
    one = compared(runs, Asked(FIGURE, baseline="method=darts1,space=s2")).rows
    assert [row.baseline for row in one] == [False, True, False, False]
    assert sum(row.comparison is not None for row in one) == 3


@pytest.mark.parametrize("baseline", ["method=darts", "space=s1", "method", "method=darts1,seed=3"])
def test_a_baseline_that_is_no_row_is_told_with_the_rows_there_are(baseline):
    with pytest.raises(ConfigError) as refused:
        compared(RUNS, Asked(FIGURE, baseline=baseline))
    assert str(refused.value) == (
        f"baseline={baseline}: no row is that; there are method=darts1; method=drnas; method=random"
    )
    with pytest.raises(ConfigError, match="nothing but seeds varies"):
        compared(RUNS[:6], Asked(FIGURE, baseline="method=darts1"))


def test_the_table_for_people():
    text = comparison_markdown(
        compared(RUNS, Asked(FIGURE, baseline="method=darts1")), sweeps.unit(FIGURE, BASE)
    )
    title, table, legend = text.split("\n\n")
    assert title == "## test_accuracy [%]: 95 % intervals, and against method=darts1"
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert cells[2][:5] == ["method=darts1", "6", "81.67", "80.33 to 83.50", "baseline"]
    assert cells[3][0:3] == ["method=drnas", "6", "92.17"]
    assert cells[3][4] == "+10.50" and cells[3][7:9] == ["0.031", "0.062"]
    assert cells[3][-1] == "6 pairs, permutation of signs, exact"
    assert "Holm's is for all 2 comparisons" in legend and "says nothing" not in legend
    few = comparison_markdown(
        compared(
            [run for run in RUNS if int(run.overrides["seed"]) < 3], Asked(FIGURE, baseline="method=darts1")
        ),
        sweeps.unit(FIGURE, BASE),
    )
    assert "With so few runs no p can be below 0.25: a large one says nothing." in few


def test_the_table_for_programs_keeps_its_columns_and_rounds_nothing():
    found = compared(RUNS, Asked(FIGURE, baseline="method=darts1"))
    rows = list(csv.DictReader(io.StringIO(sweeps.table_csv(RUNS, more=csv_columns(found)))))
    plain = list(csv.DictReader(io.StringIO(sweeps.table_csv(RUNS))))
    assert [{key: row[key] for key in plain[0]} for row in rows] == plain
    assert list(rows[0])[: len(plain[0])] == list(plain[0])
    assert float(rows[1]["test_accuracy_difference"]) == found.rows[1].comparison.difference
    assert float(rows[1]["test_accuracy_p_holm"]) == found.rows[1].p_holm
    assert (rows[1]["test_accuracy_pairs"], rows[0]["test_accuracy_p"]) == ("6", "")
    assert rows[0]["test_accuracy_interval"] == "0.95 BCa bootstrap"


def unequal(**different):
    runs = [*rows_of(BASE, "darts1"), *rows_of(BETTER, "drnas", conditions=EQUAL | different)]
    return compared(runs, Asked(FIGURE, baseline="method=darts1"))


@pytest.mark.parametrize(
    ("different", "sentence"),
    [
        ({"epochs": 20.0}, "Not equal, budget: epochs: 10.0 in method=darts1; 20.0 in method=drnas."),
        ({"dataset": "cifar10"}, "Not equal, data: digits in method=darts1; cifar10 in method=drnas."),
        (
            {"split_hash": "2e"},
            "Not equal, data: hash of the split: 1f in method=darts1; 2e in method=drnas.",
        ),
        ({"recipe": "long"}, "Not equal, recipe: not recorded in method=darts1; long in method=drnas."),
        ({"git_commit": "cd"}, "Not equal, commit: ab in method=darts1; cd in method=drnas."),
        ({"device": "H200"}, "Not equal, device: not recorded in method=darts1; H200 in method=drnas."),
        ({"versions.torch": "2.9"}, "Not equal, torch: not recorded in method=darts1; 2.9 in method=drnas."),
        (
            {"seconds": 170.0},
            "Not equal, budget: seconds: 100 a run in method=darts1; 170 a run in method=drnas.",
        ),
    ],
)
def test_what_is_not_equal_is_told_in_a_sentence(different, sentence):
    found = unequal(**different)
    assert found.flags == (sentence,)
    assert len(found.rows[1].unequal) == 1
    text = comparison_markdown(found, sweeps.unit(FIGURE, BASE))
    assert text.endswith(f"> {sentence}") and "exact (!)" in text


def test_what_is_equal_is_not_flagged():
    assert unequal().flags == unequal(seconds=140.0).flags == ()
    short = [job("darts1", 0, 0.5, EQUAL | {"seconds": 2.0}), job("drnas", 0, 0.5, EQUAL | {"seconds": 9.0})]
    assert compared(short, Asked(FIGURE)).flags == (), "the start of a process is no budget"


def test_splits_are_compared_seed_by_seed():
    hashed = [
        job(method, seed, 0.5, EQUAL | {"split_hash": f"h{seed}"})
        for method in ("a", "b")
        for seed in range(3)
    ]
    assert compared(hashed, Asked(FIGURE)).flags == ()


def test_unequal_runs_within_a_row_are_flagged_without_a_baseline_too():
    runs = [job("a", 0, 0.5), job("a", 1, 0.6, EQUAL | {"git_commit": "cd"})]
    found = compared(runs, Asked(FIGURE))
    assert found.flags == ("Not equal, commit: ab and cd in all.",)


def test_conditions_are_read_from_a_summary():
    from nas.analysis.summaries import conditions_of

    summary = {
        "epochs": 3, "seconds": 1.5, "dataset": "digits", "recipe": None, "device": ["x"], "threads": 2,
        "versions": {"torch": "2.9", "odd": {}}, "test_accuracy": 0.5, "git_commit": "a\x1b[2J",
    }  # fmt: skip
    assert conditions_of(summary) == {
        "epochs": "3", "seconds": 1.5, "dataset": "digits", "threads": "2", "versions.torch": "2.9",
        "git_commit": "a\\x1b[2J",
    }  # fmt: skip
    assert conditions_of({"versions": [1], "seconds": "long"}) == {}


def test_a_run_that_recorded_nothing_is_not_taken_for_an_equal_one():
    unknown = job("darts1", 5, BASE[5], conditions={})
    flags = compared([*RUNS[:5], unknown, *RUNS[6:]], Asked(FIGURE, baseline="method=darts1")).flags
    assert any(flag.startswith("Not equal, data: not recorded and digits in method=darts1") for flag in flags)
    nothing = [job("drnas", seed, one, conditions={}) for seed, one in enumerate(BETTER)]
    row = compared([*RUNS[:6], *nothing], Asked(FIGURE, baseline="method=darts1")).rows[1]
    assert {"data", "commit", "budget: epochs"} <= set(row.unequal)


def test_the_legend_says_what_a_pair_is_made_of_and_which_way_is_better():
    def legend(runs, figure=FIGURE):
        return comparison_markdown(
            compared(runs, Asked(figure, baseline="method=darts1")), sweeps.unit(figure, BASE)
        )

    assert "1 runs repeat a seed of their row" in legend([*RUNS, job("drnas", 0, 0.1)])
    assert "Intervals" not in legend([RUNS[0], RUNS[6]]) and "Effect: " in legend([RUNS[0], RUNS[6]])
    assert "repeat a seed" not in legend(RUNS) and "Lower is better" not in legend(RUNS)
    texts = [
        Run(run.folder, run.overrides, "finished", figures={"test_perplexity": 60.0 + place})
        for place, run in enumerate(RUNS)
    ]
    assert "Lower is better." in legend(texts, "test_perplexity")
