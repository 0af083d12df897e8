"""`size=auto`: plain numbers that suit data, memory and time, of which what was typed is none."""

import json

import pytest
from omegaconf import OmegaConf

from nas.commands import auto_size
from nas.measure.auto_rules import EVALUATION, SEARCH, batch_for, begin_at, rescale_epochs, rungs_of

KEYS = {"num_cells": 1, "init_channels": 1}
ONE = ("dataset=digits", "traceback=false", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1")


@pytest.fixture
def priced(monkeypatch):
    """`priced(search, training)`: made-up seconds of an epoch, each times cells times squared channels."""

    def put(search, training):
        def of(sizes, epochs, each):
            return each * sizes["num_cells"] * sizes["init_channels"] ** 2 * epochs, "made up"

        monkeypatch.setattr(
            auto_size, "search_price", lambda config, *_: of(config.space, config.trainer.max_epochs, search)
        )
        monkeypatch.setattr(
            auto_size,
            "training_price",
            lambda config, *_: of(config.recipe, config.trainer.max_epochs, training),
        )

    return put


def test_a_search_has_plain_numbers_and_so_have_its_resume_and_its_evaluation(run, priced, tmp_path):
    priced(0.002, 1e-4)
    folder = tmp_path / "search"
    words = (*ONE, "size=auto", "time=0.25", f"hydra.run.dir={folder}", "dataset.batch_size=16")
    done = run("search", *words, "space.num_cells=3", "space.num_nodes=2", "time_limit=0")
    config = OmegaConf.load(folder / "config.yaml")
    # Digits are few: the ladder begins at 8 channels, of which 33 epochs fit into 85 % of 15 seconds.
    assert config.size is None and config.space.num_cells == 3 and config.dataset.batch_size == 16
    assert (config.space.init_channels, config.trainer.max_epochs) == (8, 33), done.out
    assert "search: space.init_channels=8 trainer.max_epochs=33 (about 13s)" in done.out
    assert "evaluate later: recipe.num_cells=8" in done.out and config.recipe.num_cells == 8
    told = json.loads((folder / "summary.json").read_text())
    assert told["sized_for_minutes"] == 0.25 and told["sized"]["search"]["trainer.max_epochs"] == 33
    priced(1e9, 1e9)
    resumed = run("search", f"resume={folder}", "time_limit=0")
    assert resumed.status == 130 and OmegaConf.load(folder / "config.yaml").trainer.max_epochs == 33


@pytest.mark.parametrize(
    "words, told",
    [
        (("size=large",), "size=large: must be auto, or null"),
        (("time=3",), "time=3: only with size=auto"),
        (("size=auto", "time=-1"), "time=-1: must be a number of minutes above 0"),
        (("size=auto", "time=0.001"), "time=0.001: 10 epochs of the smallest supernet take about"),
        (("size=auto", "hardware.memory_gib=0.4"), "size=auto: not even 2 images a step fit the memory"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(run, priced, tmp_path, words, told):
    priced(0.01, 0.01)
    done = run("search", *ONE, *words, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.status == 2 and told in done.err and done.err.count("\n") == 1, done.err
    assert not (tmp_path / "run").exists()


def test_everything_that_is_typed_stays_and_nothing_is_measured(run, monkeypatch, tmp_path):
    monkeypatch.setattr(auto_size, "search_price", None)
    monkeypatch.setattr(auto_size, "training_price", None)
    typed = ("space.num_cells=3", "space.init_channels=2", "dataset.batch_size=16", "trainer.max_epochs=1")
    foreseen = ("recipe.num_cells=3", "recipe.init_channels=4", "recipe.batch_size=16", "recipe.epochs=2")
    done = run("search", *ONE, *typed, *foreseen, "size=auto", f"hydra.run.dir={tmp_path / 'run'}")
    assert done.status == 0, done.err
    assert done.out.count("everything was typed") == 2


def test_steps_are_timed_in_earnest_and_leave_the_search_as_it_is(run, tmp_path):
    sizes = ("space.num_cells=3", "space.num_nodes=2", "space.init_channels=2", "dataset.batch_size=16")
    sizes += ("recipe.num_cells=3", "recipe.init_channels=2", "recipe.batch_size=16", "recipe.epochs=1")
    for name, words in (("chosen", ("size=auto", "time=600")), ("typed", ("trainer.max_epochs=50",))):
        run("search", *ONE, *sizes, *words, "time_limit=0", f"hydra.run.dir={tmp_path / name}")
    chosen, typed = (tmp_path / name for name in ("chosen", "typed"))
    assert json.loads((chosen / "summary.json").read_text())["sized"]["search"] == {"trainer.max_epochs": 50}
    assert (chosen / "architecture.csv").read_bytes() == (typed / "architecture.csv").read_bytes()


def test_jobs_of_a_sweep_are_alike(run, priced, tmp_path):
    priced(0.01, 0.01)
    done = run(
        "search", "-m", *ONE, "seed=0,1", "size=auto", "time=3", f"hydra.sweep.dir={tmp_path / 'sweep'}"
    )
    assert done.status == 2 and "of several jobs, which must be alike" in done.err + done.out


def test_ladders_go_down_from_the_papers_sizes():
    assert rungs_of(KEYS, SEARCH)[0] == {"num_cells": 8, "init_channels": 16}
    assert rungs_of(KEYS, EVALUATION)[0] == {
        "num_cells": 20,
        "init_channels": 36,
    }
    assert all(one["init_channels"] % 12 == 0 for one in rungs_of(KEYS, SEARCH, (6, 4)))
    assert rungs_of({"blocks_per_stage": 1}, SEARCH) == []
    assert [begin_at("images", count) for count in (50_000, 10_000, 3_000, 100)] == [0, 1, 2, 3]


def test_batches_leave_ten_steps_and_fit():
    assert [batch_for("images", count) for count in (50_000, 400, 100, 10)] == [64, 32, 8, 8]
    assert batch_for("images", 50_000, most=20) == 16 and batch_for("text", 35 * 10 * 9) == 8


def test_stages_and_warm_up_keep_their_shares():
    stages = [{"epochs": 25, "freeze": 10, "partial": 6}, {"epochs": 25, "freeze": 10, "partial": 4}]
    config = OmegaConf.create(
        {"trainer": {"max_epochs": 50}, "method": {"stages": stages, "warmup_epochs": 0}}
    )
    rescale_epochs(config, 11, set())
    assert [(one.epochs, one.freeze) for one in config.method.stages] == [(6, 2), (5, 2)]
    config = OmegaConf.create(
        {"trainer": {"max_epochs": 50}, "method": {"stages": None, "warmup_epochs": 120}}
    )
    rescale_epochs(config, 20, set())
    assert (config.trainer.max_epochs, config.method.warmup_epochs) == (20, 10)
