"""A black-box search as a user starts it: what it writes, whose algorithms it takes, and what it refuses."""

import csv
import itertools
import json
import re
import statistics
import sys

import pytest

from nas.analysis.benchmark_table import read_csv
from nas.genotype import load
from tests.analysis.test_tabular import arch
from tests.commands.test_bad_input import assert_refused
from tests.conftest import ROOT

TWO = ("none", "nor_conv_3x3")
SMALL = ("space.operations=[none,nor_conv_3x3]", "seeds=4", "budget.queries=9")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """All 64 cells of two operations: final figures, and rewards with what they cost, as overrides."""
    folder = tmp_path_factory.mktemp("tables")
    final, early = ["arch,cifar10_test,in16_test,cifar100_test"], ["arch,cifar10_val,seconds,free"]
    for number, operations in enumerate(itertools.product(TWO, repeat=6)):
        good = sum(name != "none" for name in operations)
        final.append(f"{arch(*operations)},{90 + good / 2},{30 + number / 10},{50 if number else ''}")
        early.append(f"{arch(*operations)},{60 + good + number / 100},{10 + number % 7},0")
    (folder / "final.csv").write_text("\n".join(final))
    (folder / "early.csv").write_text("\n".join(early))
    return f"tabular.file={folder / 'final.csv'}", f"reward.file={folder / 'early.csv'}"


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.pictures
def test_what_is_found_is_written(run, tables, tmp_path):
    done = run("blackbox", *SMALL, *tables, "algorithm=evolution", "algorithm.population=3", "seed=5",
               f"hydra.run.dir={tmp_path / 'a'}")  # fmt: skip
    assert done.status == 0, done.err
    assert "left out: cifar100_test, which the table lacks for 1 architectures" in done.out
    folder = tmp_path / "a"
    summary = json.loads((folder / "summary.json").read_text())
    seeds, curve = rows(folder / "seeds.csv"), rows(folder / "curve.csv")
    assert [(row["seed"], row["queries"]) for row in seeds] == [(str(seed), "9") for seed in range(5, 9)]
    assert [row["queries"] for row in curve] == [str(query) for query in range(1, 10)]
    for name, best in (("reward", 66.63), ("cifar10_test", 93.0), ("in16_test", 36.3)):
        values = [float(row[name]) for row in seeds]
        assert summary[name] == pytest.approx(statistics.mean(values), abs=1e-6)
        assert summary[f"{name}_std"] == pytest.approx(statistics.stdev(values), abs=1e-6)
        assert summary[f"{name}_best"] == best
        assert summary[f"{name}_regret"] == pytest.approx(best - summary[name], abs=1e-6)
        assert float(curve[-1][name]) == summary[name] and curve[-1]["n"] == "4"
    assert (summary["algorithm"], summary["n"], summary["queries"]) == ("evolution", 4, 9)
    assert summary["table"]["metric"] == "cifar10_test", "the test column of the data that gave the reward"
    assert summary["table"]["cifar10_test"] == summary["cifar10_test"]
    best = max(seeds, key=lambda row: float(row["reward"]))
    assert str(load(folder)) == summary["genotype"] == best["genotype"]
    assert (folder / "figures/curve.png").stat().st_size > 10_000
    saved = (folder / "config.yaml").read_text()
    assert "_target_: nas.algorithms.Evolution" in saved and "population: 3" in saved
    # The sweep's table reads it.
    assert run("sweeps", f"folder={tmp_path}").status == 0
    assert f"{summary['cifar10_test']:.2f}" in (tmp_path / "table.md").read_text()


