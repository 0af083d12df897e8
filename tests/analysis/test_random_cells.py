"""Where an accuracy lies among random cells, and when it may be compared with them."""

import json

import pytest

from nas.analysis.random_cells import RandomCells, conditions_of, read_random_cells, shipped
from nas.errors import ConfigError


def record(accuracies, conditions=None):
    cells = [{"seed": seed, "test_accuracy": accuracy} for seed, accuracy in enumerate(accuracies)]
    origin = {"device": "a processor", "torch": "2.14.1"}
    return RandomCells("a_record", conditions or {"recipe.epochs": 10}, origin, cells)


@pytest.fixture
def config():
    """An evaluation's configuration, as plain containers."""
    return {
        "space": {"name": "nasbench201", "operations": ["none", "skip_connect"], "init_channels": 16},
        "dataset": {"name": "digits", "source": {"root": "/one/place", "test_seed": 0}, "root": None},
        "recipe": {"name": "short", "epochs": 10, "cells_per_stage": 2, "clip": None},
        "trainer": {"max_epochs": 10, "limit_train_batches": 1.0, "enable_progress_bar": True},
        "budget": {"macs": None},
        "hardware": {"precision": "32-true", "threads": 1},
        "overfit": False,
        "seed": 3,
    }


@pytest.mark.parametrize(
    "accuracy, worse, equal, percentile",
    [(0.95, 4, 0, 100), (0.9, 3, 1, 87.5), (0.8, 1, 2, 50), (0.5, 0, 1, 12.5), (0.1, 0, 0, 0)],
)
def test_ties_count_half(accuracy, worse, equal, percentile):
    found = record([0.5, 0.8, 0.8, 0.9]).standing(accuracy)
    assert (found.worse, found.equal, found.of, found.percentile) == (worse, equal, 4, percentile)


def test_one_number_of_right_images_is_one_accuracy_whatever_its_last_digit():
    assert record([0.9888888597488403, 0.5]).standing(356 / 360).equal == 1


def test_an_evaluation_of_the_same_kind_is_compared():
    numbers, words = record([0.5, 0.8, 0.8, 0.9]).compared({"recipe.epochs": 10}, 0.8)
    assert words == (
        "better than 1 and as good as 2 of 4 random cells: percentile 50 "
        "(a_record, recorded on a processor with torch 2.14.1)"
    )
    assert numbers == {
        "random_cells": 4,
        "random_cells_worse": 1,
        "random_cells_equal": 2,
        "random_cells_percentile": 50.0,
    }


def test_another_recipe_is_not_compared_and_says_why():
    numbers, words = record([0.5]).compared({"recipe.epochs": 20, "dataset.new": 1}, 0.9)
    assert numbers == {}
    assert words == (
        "not compared with the random cells of a_record: dataset.new is 1, there null; "
        "recipe.epochs is 20, there 10"
    )


@pytest.mark.parametrize(
    "part, key, value",
    [
        ("recipe", "epochs", 11),
        ("recipe", "clip", 5.0),
        ("trainer", "limit_train_batches", 2),
        ("dataset", "fraction", 0.5),
        ("budget", "macs", 1e6),
        ("space", "operations", ["none"]),
        ("hardware", "precision", "64-true"),
    ],
)
def test_what_decides_an_accuracy_is_a_condition(config, part, key, value):
    before = conditions_of(config, ["recipe.cells_per_stage=2"], "abc")
    config[part][key] = value
    assert conditions_of(config, ["recipe.cells_per_stage=2"], "abc") != before


def test_images_and_sizes_are_conditions(config):
    before = conditions_of(config, ["recipe.cells_per_stage=2"], "abc")
    assert conditions_of(config, ["recipe.cells_per_stage=2"], "abd") != before
    assert conditions_of(config, ["recipe.cells_per_stage=3"], "abc") != before


@pytest.mark.parametrize(
    "part, key, value",
    [
        ("trainer", "enable_progress_bar", False),
        ("dataset", "root", "elsewhere"),
        ("dataset", "source", {"root": "/another", "test_seed": 0}),
        ("dataset", "class_weights", None),
        ("hardware", "threads", 2),
    ],
)
def test_place_screen_and_keys_that_are_null_are_none(config, part, key, value):
    before = conditions_of(config, [], "abc")
    config[part][key] = value
    assert conditions_of(config, [], "abc") == before


def test_records_are_read_by_name_and_from_files(tmp_path):
    assert "start_digits" in shipped()
    assert len(read_random_cells("start_digits").cells) >= 30
    own = {"schema": 1, "conditions": {}, "origin": {}, "cells": [{"test_accuracy": 1}]}
    (tmp_path / "own.json").write_text(json.dumps(own))
    assert read_random_cells(str(tmp_path / "own.json")).standing(0.5).of == 1


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "damaged"),
        ("[" * 100_000, "damaged (nested too deeply)"),
        ("[]", "no JSON object"),
        ('{"schema": 2}', "schema must be 1"),
        ('{"schema": 1, "conditions": {}, "origin": {}}', "cells is missing"),
        ('{"schema": 1, "conditions": {}, "origin": {}, "cells": []}', "cells is empty"),
        ('{"schema": 1, "conditions": {}, "origin": {}, "cells": [3]}', "cells[0].test_accuracy"),
        (
            '{"schema": 1, "conditions": {}, "origin": {}, "cells": [{"test_accuracy": 97}]}',
            "must be a fraction from 0 to 1",
        ),
    ],
)
def test_what_is_no_record_is_refused_in_one_line(tmp_path, text, words):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_random_cells(str(tmp_path / "a.json"))
    assert words in str(refused.value) and str(refused.value).startswith("random_cells=")
    assert "\n" not in str(refused.value)


def test_a_missing_record_is_refused_with_what_there_is(tmp_path):
    with pytest.raises(ConfigError, match="start_digits"):
        read_random_cells("start_digit")
    with pytest.raises(ConfigError, match="no such file"):
        read_random_cells(str(tmp_path))
