"""A text of one's own read as characters: search, evaluation, export, prediction, Python."""

import csv
import json
import math

import pytest

import nas
from nas.formats.weights import read_description
from nas.running.words import quoted
from tests.commands.test_bad_input import assert_refused

TEXTS = {
    "train": "the cat sat\non the mat\n" * 20,
    "valid": "the mat\n" * 5,
    "test": "a cat sat\non the Mat\n" * 2,
}
SIZES = (
    "space=darts_rnn",
    "dataset=corpus",
    "dataset.tokenizer=characters",
    "dataset.batch_size=4",
    "size=null",
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    place = tmp_path_factory.mktemp("own text")
    for part, text in TEXTS.items():
        (place / f"{part}.txt").write_text(text)
    return place


@pytest.fixture
def evaluation(run, corpus):
    folder = corpus / "evaluation"
    if not folder.exists():
        done = run(
            "evaluate", *SIZES, f"dataset.root={quoted(corpus)}", "genotype=DARTS_V1", "recipe.hidden_size=8",
            "trainer.max_epochs=1", "checkpoint.keep=1", f"hydra.run.dir={quoted(folder)}",
        )  # fmt: skip
        assert done.status == 0, done.err
        assert (
            "test.txt: 2 of 42 characters (1 different) are not in the training text" in done.out + done.err
        )
        assert "bits per character" in done.out
    return folder


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def rows(file):
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_a_search_and_what_it_records(run, corpus, tmp_path):
    done = run(
        "search", *SIZES, "method=darts1_rnn", "space.hidden_size=4", "space.num_nodes=2",
        "trainer.max_epochs=1", f"dataset.root={quoted(corpus)}", "dataset.valid_batch_size=4",
        f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert done.status == 0, done.err
    found, (row,) = summary(tmp_path / "run"), rows(tmp_path / "run" / "metrics.csv")
    loss = found["architecture_loss"]
    assert found["architecture_bits_per_character"] == pytest.approx(loss / math.log(2))
    assert found["architecture_perplexity"] == pytest.approx(math.exp(loss))
    assert float(row["weight_bits_per_character"]) == pytest.approx(float(row["weight_loss"]) / math.log(2))


def test_prediction_needs_no_corpus(run, evaluation, corpus, tmp_path):
    tested = summary(evaluation)
    assert tested["test_bits_per_character"] == pytest.approx(tested["test_loss"] / math.log(2))
    about = json.loads((evaluation / "network.json").read_text())
    assert about["tokenizer"] == "characters" and "\n" in about["words"] and about["words"][-1] == "<unk>"
    (tmp_path / "own.txt").write_bytes(TEXTS["test"].replace("\n", "\r\n").encode())
    hidden = corpus.rename(tmp_path / "moved")
    folder = tmp_path / "out"
    given = (f"model={quoted(hidden / 'evaluation')}", f"input={tmp_path / 'own.txt'}", "top=3")
    try:
        done = run("predict", *given, f"hydra.run.dir={folder}")
    finally:
        hidden.rename(corpus)
    assert done.status == 0 and "read as <unk>: 'M' (2)" in done.out + done.err
    found = summary(folder)
    assert (found["characters"], found["unknown_characters"]) == (42, 2)
    assert found["perplexity"] == pytest.approx(tested["test_perplexity"], rel=1e-4)
    assert found["bits_per_character"] == pytest.approx(tested["test_bits_per_character"], rel=1e-4)
    assert f"{found['bits_per_character']:.3f} bits a character) of 42 characters" in done.out
    lines = rows(folder / "predictions.csv")
    assert [one["character"] for one in lines] == [r"\n" if one == "\n" else one for one in TEXTS["test"]]
    assert [one["following"] for one in lines[:-1]] == [one["character"] for one in lines[1:]]
    assert set(lines[0]) == {"index", "character", "following", "probability"} | {
        f"{what}_{rank}" for rank in (1, 2, 3) for what in ("next", "probability")
    }


def test_an_exported_file_and_python_read_the_same(run, evaluation, tmp_path):
    folder = tmp_path / "exported"
    given = (f"run={quoted(evaluation)}", "format=safetensors", "words=9", f"hydra.run.dir={folder}")
    done = run("export", *given)
    assert done.status == 0, done.err
    assert summary(folder)["characters"] == "9 characters of the test text of corpus"
    assert read_description(folder / "model.safetensors").tokenizer == "characters"
    (tmp_path / "own.txt").write_text("the cat")
    given = (
        f"model={quoted(evaluation)}",
        f"input={tmp_path / 'own.txt'}",
        f"hydra.run.dir={tmp_path / 'out'}",
    )
    done = run("predict", *given)
    assert done.status == 0, done.err
    model, loss = nas.load(evaluation).model, summary(tmp_path / "out")["loss"]
    assert model.perplexity("the cat") == pytest.approx(math.exp(loss), rel=1e-4)
    assert model.bits("the cat") == pytest.approx(loss / math.log(2), rel=1e-4)
    assert [one.after for one in model.predict("a\r\nZ")] == ["a", "\n", "<unk>"]
    data = nas.datasets.corpus(evaluation.parent, tokenizer="characters")
    assert data.source.words() == model.words


def test_texts_that_are_too_short_and_other_tokenizers_are_refused(run, tmp_path):
    def evaluate(*settings):
        return run(
            "evaluate", "space=darts_rnn", "dataset=corpus", f"dataset.root={tmp_path}", "genotype=DARTS_V1",
            "recipe.hidden_size=4", "size=null", f"hydra.run.dir={tmp_path / 'run'}", *settings,
        )  # fmt: skip

    for part in TEXTS:
        (tmp_path / f"{part}.txt").write_text("ab" * 20)
    assert_refused(evaluate("dataset.tokenizer=letters"), "dataset.tokenizer=", "words, characters")
    characters = "dataset.tokenizer=characters"
    assert_refused(evaluate(characters), "dataset.batch_size", "from 1 to 20", "2 of the 40 tokens")
    (tmp_path / "test.txt").write_text("a")
    assert_refused(evaluate(characters, "dataset.batch_size=2"), "1 tokens", "more text is needed")
    assert not (tmp_path / "run").exists()
