"""docs/own_data.md: what it says is typed is what the record types, and its table is that of the record."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.first_run import NEXT
from experiments.own_data import baselines, record, sets
from experiments.records import between

PAGE = record.PAGE.read_text(encoding="utf-8")


def test_the_page_holds_what_was_recorded():
    assert between(PAGE, record.BEGIN, record.END)[1].strip() == record.tables(record.recorded()).strip()


@pytest.mark.parametrize("name", record.SHOWN)
def test_the_page_types_what_the_record_types(name):
    assert f"python -m {record.SHOWN[name].search}\n" in PAGE
    assert len(record.SHOWN[name].python.strip().splitlines()) <= 12
    compile(record.SHOWN[name].python, name, "exec")


def test_the_python_of_the_page_is_that_of_the_record():
    assert record.SHOWN["pictures"].python in PAGE


@pytest.mark.parametrize("name", record.SHOWN)
def test_the_path_leads_from_the_first_command_to_a_prediction(name, tmp_path):
    shown = record.SHOWN[name]
    shown.write(tmp_path)
    found = record.walk(shown, 0, tmp_path, ["trainer.max_epochs=1", "recipe.epochs=1"])
    assert found["value"] > 0 and found["params"] > 50_000
    typed = [
        shlex.split(line)[3] for line in (tmp_path / "seed0.log").read_text().splitlines() if line[:2] == "$ "
    ]
    assert typed == [f"nas.{one}" for one in ("search", *NEXT)]


def test_plain_models_have_the_size_that_is_asked_for_and_learn():
    network = baselines.of_size(lambda width: baselines.resnet(3, width, 10, False), 40_000)
    assert abs(baselines.params(network) - 40_000) < 4_000
    images, labels = sets.digits()
    train, test = ((images[some][:300, None] / 255.0, labels[some][:300]) for some in sets.split_digits())
    assert baselines.train_resnet(train, test, 3_000, 6, 32, seed=0) > 0.5
    assert baselines.logistic_regression(train, test) > 0.8


def test_signals_keep_their_one_row():
    network = baselines.resnet(6, 4, 4, flat=True)
    assert network(torch.randn(2, 6, 1, 100)).shape == (2, 4)
    assert {one.kernel_size for one in network.modules() if isinstance(one, torch.nn.Conv2d)} == {
        (1, 3),
        (1, 1),
    }


def test_pairs_of_words_beat_words_alone(tmp_path):
    for name in ("train", "valid", "test"):
        Path(tmp_path / f"{name}.txt").write_text("a b c\n" * 50)
    assert baselines.bigram_perplexity(tmp_path) < 1.5
    assert np.isfinite(baselines.train_lstm(tmp_path, 500, 1, 4, seed=0))
