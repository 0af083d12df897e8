"""A surrogate of the user's serves a search, is refused early, and never runs by a folder's word."""

import json
import os
import re
import sys

import pytest
from omegaconf import OmegaConf

from nas.genotype import load
from nas.spaces.nasbench201 import NasBench201Space
from tests.commands.test_bad_input import assert_refused
from tests.commands.test_protocol import forked, stood_in
from tests.commands.test_tabular import TINY as CELLS
from tests.commands.test_tabular import rows, summary
from tests.conftest import ROOT, TINY

__all__ = ["forked", "stood_in"]
DRAWN = [one for one in CELLS if not one.startswith("method.")]
CODE = """
import random
import torch

class Counted:
    def __init__(self, base=80.0, asks=10**6):
        self.base, self.left = base, asks
        torch.manual_seed(3)

    def __call__(self, genotype):
        torch.rand(3), random.random()
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("worn out")
        convolutions = str(genotype).count("conv")
        return {"cifar10_test": self.base + convolutions, "digits_test": 50.0, "phone": 1.0 + convolutions}

def of(genotype, base=70.0):
    return Counted(base)(genotype)

class Read(Counted):
    def __init__(self, weight_file, models=(), name="own"):
        super().__init__(sum(float(open(one).read()) for one in (weight_file, *models)))

def fraction(genotype):
    return {"digits_test": 0.5}
"""
MINE = ("tabular=surrogate", "tabular.surrogate._target_=counting_mine.Counted")


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module with surrogates on Python's path."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "counting_mine.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    monkeypatch.delitem(sys.modules, "counting_mine", raising=False)


def test_a_search_logs_what_is_predicted_and_is_not_changed_by_it(run, mine, tmp_path):
    blind, watched = tmp_path / "blind", tmp_path / "watched"
    cost = ("tabular.cost=phone", "tabular.cost_unit=ms", "tabular.budget=8")
    assert run("search", *CELLS, f"hydra.run.dir={blind}").status == 0
    given = (*CELLS, *MINE, "tabular.metric=cifar10_test", *cost)
    done = run("search", *given, f"hydra.run.dir={watched}")
    assert (done.status, done.err) == (0, "")
    assert (blind / "architecture.csv").read_bytes() == (watched / "architecture.csv").read_bytes()
    found = summary(watched)
    convolutions = found["genotype"].count("conv")
    last = rows(watched / "metrics.csv")[-1]
    assert float(last["table_accuracy"]) == pytest.approx((80 + convolutions) / 100)
    assert (float(last["cost"]), last["budget_met"]) == (1 + convolutions, str(int(convolutions < 8)))
    assert "table_rank" not in last and "front_distance" not in last
    assert found["table"] == {
        "cifar10_test": 80 + convolutions, "digits_test": 50, "phone": 1 + convolutions,
        "metric": "cifar10_test", "rank": None, "of": None, "gap": None, "best": None,
        "predicted_by": "counting_mine.Counted",
    }  # fmt: skip
    keys = (
        "cost_of",
        "cost",
        "cost_unit",
        "cost_budget",
        "budget_met",
        "regret_constrained",
        "front_distance",
    )
    met = convolutions < 8
    assert [found[key] for key in keys] == ["phone", 1 + convolutions, "ms", 8, met, None, None]
    line = f"table:      cifar10_test {80 + convolutions}.00, digits_test 50.00 (predicted by "
    assert f"{line}counting_mine.Counted, not trained)" in done.out
    assert f"cost:       phone {1 + convolutions} ms (predicted), " in done.out
    # The run folder alone does not make it run again.
    resumed = run("search", f"resume={watched}")
    assert_refused(resumed, "tabular.surrogate._target_=counting_mine.Counted", "say trust=counting_mine")
    assert run("search", f"resume={watched}", "trust=counting_mine").status == 0


