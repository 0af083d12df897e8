"""`nas.predict` of networks of text: next words, and the perplexity that the evaluation's test had."""

import csv
import json
import math

import pytest

from nas.running.words import quoted
from tests.commands.test_bad_input import assert_refused

TEXTS = {
    "train": "the cat sat on the mat\nthe dog sat on the log\n" * 12,
    "valid": "the cat sat on the log\n" * 6,
    "test": "the dog sat on the mat\nthe cat sat\n" * 3,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("a text")


@pytest.fixture
def evaluation(run, place):
    folder = place / "evaluation"
    if not folder.exists():
        for part, text in TEXTS.items():
            (place / f"{part}.txt").write_text(text)
        done = run(
            "evaluate", "space=darts_rnn", "dataset=corpus", f"dataset.root={quoted(place)}",
            "genotype=DARTS_V1", "recipe.hidden_size=8", "dataset.batch_size=4", "trainer.max_epochs=2",
            "checkpoint.keep=1", f"hydra.run.dir={quoted(folder)}",
        )  # fmt: skip
        assert done.status == 0, done.err
    return folder


@pytest.fixture
def predict(run, tmp_path):
    def call(model, given, *overrides):
        folder = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
        named = (f"model={quoted(model)}", f"input={quoted(given)}", f"hydra.run.dir={folder}")
        return run("predict", *named, *overrides), folder

    return call


def table(folder):
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_the_perplexity_is_that_of_the_evaluation(evaluation, predict, run, place, tmp_path):
    done, folder = predict(evaluation, place / "test.txt")
    assert (done.status, done.err) == (0, "")
    found, tested = summary(folder), summary(evaluation)
    assert found["perplexity"] == pytest.approx(tested["test_perplexity"], rel=1e-4)
    assert f"perplexity {found['perplexity']:.2f}" in done.out
    lines = table(folder)
    assert [one["word"] for one in lines] == TEXTS["test"].replace("\n", " <eos> ").split()
    assert [one["following"] for one in lines] == [*(one["word"] for one in lines[1:]), ""]
    losses = [-math.log(float(one["probability"])) for one in lines[:-1]]
    assert math.exp(sum(losses) / len(losses)) == pytest.approx(found["perplexity"], rel=1e-4)
    best = [float(lines[0][f"probability_{rank}"]) for rank in range(1, 6)]
    assert best == sorted(best, reverse=True) and 0 < sum(best) < 1
    exported = tmp_path / "exported"
    done = run("export", f"run={quoted(evaluation)}", "format=onnx", "words=9", f"hydra.run.dir={exported}")
    assert (done.status, done.err) == (0, "")
    done, again = predict(exported / "model.onnx", place / "test.txt")
    assert done.status == 0
    assert summary(again)["perplexity"] == pytest.approx(found["perplexity"], rel=1e-5)


def test_unknown_words_are_refused_or_read_as_the_vocabulary_says(evaluation, predict, tmp_path):
    (tmp_path / "own.txt").write_text("the cow sat\nthe cow lay\n")
    done, _ = predict(evaluation, tmp_path / "own.txt")
    assert_refused(done, "3 words (2 different) are not in the vocabulary", "no <unk>", "cow (2)", "lay (1)")
    file = evaluation / "network.json"
    before = file.read_text()
    about = json.loads(before)
    words = ["<unk>" if word == "log" else word for word in about["words"]]
    file.write_text(json.dumps(about | {"words": words}))
    try:
        done, folder = predict(evaluation, tmp_path / "own.txt", "top=1")
        assert done.status == 0 and "read as <unk>: cow (2), lay (1)" in done.out + done.err
        assert summary(folder)["unknown_words"] == 3
        assert [one["word"] for one in table(folder)][:2] == ["the", "cow"]
        (tmp_path / "own.txt").write_text("")
        assert_refused(predict(evaluation, tmp_path / "own.txt")[0], "needs at least 2")
    finally:
        file.write_text(before)


def test_a_network_of_text_reads_no_folder(evaluation, predict, tmp_path):
    assert_refused(predict(evaluation, tmp_path)[0], "reads a text file")
