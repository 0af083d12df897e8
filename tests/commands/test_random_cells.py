"""`random_cells=`: an evaluation says where its cell lies among random ones of its own recipe alone."""

import json

import pytest
from omegaconf import OmegaConf

from nas.analysis.random_cells import conditions_of
from nas.domains.networks import size_overrides
from nas.running.config import instantiate, plain, register_resolvers

CELL = "|skip_connect~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
SHORT = (
    "experiment=start/evaluate_digits",
    f'genotype="{CELL}"',
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=2",
)


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture
def evaluated(run, tmp_path):
    """`evaluated("a", ...)`: an evaluation of seconds into a folder of that name."""

    def call(name, *overrides):
        done = run("evaluate", *SHORT, *overrides, f"hydra.run.dir={tmp_path / name}")
        assert (done.status, done.err) == (0, "")
        return done, summary(tmp_path / name)

    return call


def test_another_recipe_says_why_it_is_not_compared_and_the_same_says_where_it_lies(evaluated, tmp_path):
    done, found = evaluated("a")
    assert "not compared with the random cells of start_digits: " in done.out
    assert "trainer.limit_train_batches is 2, there 1.0" in done.out
    assert not [key for key in found if key.startswith("random_cells")]

    register_resolvers()
    config = OmegaConf.load(tmp_path / "a/config.yaml")
    conditions = conditions_of(
        plain(config), size_overrides(config, instantiate(config.space)), found["split_hash"]
    )
    accuracies = [0.0, found["test_accuracy"], 1.0, 1.0]
    own = tmp_path / "own.json"
    cells = [{"test_accuracy": accuracy} for accuracy in accuracies]
    own.write_text(json.dumps({"schema": 1, "conditions": conditions, "origin": {}, "cells": cells}))
    done, again = evaluated("b", f"random_cells={own}")
    assert "better than 1 and as good as 1 of 4 random cells: percentile 38" in done.out
    assert again["test_accuracy"] == found["test_accuracy"]
    assert (again["random_cells"], again["random_cells_percentile"]) == (4, 37.5)


def test_a_record_that_is_not_there_stops_the_run_before_it_begins(run, tmp_path):
    done = run("evaluate", *SHORT, "random_cells=start_digit", f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 2
    assert "random_cells=start_digit: there is no such file" in done.err and "start_digits" in done.err
    assert not (tmp_path / "a/config.yaml").exists()