def test_a_function_of_the_architecture_is_named_as_it_stands(run, mine, tmp_path):
    function = (
        "tabular=surrogate",
        "tabular.surrogate._target_=counting_mine.of",
        "+tabular.surrogate.base=60",
    )
    done = run("search", *DRAWN, "method=random", *function, f"hydra.run.dir={tmp_path / 'a'}")
    assert (done.status, done.err) == (0, "")
    found = summary(tmp_path / "a")
    assert found["table"]["cifar10_test"] == 60 + found["genotype"].count("conv")
    # The column of the digits is there, and judges.
    assert found["table"]["metric"] == "digits_test"


def test_one_that_wears_out_costs_no_search(run, mine, tmp_path):
    done = run("search", *CELLS, *MINE, "+tabular.surrogate.asks=3", f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 0
    said = "tabular.surrogate=counting_mine.Counted: fails: RuntimeError: worn out"
    assert (done.out + done.err).count(said) == 1
    assert all(row["table_accuracy"] == "" for row in rows(tmp_path / "a/metrics.csv"))
    assert "table:      counting_mine.Counted predicts nothing" in done.out
    assert summary(tmp_path / "a")["table"]["predicted_by"] == "counting_mine.Counted"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["tabular=surrogate"], "tabular.surrogate._target_=null"),
        (["tabular=surrogate", "tabular.surrogate._target_=counting_mine.Nothing"], "counting_mine.Nothing"),
        (["tabular=surrogate", "tabular.surrogate._target_=counting_mine.fraction"], "must be in percent"),
        ([*MINE, "+tabular.surrogate.asks=2"], "fails: RuntimeError: worn out (of |"),
        ([*MINE, "+tabular.surrogate.bases=2"], "tabular.surrogate.bases=2: unknown key"),
        ([*MINE, "tabular.cost=watch"], "returns no such cost; of costs it returns phone"),
        ([*MINE, "tabular.budget=8"], "of which cost?"),
        ([*MINE, "tabular.metric=svhn_test"], "it returns cifar10_test, digits_test"),
        ([*MINE, "method.cost.of=watch", "method.cost.budget=8"], "known are params, macs, latency, phone"),
        ([*MINE, "method.cost.of=phone", "method.cost.budget=0.5"], "phone is predicted to run from 1 to 7"),
    ],
)
def test_a_bad_one_is_refused_before_anything_is_trained(run, mine, tmp_path, overrides, words):
    done = run("search", *CELLS, *overrides, f"hydra.run.dir={tmp_path / 'a'}")
    assert_refused(done, words)
    assert not (tmp_path / "a/config.yaml").exists()


def test_a_plan_tells_what_it_predicts_of_a_few(run, mine):
    done = run("search", *CELLS, *MINE, "plan=true")
    assert done.status == 0, done.err
    assert "phone (predicted)" in done.out and "(of 20 drawn)" in " ".join(done.out.split())