def test_seconds_are_spent_where_the_table_has_them(run, tables, tmp_path):
    timed = ("budget.queries=null", "budget.seconds=100", "reward.seconds=seconds", "seeds=2")
    for folder in ("a", "b"):
        done = run("blackbox", *SMALL, *tables, *timed, f"hydra.run.dir={tmp_path / folder}")
        assert done.status == 0, done.err
    found = rows(tmp_path / "a/seeds.csv")
    assert all(100 <= float(row["seconds"]) < 116 for row in found)
    assert len({row["genotype"] for row in found}) == 2
    assert list(rows(tmp_path / "a/curve.csv")[0])[:2] == ["seconds", "n"]
    for name in ("seeds.csv", "curve.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_official_files_give_rewards_of_a_schedule_of_their_own(run, tables, tmp_path, monkeypatch):
    final, early = (one.partition("=")[2] for one in tables)
    for where in ("nas.analysis.tabular", "nas.commands.blackbox_figures"):
        monkeypatch.setattr(
            f"{where}.read_natsbench", lambda file, epochs, cache: read_csv({200: final, 12: early}[epochs])
        )
    official = ("tabular=natsbench", "tabular.file=there", "reward.epochs=12")
    for folder, given in (("a", tables), ("b", official)):
        assert run("blackbox", *SMALL, *given, f"hydra.run.dir={tmp_path / folder}").status == 0
    assert (tmp_path / "a/seeds.csv").read_bytes() == (tmp_path / "b/seeds.csv").read_bytes()


def test_an_algorithm_of_ones_own_is_added_as_the_document_says(run, tables, tmp_path, monkeypatch):
    text = (ROOT / "docs/blackbox.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (yaml,) = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "climbing.py").write_text(code, encoding="utf-8")
    (tmp_path / "own/algorithm").mkdir(parents=True)
    (tmp_path / "own/algorithm/climbing.yaml").write_text(yaml, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = ("algorithm=climbing", f"--config-dir={tmp_path / 'own'}")
    done = run("blackbox", *SMALL, *tables, f"hydra.run.dir={tmp_path / 'a'}", *own)
    assert done.status == 0, done.err
    assert json.loads((tmp_path / "a/summary.json").read_text())["algorithm"] == "climbing"
    # Whoever reads the folder reads its genotype, and builds nothing that it names.
    monkeypatch.delitem(sys.modules, "climbing")
    done = run(
        "cost", "space=nasbench201", "dataset=digits", "recipe=nasbench201", f"genotype={tmp_path / 'a'}"
    )
    assert done.status == 0 and "climbing" not in sys.modules


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    """What the 64 cells cost, a millisecond a convolution, as overrides; of three nothing is known."""
    lines = ["arch,phone"]
    for number, operations in enumerate(itertools.product(TWO, repeat=6)):
        lines.append(f"{arch(*operations)},{operations.count(TWO[1]) + 1 if number > 2 else ''}")
    file = tmp_path_factory.mktemp("costs") / "phones.csv"
    file.write_text("\n".join(lines))
    return f"tabular.costs={file}", "tabular.cost=phone", "tabular.cost_unit=ms"


def test_a_budget_of_costs_is_kept_to_and_regret_is_to_the_best_within_it(run, tables, costs, tmp_path):
    done = run("blackbox", *SMALL, *tables, *costs, "tabular.budget=4", f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 0, done.err
    assert "best within the budget" in done.out
    summary = json.loads((tmp_path / "a/summary.json").read_text())
    seeds = rows(tmp_path / "a/seeds.csv")
    assert all(float(row["cost"]) <= 4 and row["queries"] == "9" for row in seeds)
    assert (summary["cost_of"], summary["cost_unit"], summary["cost_budget"]) == ("phone", "ms", 4)
    assert summary["budget_met"] is True
    # Three convolutions and accuracy 91.5 are the most that 4 ms allow.
    assert summary["cifar10_test_best"] == 91.5
    mean = statistics.mean(91.5 - float(row["cifar10_test"]) for row in seeds)
    assert summary["regret_constrained"] == summary["cifar10_test_regret"] == pytest.approx(mean, abs=1e-6)
    assert summary["cost"] == pytest.approx(statistics.mean(float(row["cost"]) for row in seeds))
    assert summary["front_distance"] == pytest.approx(
        statistics.mean(90 + (float(row["cost"]) - 1) / 2 - float(row["cifar10_test"]) for row in seeds)
    )


def test_a_cost_without_a_budget_is_told_and_changes_nothing(run, tables, costs, tmp_path):
    for name, words in (("plain", ()), ("told", costs)):
        assert run("blackbox", *SMALL, *tables, *words, f"hydra.run.dir={tmp_path / name}").status == 0
    plain, told = (rows(tmp_path / name / "seeds.csv") for name in ("plain", "told"))
    assert [row["genotype"] for row in plain] == [row["genotype"] for row in told]
    assert all("cost" in row for row in told) and "cost" not in plain[0]
    summary = json.loads((tmp_path / "told/summary.json").read_text())
    assert (summary["budget_met"], summary["regret_constrained"]) == (None, None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("tabular.budget=0.5",),
            "tabular.budget=0.5: no architecture of this space costs as little; phone runs",
        ),
        (("tabular.cost=watch",), "tabular.cost=watch: "),
        (("tabular.cost=null", "tabular.cost_unit=null"), "which of its columns? tabular.cost=<column>"),
        (("tabular.costs=null",), "tabular.cost=phone: a column of which file?"),
    ],
)
def test_costs_that_say_nothing_are_refused(run, tables, costs, tmp_path, words, message):
    done = run("blackbox", *SMALL, *tables, *costs, *words, f"hydra.run.dir={tmp_path / 'a'}")
    assert_refused(done, message)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("budget.queries=null",), "budget.queries=null: say how many"),
        (("budget.queries=null", "budget.seconds=3"), "reward.seconds must name the column"),
        (("reward.seconds=seconds",), "it goes with budget.seconds"),
        (("budget.queries=null", "budget.seconds=3", "reward.seconds=free"), "has 0.0 s; must be above 0"),
        (("tabular.file=null",), "tabular.file=null: name the table"),
        (("reward.file=null",), "has no such column; it has cifar100_test, cifar10_test, in16_test"),
        (("tabular.metric=cifar100_test",), "no figure there for 1 of the space's 64 architectures"),
        (("space.operations=[none,skip_connect]",), "no figure there for 63 of the space's 64"),
        (("space.operations=[none,skip_connect,nor_conv_3x3]",), "has 64 architectures, and space="),
        (("space.operations=[none]",), "one architecture with them, nothing to search"),
        (("resume=here",), "resume=here: nothing is kept before the end (a table takes seconds, a surrogate"),
        (("algorithm._target_=collections.OrderedDict",), "call it random; say algorithm.name=<name>"),
        (
            ("algorithm._target_=collections.OrderedDict", "algorithm.name=a"),
            "derives from nas.algorithms.Algorithm",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused(run, tables, tmp_path, words, message):
    done = run("blackbox", *SMALL, *tables, *words, f"hydra.run.dir={tmp_path / 'a'}")
    assert_refused(done, message)
    assert not (tmp_path / "a").exists()


def test_a_space_that_no_table_lists_is_refused(run, tables, tmp_path):
    done = run("blackbox", "space=darts", "budget.queries=1", *tables, f"hydra.run.dir={tmp_path / 'a'}")
    assert_refused(done, "a table has nothing to say about this space (it makes architectures of 'darts')")
    done = run("blackbox", "space=dso", "budget.queries=1", *tables, f"hydra.run.dir={tmp_path / 'a'}")
    assert_refused(done, "it does not say how its architectures are drawn and changed; use space=nasbench201")
    assert not (tmp_path / "a").exists()
