"""Recurrent cells as a user types it: search, resume, evaluate, other methods, bad input."""

import csv
import filecmp
import json
import math

import pytest

TEXT = ("space=darts_rnn", "dataset=wikitext_mini", "dataset.fraction=0.1", "trainer.limit_val_batches=2")
SEARCH = (*TEXT, "space.hidden_size=8", "dataset.batch_size=16", "trainer.limit_train_batches=4")
METHODS = (
    "darts1_rnn",
    "darts2_rnn",
    "drnas_rnn",
    "drnas_rnn method.update=unrolled",
    "darts1",
    "random",
    "dsonas method.adaptive=none method.warmup_epochs=0",
)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def command(run, name, folder, *overrides):
    done = run(name, *overrides, f"hydra.run.dir={folder}")
    assert (done.status, done.err) == (0, "")
    return summary(folder)


@pytest.mark.parametrize("method", [pytest.param(METHODS[0], marks=pytest.mark.pictures), *METHODS[1:]])
def test_every_method_searches_a_cell(run, tmp_path, method):
    method, *settings = method.split()
    found = command(run, "search", tmp_path, f"method={method}", *settings, *SEARCH, "trainer.max_epochs=1")
    assert found["genotype"].startswith("Genotype(recurrent=[")
    assert (tmp_path / "figures" / "genotype.png").exists()
    if method != "random":
        (row,) = rows(tmp_path / "metrics.csv")
        assert float(row["weight_perplexity"]) == pytest.approx(math.exp(float(row["weight_loss"])))
        assert found["architecture_perplexity"] == pytest.approx(float(row["architecture_perplexity"]))
        assert "weight_accuracy" not in row


def test_a_stopped_search_goes_on_bit_by_bit(run, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    given = ("method=drnas_rnn", *SEARCH)
    command(run, "search", whole, *given, "trainer.max_epochs=3")
    command(run, "search", parts, *given, "trainer.max_epochs=1")
    assert run("search", f"resume={parts}", "trainer.max_epochs=3").status == 0
    for name in ("metrics.csv", "architecture.csv", "genotype.json", "split.json"):
        assert filecmp.cmp(whole / name, parts / name, shallow=False), name


def test_a_cell_is_evaluated_stopped_and_goes_on(run, tmp_path):
    given = (*TEXT, "genotype=DARTS_V2", "recipe.hidden_size=8", "trainer.limit_train_batches=4")
    given += ("trainer.limit_test_batches=4",)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    found = command(run, "evaluate", whole, *given, "trainer.max_epochs=2")
    assert found["test_perplexity"] == pytest.approx(math.exp(found["test_loss"]))
    assert found["recipe"] == "wikitext_mini" and "test_accuracy" not in found
    command(run, "evaluate", parts, *given, "trainer.max_epochs=1")
    assert run("evaluate", f"resume={parts}", "trainer.max_epochs=2").status == 0
    assert filecmp.cmp(whole / "metrics.csv", parts / "metrics.csv", shallow=False)
    assert summary(parts)["test_loss"] == found["test_loss"]


def test_overfit_reads_one_piece_again_and_again(run, tmp_path):
    command(
        run, "search", tmp_path, "method=darts1_rnn", *TEXT, "space.hidden_size=16", "dataset.batch_size=4",
        "overfit=true", "trainer.max_epochs=20", "space.dropout_x=0", "space.dropout_output=0",
        "space.dropout_input=0", "space.dropout_hidden=0",
    )  # fmt: skip
    metrics = rows(tmp_path / "metrics.csv")
    assert float(metrics[-1]["weight_loss"]) < float(metrics[0]["weight_loss"]) - 1


def test_a_plan_prices_a_search_on_a_text_that_is_not_there(run, tmp_path):
    done = run(
        "search", "plan=true", "debug=fast", "space=darts_rnn", "dataset=ptb", "method=drnas_rnn",
        f"dataset.root={tmp_path / 'nowhere'}", "dataset.bptt.steps=5", "recipe.hidden_size=4",
        "trainer.limit_train_batches=1.0", f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert (done.status, done.err) == (0, "")
    told = [line.split("│")[1:3] for line in done.out.splitlines() if line.startswith("│")]
    told = {name.strip(): value.strip() for name, value in told}
    # Embedding and bias of 10,000 words, the matrix of the first state, those of 3 nodes; 4 units.
    assert told["supernet: parameters"] == f"{10_000 * (4 + 1) + 8 * 8 + 3 * 4 * 8:,}"
    # 58,099 rows of 16 columns in pieces of 5 words: debug=fast has batches of 16.
    assert int(told["steps per epoch"].replace(",", "")) == pytest.approx(58_099 / 5, rel=0.05)
    assert told["batches of a validation"] == "2" and "the whole search" in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        ("search", "space=darts_rnn", "space=darts_rnn: its networks read text, but dataset=digits"),
        ("search", "dataset=wikitext_mini", "its networks read images, but dataset=wikitext_mini"),
        ("search", "dataset=wikitext_mini", "; choose space=darts_rnn method=darts1_rnn for it, or dataset="),
        ("search", "space=darts_rnn dataset=ptb", "dataset.root"),
        ("search", "space=darts_rnn dataset=wikitext2 dataset.root=null", "dataset.root"),
        ("search", "space=darts_rnn dataset=wikitext_mini dataset.batch_size=60000", "dataset.batch_size"),
        ("search", "space=darts_rnn dataset=wikitext_mini dataset.batch_size=1", "dataset.batch_size=1: ba"),
        ("search", "space=darts_rnn dataset=wikitext_mini dataset.bptt.steps=1", "dataset.bptt"),
        ("search", "space=darts_rnn dataset=wikitext_mini dataset.split=random", "dataset.split"),
        ("search", "space=darts_rnn dataset=wikitext_mini space.hidden_size=0", "space.hidden_size=0"),
        ("search", "space=darts_rnn dataset=wikitext_mini method=dsonas method.warmup_epochs=0", "adaptive"),
        ("search", "space=darts_rnn dataset=wikitext_mini method=drnas_progressive", "partial"),
        ("evaluate", "space=darts_rnn dataset=wikitext_mini dataset.valid=0.1", "dataset.valid"),
        ("evaluate", "space=darts_rnn dataset=wikitext_mini genotype=PC_DARTS_cifar", "space"),
        ("evaluate", "space=darts_rnn dataset=wikitext_mini recipe.nonmono=0", "recipe.nonmono=0"),
        (
            "evaluate",
            "space=darts_rnn dataset=wikitext_mini dataset.bptt.deviation=2",
            "dataset.bptt.deviation=2: an evaluation takes it from the recipe; set recipe.bptt.deviation",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_named_and_leaves_nothing(run, tmp_path, name, overrides, words):
    folder = tmp_path / "run"
    if name == "evaluate":
        overrides = f"genotype=DARTS_V2 {overrides}"
    done = run(name, *overrides.split(), f"hydra.run.dir={folder}")
    assert done.status == 2 and words in done.err, done.err
    assert not (folder / "summary.json").exists()