def test_a_search_is_steered_by_what_it_predicts_and_ends_within_the_budget(run, mine, tmp_path):
    budget = ("method.cost.of=phone", "method.cost.budget=4", "method.cost.rate=0.5", "tabular.cost_unit=ms")
    given = (*CELLS, *MINE, "trainer.max_epochs=3", "trainer.enable_progress_bar=false")
    done = run("search", *given, *budget, f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 0, done.err
    # A sum over edges, so that the fit is exact on those that it has not seen.
    assert re.search(r"fitted to \d+ architectures; on \d+ others R2 1.000, median error 0.0%", done.out)
    metrics, found = rows(tmp_path / "a/metrics.csv"), summary(tmp_path / "a")
    within = [int(row["epoch"]) for row in metrics if float(row["cost"]) <= 4]
    assert found["budget_met"] is bool(within) and found.get("result_epoch") == (
        within[-1] if within else None
    )
    assert (found["cost_of"], found["cost_unit"], found["cost_budget"]) == ("phone", "ms", 4)
    assert found["cost"] == 1 + found["genotype"].count("conv") and found["cost_fit_r2"] == 1
    assert all(float(row["expected_cost"]) > 0 for row in metrics)


@pytest.mark.parametrize("algorithm", ["random", "evolution", "local_search", "reinforce"])
def test_black_box_searches_ask_it_in_a_space_that_nobody_can_list(run, mine, tmp_path, algorithm):
    folder = tmp_path / "a"
    words = ("space=darts", f"algorithm={algorithm}", "seeds=3", "budget.queries=30", *MINE)
    cost = ("reward.metric=cifar10_test", "tabular.cost=phone", "tabular.budget=10")
    done = run("blackbox", *words, *cost, f"hydra.run.dir={folder}")
    assert done.status == 0, done.err
    found, seeds = summary(folder), rows(folder / "seeds.csv")
    for row in seeds:
        convolutions = row["genotype"].count("conv")
        assert float(row["cost"]) == 1 + convolutions <= 10 and row["queries"] == "30"
        assert float(row["reward"]) == float(row["cifar10_test"]) == 80 + convolutions
    assert (found["budget_met"], found["regret_constrained"], found["reward_best"]) == (True, None, None)
    assert found["table"]["predicted_by"] == "counting_mine.Counted" and found["table"]["gap"] is None
    curve = [float(row["reward"]) for row in rows(folder / "curve.csv")]
    # What it learns from is what the surrogate says: nine convolutions are the most that 10 ms allow.
    assert curve == sorted(curve) and curve[-1] > curve[0] and curve[-1] <= 89
    assert "predicted by counting_mine.Counted, not trained" in " ".join(done.out.split())
    assert str(load(folder)) == found["genotype"]


def test_a_black_box_search_by_a_surrogate_is_that_of_its_table(run, mine, tmp_path):
    """In a space that can be listed both say the same."""
    table = tmp_path / "table.csv"
    cells = NasBench201Space("nasbench201").architectures()
    names = [str(cells.genotype(code)) for code in cells.all()]
    table.write_text(
        "arch,digits_test,cifar10_test\n" + "".join(f"{a},50,{80 + a.count('conv')}\n" for a in names)
    )
    words = ("algorithm=evolution", "seeds=4", "budget.queries=40", "reward.metric=cifar10_test")
    assert run("blackbox", *words, *MINE, f"hydra.run.dir={tmp_path / 'a'}").status == 0
    assert run("blackbox", *words, f"tabular.file={table}", f"hydra.run.dir={tmp_path / 'b'}").status == 0
    assert (tmp_path / "a/curve.csv").read_bytes() == (tmp_path / "b/curve.csv").read_bytes()
    assert rows(tmp_path / "a/seeds.csv") == rows(tmp_path / "b/seeds.csv")
    assert run("sweeps", f"folder={tmp_path}").status == 0


@pytest.mark.parametrize(
    ("overrides", "words", "status"),
    [
        (
            ["reward.metric=cifar10_val"],
            "returns no such accuracies; it returns cifar10_test, digits_test",
            2,
        ),
        (["budget.queries=null", "budget.seconds=9"], "nobody has said what a query of tabular=surrogate", 2),
        (["reward.epochs=12"], "reward.epochs=12: of a table", 2),
        (["space=dso"], "it does not say how its architectures are drawn and changed", 2),
        (["+tabular.surrogate.asks=9"], "worn out", 1),
    ],
)
def test_a_black_box_search_that_it_cannot_answer_says_so(run, mine, tmp_path, overrides, words, status):
    given = ("space=darts", "seeds=2", "budget.queries=10", "reward.metric=cifar10_test", *MINE)
    done = run("blackbox", *given, *overrides, f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == status and words in done.err and "Traceback" not in done.err


def test_a_protocol_over_budgets_of_what_it_predicts_ends_in_a_front(
    run, mine, forked, tmp_path, monkeypatch
):
    # The searches are processes of their own, which find the surrogate on Python's path.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(mine)]))
    short = [one for one in DRAWN if not one.startswith("trainer.max")]
    words = ",".join(("method=drnas_nb201", "method.cost.of=phone", "trainer.max_epochs=1", *short))
    given = ("protocol=table", *MINE, "tabular.metric=cifar10_test", "tabular.cost_unit=ms", "search.seeds=1")
    grid = "search.grid=[[method.cost.budget=3],[method.cost.budget=6]]"
    done = run("protocol", *given, f"search.overrides=[{words}]", grid, f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 0, done.err
    for row in rows(tmp_path / "a/front.csv"):
        convolutions = row["genotype"].count("conv")
        assert (float(row["phone"]), float(row["cifar10_test"])) == (1 + convolutions, 80 + convolutions)
        assert row["budget_met"] == ("yes" if 1 + convolutions <= float(row["budget"]) else "no")
    assert summary(tmp_path / "a")["hypervolume_exact"] is None


def test_places_among_its_arguments_hold_in_any_folder(run, mine, tmp_path, stood_in, monkeypatch):
    start, elsewhere = tmp_path / "start", tmp_path / "elsewhere"
    (start / "more").mkdir(parents=True)
    elsewhere.mkdir()
    (start / "base.txt").write_text("30")
    (start / "more/a.txt").write_text("12.5")
    monkeypatch.chdir(start)
    read = (
        "tabular=surrogate", "tabular.surrogate._target_=counting_mine.Read", "tabular.metric=cifar10_test",
        "+tabular.surrogate.weight_file=base.txt", "+tabular.surrogate.models=[more/a.txt]",
        "+tabular.surrogate.name=more",
    )  # fmt: skip
    assert run("search", *CELLS, *read, f"hydra.run.dir={tmp_path / 'a'}").status == 0
    kept = OmegaConf.load(tmp_path / "a/config.yaml").tabular.surrogate
    assert kept.weight_file == str(start / "base.txt") and list(kept.models) == [str(start / "more/a.txt")]
    # A word is a word, also where a folder has its name.
    assert kept.name == "more"
    priced = "method=drnas_nb201,method.cost.of=latency,method.cost.budget=5,method.cost.table=more/a.txt"
    words = ("search.seeds=2", f"search.overrides=[space=nasbench201,{priced}]")
    assert run("protocol", "protocol=table", *read, *words, f"hydra.run.dir={tmp_path / 'b'}").status == 0
    [first, _] = stood_in[1]
    assert any(f"weight_file:{start / 'base.txt'}" in one.replace("'", "") for one in first)
    assert any(one.replace("'", "") == f"method.cost.table={start / 'more/a.txt'}" for one in first)
    done = run("protocol", "protocol=table", *read, "search.overrides=[tabular.cost=phone]")
    assert_refused(done, "said by the protocol itself (tabular.cost)")
    monkeypatch.chdir(elsewhere)
    assert run("search", f"resume={tmp_path / 'a'}", "trust=counting_mine").status == 0
    found = summary(tmp_path / "a")
    assert found["table"]["cifar10_test"] == 42.5 + found["genotype"].count("conv")


def test_ranks_and_fronts_take_it(run, mine, tmp_path):
    given = (*MINE, "tabular.metric=cifar10_test")
    sizes = [one for one in CELLS if one.startswith("recipe")]
    measured = ("measures=[params]", "sample=4", "dataset=digits", "space=nasbench201", *sizes)
    done = run("rank", *measured, *given, f"hydra.run.dir={tmp_path / 'rank'}")
    assert done.status == 0, done.err
    found = summary(tmp_path / "rank")
    assert (found["metric"], found["predicted_by"]) == ("cifar10_test", "counting_mine.Counted")
    assert "cifar10_test is predicted by counting_mine.Counted, not trained" in done.out
    for seed in range(2):
        folder = tmp_path / "searches" / str(seed)
        assert run("search", *DRAWN, "method=random", f"seed={seed}", f"hydra.run.dir={folder}").status == 0
    words = (f"run={tmp_path / 'searches'}", *given, "front=phone", f"hydra.run.dir={tmp_path / 'front'}")
    done = run("derive", *words)
    assert (done.status, done.err) == (0, "")
    found = summary(tmp_path / "front")
    assert found["hypervolume_exact"] is None and found["predicted_by"] == "counting_mine.Counted"
    assert "exact front" not in done.out and "not trained" in done.out
    assert_refused(run("derive", *words[:-2], "front=watch"), "front=watch")


def test_a_protocol_looks_cells_up_by_it(run, mine, stood_in, tmp_path):
    folder = tmp_path / "a"
    given = (*MINE, "+tabular.surrogate.base=60", "tabular.metric=cifar10_test", "search.seeds=2")
    words = ("search.overrides=[space=nasbench201]", f"hydra.run.dir={folder}")
    done = run("protocol", "protocol=table", *given, *words)
    assert done.status == 0, done.err
    # What the searches are started with names the surrogate as it was named here.
    [first, _] = stood_in[1]
    named = [one for one in first if "tabular" in one and not one.endswith("=null")]
    assert named == [
        "tabular=surrogate",
        "++tabular.surrogate={_target_:counting_mine.Counted,base:60}",
        "tabular.metric=cifar10_test",
    ]
    searched = [*DRAWN, "method=random", *named, f"hydra.run.dir={tmp_path / 'b'}"]
    assert run("search", *searched).status == 0
    found = summary(tmp_path / "b")
    assert found["table"]["cifar10_test"] == 60 + found["genotype"].count("conv")
    assert_refused(run("protocol", f"resume={folder}"), "say trust=counting_mine")
    # Keys that would be read as more than a key, where they become words of a command line.
    config = OmegaConf.load(folder / "config.yaml")
    (mine / "strange.py").write_text("raise SystemExit('the code of a stranger')")
    for tabular, key in (
        ({"surrogate": {"_target_:strange.Surrogate,base": 1}}, "_target_:strange.Surrogate,base"),
        ({"surrogate": {"inner": {"a}": 1}}}, "a}"),
        ({"surrogate._target_": "strange.Surrogate"}, "surrogate._target_"),
        ({"surrogate": {"_target_": "strange.Surrogate"}}, "strange"),
    ):
        held = {
            **OmegaConf.to_container(config),
            "tabular": {"name": "surrogate", "metric": "auto"} | tabular,
        }
        OmegaConf.save(OmegaConf.create(held), folder / "config.yaml")
        done = run("protocol", f"resume={folder}")
        assert_refused(done, "config.yaml", key)
        assert "the code of a stranger" not in done.out + done.err and "strange" not in sys.modules


def test_a_strangers_folder_makes_none_run(run, mine, tmp_path):
    folder = tmp_path / "a"
    assert run("search", *DRAWN, "method=random", f"hydra.run.dir={folder}").status == 0
    config = OmegaConf.load(folder / "config.yaml")
    (mine / "strange.py").write_text("raise SystemExit('the code of a stranger')")
    for name in ("surrogate", "none", "csv"):
        node = {"_target_": "strange.Surrogate", "models": "/tmp"}
        config.tabular = {**config.tabular, "name": name, "surrogate": node}
        OmegaConf.save(config, folder / "config.yaml")
        done = run("search", f"resume={folder}")
        assert done.status == 2 and "the code of a stranger" not in done.err + done.out
    assert_refused(
        run("search", f"resume={folder}"), "this key names what is the caller's own", "trust=strange"
    )
    # What does not look anything up does not care.
    given = (f"genotype={folder}", "space=nasbench201", "dataset=digits", "recipe=nasbench201")
    assert run("cost", *given).status == 0


def test_the_document_is_right(run, tmp_path, monkeypatch):
    text = (ROOT / "docs/costs.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (yaml,) = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "surrogate.py").write_text(code, encoding="utf-8")
    (tmp_path / "own/tabular").mkdir(parents=True)
    (tmp_path / "own/tabular/mine.yaml").write_text(yaml, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    given = ("space=darts", *TINY[:5], "method=random", "tabular=mine", "tabular.metric=cifar10_test")
    cost = ("tabular.cost=phone", "tabular.cost_unit=ms", "tabular.budget=20")
    folder = tmp_path / "a"
    done = run("search", *given, *cost, f"hydra.run.dir={folder}", f"--config-dir={tmp_path / 'own'}")
    assert (done.status, done.err) == (0, "")
    found = json.loads((folder / "summary.json").read_text())
    assert found["table"]["cifar10_test"] == pytest.approx(91 + 0.3 * found["genotype"].count("conv"))
    monkeypatch.delitem(sys.modules, "surrogate")
