"""A surrogate of the user's serves a search, is refused early, and never runs by a folder's word."""

import json
import re
import sys

import pytest
from omegaconf import OmegaConf

from tests.commands.test_bad_input import assert_refused
from tests.commands.test_protocol import stood_in
from tests.commands.test_tabular import TINY as CELLS
from tests.commands.test_tabular import rows, summary
from tests.conftest import ROOT, TINY

__all__ = ["stood_in"]
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
        (
            [*MINE, "method.cost.of=phone", "method.cost.budget=8"],
            "what a surrogate predicts is logged alone",
        ),
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


def test_ranks_and_fronts_take_it_and_a_whole_table_is_another_matter(run, mine, tmp_path):
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
    done = run("blackbox", "budget.queries=10", *MINE, f"hydra.run.dir={tmp_path / 'b'}")
    assert_refused(done, "tabular=surrogate: it says what an architecture would reach, and here a table")


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
