"""Other numbers of epochs for a run that is continued: refused, or a new cosine of the learning rate."""

import csv
import json
import shutil

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from nas.errors import ConfigError
from nas.running.config import CONF, register_resolvers
from nas.running.lengthening import set_length
from tests.commands.test_resume import assert_same_end, kill_at
from tests.conftest import TINY

FEW = (*TINY, "trainer.max_epochs=2", "trainer.enable_progress_bar=false")
RUNS = {
    "search": (*FEW, "method=darts1"),
    "evaluate": (
        *(o for o in FEW if not o.startswith("space.")),
        "genotype=DARTS_V2",
        "recipe.drop_path=0.3",
    ),
}
# In the second of the added epochs.
STOPS = {
    "search": ("nas.engine.search_module", "SearchModule", "_weight_step", 3, ""),
    "evaluate": ("nas.engine.evaluation_module", "EvaluationModule", "training_step", 3, ""),
}


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(file)]


def summary(folder, name="summary.json"):
    return json.loads((folder / name).read_text())


@pytest.mark.parametrize("name", ["search", "evaluate"])
def test_a_finished_run_gets_more_epochs_by_a_restart_alone_and_repeats(run, tmp_path, name):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(name, *RUNS[name], f"hydra.run.dir={whole}").status == 0
    finished = summary(whole)
    refused = run(name, f"resume={whole}", "trainer.max_epochs=4")
    assert refused.status == 2 and refused.err.count("\n") == 1
    assert "new run of the whole length" in refused.err and "resume_schedule=restart" in refused.err
    assert summary(whole) == finished
    shutil.copytree(whole, parts)

    more = ("trainer.max_epochs=4", "resume_schedule=restart")
    done = run(name, f"resume={whole}", *more)
    assert (done.status, done.err) == (0, "")
    found = [row["learning_rate"] for row in rows(whole)]
    assert found[2] == found[1] > found[3]
    if name == "evaluate":
        assert [row["drop_path"] for row in rows(whole)] == [0, 0.15, 0.3, 0.3]
    assert summary(whole, "summary.2.json") == finished
    assert summary(whole)["restarts"] == [{"at": 2, "before": 2, "epochs": 4}]
    assert summary(whole)["epochs"] == 4

    kill_at(tmp_path, STOPS[name], name, f"resume={parts}", *more)
    assert summary(parts)["status"] == "running"
    # Nothing is to be typed again, and nothing is harmed where it is.
    assert run(name, f"resume={parts}", *(more if name == "search" else ())).status == 0
    assert_same_end(name, whole, parts)
    assert summary(parts, "summary.2.json") == finished

    assert run(name, f"resume={whole}", "trainer.max_epochs=5", "resume_schedule=restart").status == 0
    assert [restart["at"] for restart in summary(whole)["restarts"]] == [2, 4]
    assert rows(whole)[4]["learning_rate"] == found[3]
    assert summary(whole, "summary.4.json")["epochs"] == 4


@pytest.fixture
def composed():
    """`composed("search", "method=...") -> config` as a run folder's `config.yaml` has it."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda root, *overrides: compose(root, list(overrides))
    GlobalHydra.instance().clear()


@pytest.fixture
def resumed(composed, tmp_path, monkeypatch):
    """`resumed("search", epochs, mode, *overrides) -> config` of a run of 50 epochs with 20 behind it."""
    monkeypatch.setattr(
        "nas.running.lengthening.newest_readable", lambda folder, **options: (folder / "20", 20)
    )

    def call(root, epochs, mode, *overrides):
        config = composed(root, "trainer.max_epochs=50", *overrides)
        set_length(config, tmp_path, epochs, mode)
        return config

    return call


@pytest.mark.parametrize("epochs", [80, 30], ids=["more", "fewer"])
@pytest.mark.parametrize(
    ("root", "overrides"),
    [
        ("search", ("method=dsonas", "space=dso")),
        ("search", ("method=drnas_rnn", "space=darts_rnn", "dataset=wikitext_mini")),
        ("search", ("method=darts1", "method.weight_scheduler.T_max=20")),
        ("evaluate", ("recipe=wikitext_mini", "dataset=wikitext_mini", "space=darts_rnn")),
        ("evaluate", ("recipe=imagenet", "recipe.drop_path=0")),
    ],
    ids=["constant", "a cosine to where it starts", "over long ago", "text", "falls for ever"],
)
def test_schedules_without_a_length_go_on(resumed, root, overrides, epochs):
    config = resumed(root, epochs, None, *overrides)
    assert (config.trainer.max_epochs, list(config.restarts)) == (epochs, [])


@pytest.mark.parametrize(
    ("root", "epochs", "mode", "overrides", "words"),
    [
        (
            "search",
            80,
            None,
            ("method=drnas",),
            r"method\.weight_scheduler.*50 epochs.*resume_schedule=restart",
        ),
        ("search", 30, None, ("method=drnas",), r"method\.weight_scheduler"),
        ("evaluate", 80, None, ("recipe=drnas_imagenet", "recipe.drop_path=0"), r"recipe\.scheduler"),
        ("evaluate", 80, None, ("recipe=imagenet", "recipe.drop_path=0.2"), r"recipe\.drop_path"),
        ("search", 20, "restart", (), "20 epochs behind it already"),
        ("search", 50, "restart", (), "set trainer.max_epochs too"),
        ("search", None, "restart", (), "set trainer.max_epochs too"),
        ("search", 80, "again", (), "known are null, restart"),
        ("search", 80, "restart", ("method=drnas_progressive",), r"method\.stages.*start a new run"),
    ],
)
def test_what_is_refused(resumed, root, epochs, mode, overrides, words):
    with pytest.raises(ConfigError, match=words):
        resumed(root, epochs, mode, *overrides)


def test_a_longer_schedule_is_gone_on_with_as_far_as_it_goes(resumed):
    assert resumed("search", 80, None, "method.weight_scheduler.T_max=80").trainer.max_epochs == 80
    with pytest.raises(ConfigError):
        resumed("search", 81, None, "method.weight_scheduler.T_max=80")


@pytest.mark.parametrize("key", ["resume_schedule=restart", "restarts=[{at:1,before:2,epochs:3}]"])
def test_a_new_run_has_nothing_to_restart(run, tiny, tmp_path, key):
    done = run("search", *tiny, key, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.status == 2 and key.split("=")[0] in done.err and "resumed run" in done.err
