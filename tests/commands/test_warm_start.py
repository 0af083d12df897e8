"""`init=` and `freeze_epochs=`: trained weights where names and shapes agree, which rest at first."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from nas.engine.checkpoints import list_checkpoints
from tests.commands.test_bad_input import assert_refused
from tests.commands.test_resume import assert_same_end, kill_at
from tests.conftest import TINY

SIZES = ("recipe.num_cells=3", "recipe.init_channels=2", "genotype=DARTS_V2", "recipe.batch_size=16")
SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=3", "trainer.limit_test_batches=1")
WORDS = (
    "space=darts_rnn", "dataset=wikitext_mini", "genotype=DARTS_V2", "recipe.hidden_size=6",
    "recipe.embedding_size=6", "recipe.batch_size=4", "recipe.nonmono=1", "trainer.limit_val_batches=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def trained(run, place):
    """`trained("digits") -> folder` of an evaluation, made once."""

    def call(name, *words):
        folder = place / name
        if not folder.exists():
            done = run("evaluate", *words, *SHORT, f"hydra.run.dir={folder}")
            assert (done.status, done.err) == (0, "")
        return folder

    return call


@pytest.fixture
def three(tmp_path):
    """Overrides of a data set of three classes of images like the digits."""
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 255, (60, 8, 8), dtype=np.uint8), np.arange(60) % 3
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    return ("dataset=arrays", f"dataset.file={tmp_path / 'a.npz'}", "recipe=digits")


def weights(folder):
    state = torch.load(list_checkpoints(folder / "checkpoints")[0], weights_only=True)["state_dict"]
    return {name.removeprefix("network."): one for name, one in state.items() if name.startswith("network.")}


def moved(before, after):
    return {name for name in before.keys() & after.keys() if not torch.equal(before[name], after[name])}


def test_a_new_head_trains_alone_then_all_of_it(run, trained, three, tmp_path):
    digits = trained("digits", *SIZES)
    words = (*SIZES, *three, *SHORT, f"init={digits}", "freeze_epochs=1", "recipe.optimizer.weight_decay=0.1")
    done = run("evaluate", *words, f"hydra.run.dir={tmp_path / 'rested'}")
    assert (done.status, done.err) == (0, "")
    before, after = weights(digits), weights(tmp_path / "rested")
    head = {"classifier.weight", "classifier.bias"}
    assert after["classifier.weight"].shape[0] == 3
    # Running statistics too, and no decay of 0.1.
    assert moved(before, after) == head
    told = json.loads((tmp_path / "rested/summary.json").read_text())["init"]
    assert (set(told["anew"]), set(told["unused"])) == (head, head)
    assert told["tensors"] == len(before) - 2 and told["from"].startswith(str(digits))
    line = next(line for line in done.out.splitlines() if line.startswith("init:"))
    parameters = int(re.search(r"with ([\d,]+) parameters taken", line)[1].replace(",", ""))
    assert parameters == told["parameters"] > 500
    assert "classifier.weight" in line and "rest for 1 epoch\n" in done.out
    assert "init:" in (tmp_path / "rested/evaluate.log").read_text()
    done = run("evaluate", *words, "trainer.max_epochs=2", f"hydra.run.dir={tmp_path / 'both'}")
    assert done.status == 0, done.err
    gone = moved(before, weights(tmp_path / "both"))
    assert {"stem.conv.weight", *head} <= gone and any("running_mean" in name for name in gone)


def test_a_last_layer_of_other_classes_begins_anew_unless_it_is_asked_for(run, tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (60, 8, 8), dtype=np.uint8)
    for name, classes in (("a", "abc"), ("b", "abx")):
        np.savez(tmp_path / f"{name}.npz", images=images, labels=np.array(list(classes))[np.arange(60) % 3])

    def evaluate(folder, file, *words):
        data = ("dataset=arrays", f"dataset.file={tmp_path / file}.npz", "recipe=digits")
        done = run("evaluate", *SIZES, *SHORT, *data, *words, f"hydra.run.dir={tmp_path / folder}")
        assert (done.status, done.err) == (0, "")
        return json.loads((tmp_path / folder / "summary.json").read_text()).get("init"), done.out

    evaluate("first", "a")
    told, out = evaluate("other", "b", f"init={tmp_path / 'first'}")
    assert set(told["anew"]) == set(told["unused"]) == {"classifier.weight", "classifier.bias"}
    assert "the weights know c, this network x" in told["head"] and told["head"] in out
    told, _ = evaluate("taken", "b", f"init={tmp_path / 'first'}", "init_head=take")
    assert told["anew"] == told["unused"] == [] and "head" not in told


def test_the_same_training_again_starts_from_the_same_weights(run, trained, three, tmp_path):
    first = tmp_path / "first"
    words = (*SIZES, *three, f"init={trained('digits', *SIZES)}", "init_head=anew", "freeze_epochs=1")
    done = run("evaluate", *words, *SHORT, f"hydra.run.dir={first}")
    assert (done.status, done.err) == (0, "")

    def again(name, *typed):
        folder = tmp_path / name
        done = run("evaluate", f"run={first}", "seed=1", *SHORT, *typed, f"hydra.run.dir={folder}")
        assert (done.status, done.err) == (0, "")
        config = OmegaConf.load(folder / "config.yaml")
        return config.init, config.init_head, config.freeze_epochs

    origin = str(trained("digits"))
    assert again("a") == (origin, "anew", 1)
    assert again("b", "freeze_epochs=0") == (origin, "anew", 0)
    assert again("c", "init=null") == (None, "names", 0)
    assert again("e", f"init={first}") == (str(first), "names", 0)
    # Another recipe has sizes of its own, and those weights would fit no other network.
    assert again("f", "recipe.init_channels=2")[0] is None
    assert again("d", "recipe=digits", "recipe.num_cells=3", "recipe.init_channels=2")[0] is None


def test_an_exported_file_is_as_good_as_the_folder(run, trained, tmp_path):
    digits = trained("digits", *SIZES)
    done = run("export", f"run={digits}", "format=safetensors", f"hydra.run.dir={tmp_path / 'x'}")
    assert done.status == 0, done.err
    ends = []
    for number, place in enumerate((digits, list_checkpoints(digits / "checkpoints")[0], tmp_path / "x")):
        place = place / "model.safetensors" if place == tmp_path / "x" else place
        folder = tmp_path / str(number)
        done = run("evaluate", *SIZES, *SHORT, "test=false", f"init={place}", f"hydra.run.dir={folder}")
        assert done.status == 0, done.err
        assert json.loads((folder / "summary.json").read_text())["init"]["anew"] == []
        ends.append(weights(folder))
    assert moved(ends[0], ends[1]) == moved(ends[0], ends[2]) == set()
    assert moved(ends[0], weights(digits))


MOMENTS = {
    "before the first checkpoint": 2,
    "while they rest": 5,
    "when they train again": 8,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_training_ends_the_same_without_the_first_folder(run, trained, three, tmp_path, moment):
    words = (
        *SIZES, *three, "trainer.max_epochs=3", "trainer.limit_train_batches=3", "freeze_epochs=2",
        "hardware.threads=1", "trainer.enable_progress_bar=false",
    )  # fmt: skip
    first = tmp_path / "first"
    shutil.copytree(trained("digits", *SIZES), first)
    words = (*words, f"init={first}")
    assert run("evaluate", *words, f"hydra.run.dir={tmp_path / 'whole'}").status == 0
    step = ("nas.engine.evaluation_module", "EvaluationModule", "training_step", MOMENTS[moment], "")
    kill_at(tmp_path, step, "evaluate", *words, f"hydra.run.dir={tmp_path / 'run'}")
    shutil.rmtree(first)
    done = run("evaluate", f"resume={tmp_path / 'run'}")
    assert (done.status, done.err) == (0, "")
    assert_same_end("evaluate", tmp_path / "run", tmp_path / "whole")
    assert not (tmp_path / "run/checkpoints/init.ckpt").exists()


def test_a_language_model_begins_with_the_best_weights_of_another(run, trained, tmp_path):
    words = trained("words", *WORDS)
    again = (*WORDS, *SHORT, f"init={words}", "space.tied=false", "recipe.embedding_size=6")
    done = run("evaluate", *again, "freeze_epochs=1", f"hydra.run.dir={tmp_path / 'e'}")
    assert (done.status, done.err) == (0, "")
    before, after = weights(words), weights(tmp_path / "e")
    told = json.loads((tmp_path / "e/summary.json").read_text())["init"]
    assert moved(before, after) <= set(told["anew"])
    assert told["tensors"] > 3


def test_what_cannot_be_taken_is_refused_in_a_line(run, trained, tmp_path):
    digits = trained("digits", *SIZES)
    done = run("search", *TINY, f"hydra.run.dir={tmp_path / 's'}")
    assert done.status == 0, done.err
    (tmp_path / "damaged.safetensors").write_bytes(b"no weights")
    (tmp_path / "empty").mkdir()

    def refused(message, *words):
        folder = tmp_path / "refused"
        assert_refused(run("evaluate", *SIZES, *SHORT, *words, f"hydra.run.dir={folder}"), message)
        assert not (folder / "config.yaml").exists()

    refused("freeze_epochs=1: the weights that init= takes rest", "freeze_epochs=1")
    refused("nothing would train", f"init={digits}", "freeze_epochs=1")
    refused("a search's holds a supernet", f"init={list_checkpoints(tmp_path / 's/checkpoints')[0]}")
    refused("none of its", f"init={digits}", "recipe.init_channels=6")
    refused("no such file", f"init={tmp_path / 'nothing'}")
    refused("no checkpoint of nas.evaluate", f"init={tmp_path / 'empty'}")
    refused("no safetensors file, or damaged", f"init={tmp_path / 'damaged.safetensors'}")
    refused("init_head=some: unknown", f"init={digits}", "init_head=some")
    refused("init_head=take: of the weights that init= takes", "init_head=take")
    refused("freeze_epochs=-1", f"init={digits}", "freeze_epochs=-1")
