"""From Python and from the command line the same is computed, bit by bit; one continues the other."""

import json
import shlex

import pytest

import nas
from tests.api.small import STEPS, WORDS, evaluate, search

NUMBERS = ("metrics.csv", "architecture.csv", "genotype.json", "genotypes.jsonl", "split.json")


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A finished search of a method that learns a distribution, from Python."""
    folder = tmp_path_factory.mktemp("searched") / "a run"
    return search(method="drnas", seed=3, folder=folder, more=["method.warmup_epochs=0"])


def same(one, other, names):
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_a_search_is_that_of_the_command(searched, run, tmp_path):
    words = ["dataset=digits", "method=drnas", "method.warmup_epochs=0", "trainer.max_epochs=1", "seed=3"]
    done = run("search", *words, *WORDS, "dataset.batch_size=16", f"hydra.run.dir={tmp_path}")
    assert done.status == 0, done.err
    same(searched.folder, tmp_path, NUMBERS)
    configs = [(folder / "config.yaml").read_text().splitlines() for folder in (searched.folder, tmp_path)]
    one, other = ([line for line in lines if not line.startswith("outputs: ")] for lines in configs)
    assert one == other
    said = (searched.folder / "search.log").read_text()
    assert said.count("search: space darts, method drnas, data digits") == 1


def test_what_was_typed_stands_in_the_folder(searched):
    kept = (searched.folder / "overrides.yaml").read_text()
    for word in ("dataset=digits", "method=drnas", "seed=3", "trainer.max_epochs=1", *WORDS):
        assert f"- {word}\n" in kept, word


def test_an_evaluation_is_that_of_the_printed_command(searched, run, tmp_path):
    printed = (searched.folder / "search.log").read_text().partition("evaluate:")[2].splitlines()[0]
    words = shlex.split(printed)[3:]
    done = run(
        "evaluate",
        *words,
        *STEPS,
        "trainer.max_epochs=1",
        "recipe.batch_size=16",
        f"hydra.run.dir={tmp_path}",
    )
    assert done.status == 0, done.err
    found = evaluate(searched, folder=tmp_path.with_name("from python"))
    same(found.folder, tmp_path, ("metrics.csv", "genotype.json", "split.json"))
    theirs = json.loads((tmp_path / "summary.json").read_text())
    assert found.accuracy == theirs["test_accuracy"] and found.summary["params"] == theirs["params"]


def test_a_derivation_is_that_of_the_command(searched, run, tmp_path):
    found = searched.derive(max_params=2000, samples=20, verbose=False)
    words = [f"run={json.dumps(str(searched.folder))}", "budget.params=2000", "samples=20"]
    done = run("derive", *words, f"hydra.run.dir={tmp_path}")
    assert done.status == 0, done.err
    same(found.folder, tmp_path, ("architectures.csv", "genotype.json"))
    assert all(row["params"] <= 2000 for row in found.candidates if "rank" in row)
    assert found.choice(1) == found.genotype and found.choice(2) != found.genotype
    for wrong in (99, "2", 1.5, True):
        with pytest.raises(nas.ConfigError, match=f"choice={wrong!r}: must be from 1 to"):
            found.choice(wrong)


def test_a_run_is_continued_from_a_shell_and_from_python(run, tmp_path, monkeypatch):
    """Stopped by its time, continued by the printed command from another folder; and the other way round."""
    whole = search(epochs=2, folder=tmp_path / "whole")
    first = search(epochs=2, folder=tmp_path / "a part", time_limit=0.0001)
    assert first.status == "stopped" and len(first.metrics) == 1
    log = (first.folder / "search.log").read_text()
    printed = log.partition("continue with: ")[2].splitlines()[0]
    monkeypatch.chdir(tmp_path)
    assert shlex.split(printed)[:3] == ["python", "-m", "nas.search"]
    done = run("search", *shlex.split(printed)[3:], "time_limit=null")
    assert done.status == 0, done.err
    same(whole.folder, first.folder, ("metrics.csv", "architecture.csv", "genotype.json"))
    words = [*WORDS, "dataset=digits", "trainer.max_epochs=2", "dataset.batch_size=16"]
    done = run("search", *words, "time_limit=0.0001", f"hydra.run.dir={tmp_path / 'shell'}")
    assert done.status == 130, done.err
    found = nas.resume(tmp_path / "shell", overrides=["time_limit=null"], verbose=False)
    assert found.status == "finished"
    same(whole.folder, found.folder, ("metrics.csv", "architecture.csv", "genotype.json"))
