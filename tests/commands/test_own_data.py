"""Somebody else's data set, as a command meets it: refused before the first step, or trained as it is."""

import csv
import json

import pytest

from nas.analysis.confusion import read_confusion
from tests.commands.test_bad_input import assert_refused

OWN = ("dataset.source._target_=tests.commands.own_source.OwnImages", "~dataset.source.test_seed")
UNEVEN = (*OWN, "dataset.split=random", "dataset.class_weights=balanced", "dataset.batch_size=8")


def evaluation(tiny):
    return [one for one in tiny if not one.startswith("space.")]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["+dataset.source.held=[1,16,64]"], ("training images are [1, 16, 64]", "[1, 8, 8]")),
        (["+dataset.source.shape=[0,8,8]"], ("image_shape must be three", "(0, 8, 8)")),
        (["+dataset.source.std=0"], ("std must be above 0",)),
        (["+dataset.source.sizes=[90,1]"], ("dataset.split=stratified", "none of the 1 images of class 1")),
        (["dataset.class_weights=[1,2]"], ("dataset.class_weights=[1, 2]", "3 positive finite numbers")),
        (["dataset.class_weights=even"], ("dataset.class_weights=even", "balanced")),
        (["dataset.sampling=even"], ("dataset.sampling", "even", "balanced")),
        (
            ["dataset.sampling=balanced", "dataset.class_weights=balanced"],
            ("dataset.sampling=balanced", "dataset.class_weights=balanced", "count twice"),
        ),
    ],
)
def test_a_search_refuses_what_does_not_fit(run, tiny, tmp_path, overrides, words):
    done = run("search", *tiny, *OWN, *overrides, f"hydra.run.dir={tmp_path / 'a'}")
    assert_refused(done, *words)
    assert not (tmp_path / "a/config.yaml").exists()


def test_the_test_set_is_checked_before_the_training(run, tiny, tmp_path):
    words = [*evaluation(tiny), *OWN, "genotype=DARTS_V2", "+dataset.source.test_label=1"]
    done = run("evaluate", *words, f"hydra.run.dir={tmp_path / 'a'}")
    assert_refused(done, "labels of the test images run from 1 to 3, but num_classes=3 allows 0 to 2")
    assert not (tmp_path / "a/config.yaml").exists()
    # Where it is left alone it may be anything.
    assert run("evaluate", *words, "test=false", f"hydra.run.dir={tmp_path / 'b'}").status == 0
    assert not (tmp_path / "b/confusion.csv").exists()
    done = run("evaluate", *words, "test=false", "metrics=[f1]", f"hydra.run.dir={tmp_path / 'c'}")
    assert_refused(done, "metrics=['f1']: without effect where test=false and dataset.valid=0")


def test_weights_of_classes_are_for_images(run, tmp_path):
    text = ("space=darts_rnn", "dataset=wikitext_mini", "method=drnas_rnn", "dataset.fraction=0.1")
    done = run("search", *text, "+dataset.class_weights=balanced", f"hydra.run.dir={tmp_path / 'a'}")
    assert_refused(done, "dataset.class_weights=balanced")
    done = run("search", *text, "+dataset.sampling=balanced", f"hydra.run.dir={tmp_path / 'a'}")
    assert_refused(done, "dataset.sampling=balanced")


def test_uneven_classes_are_weighed_and_measured(run, tiny, tmp_path):
    for command, words in {
        "search": [*tiny, "method=darts2"],
        "evaluate": [*evaluation(tiny), "genotype=DARTS_V2", "dataset.valid=0.2"],
    }.items():
        folders = [tmp_path / command / name for name in ("weighed", "plain")]
        for folder, more in zip(folders, ((), ("dataset.class_weights=null",)), strict=True):
            run_words = [*words, *UNEVEN, "trainer.limit_val_batches=1.0", *more, f"hydra.run.dir={folder}"]
            done = run(command, *run_words)
            assert done.status == 0, done
        weighed, plain = (json.loads((folder / "summary.json").read_text()) for folder in folders)
        trained, part = ("weight", "architecture") if command == "search" else ("train", "valid")
        assert weighed[f"{trained}_loss"] != plain[f"{trained}_loss"]
        [row] = csv.DictReader((folders[0] / "metrics.csv").open())
        balanced = float(row[f"{part}_balanced_accuracy"])
        assert balanced == pytest.approx(weighed[f"{part}_balanced_accuracy"])
        # Three classes that have six to one images: the plain accuracy is another number.
        assert 0 <= balanced <= 1 and balanced != pytest.approx(weighed[f"{part}_accuracy"], abs=1e-4)
        if command == "evaluate":
            assert 0 <= weighed["test_balanced_accuracy"] <= 1


def test_rare_classes_are_drawn_as_often_as_others(run, tiny, tmp_path):
    words = [*evaluation(tiny), *OWN, "genotype=DARTS_V2", "test=false", "dataset.valid=0.2", "metrics=[f1]"]
    words += ["trainer.limit_val_batches=1.0"]
    folders = [tmp_path / name for name in ("even", "again", "plain")]
    for folder, sampling in zip(folders, ("balanced", "balanced", "null"), strict=True):
        done = run("evaluate", *words, f"dataset.sampling={sampling}", f"hydra.run.dir={folder}")
        assert done.status == 0, done
    even, again, plain = (json.loads((one / "summary.json").read_text())["train_loss"] for one in folders)
    assert even == again != plain
    # What is held out is there once, whatever is drawn in training: a fifth of 60, 20 and 10 images.
    pairs = [read_confusion(folder / "confusion.csv") for folder in folders]
    assert {one.part for one in pairs} == {"valid"} and pairs[0] == pairs[1]
    assert all([sum(row) for row in one.counts] == [12, 4, 2] for one in pairs)
    assert all(0 <= json.loads((one / "summary.json").read_text())["valid_f1"] <= 1 for one in folders)


def test_a_plan_counts_somebody_elses_images(run, tiny, tmp_path):
    done = run("search", *tiny, *UNEVEN, "plan=true", f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 0, done
    assert "90 (counted)" in done.out


def test_a_plan_of_files_that_are_not_there_invents_nothing(run, tiny, tmp_path):
    missing = (f"dataset.root={tmp_path / 'no'}", f"hydra.run.dir={tmp_path / 'a'}", "plan=true")
    words = ("dataset=imagenet", "recipe=digits", "dataset.source.image_size=16", *missing)
    done = run("search", *tiny, *words)
    assert done.status == 0, done
    assert "unknown (its files are not here)" in done.out and "1,000 images for the weights" in done.out
    assert "the whole search" not in done.out
    done = run("search", *tiny, *words, "dataset.source.num_images=[1000,10]")
    assert "1,000 (declared, not counted)" in done.out and "the whole search" in done.out
