"""A metric is declared in one place: added there, with what computes it, it is found wherever metrics are."""

import json

import pytest
import sklearn.metrics as oracles
import torch
from omegaconf import OmegaConf

from nas.analysis import metrics, summaries, sweeps
from nas.analysis.confusion import read_confusion
from nas.analysis.metrics import ACCURACY, Metric, is_result, metric_of, place, with_asked
from nas.analysis.sweeps import Run
from nas.engine import tasks
from nas.engine.run_folder import read_table
from nas.errors import ConfigError
from nas.running.multirun import better_end, objective_values

SURPRISE = Metric("surprise", higher=False, word="surprise", unit="bits", decimals=1, short=".1f", least=0.0)


@pytest.fixture
def surprise(monkeypatch):
    """The mean surprise at the right class, in bits: measured batch by batch."""

    def measure(logits_BK, answers_B, labels_B):
        return -logits_BK.log_softmax(dim=1)[torch.arange(len(labels_B)), labels_B].mean() / 0.6931

    monkeypatch.setitem(metrics.OF_TASKS, "images", (*metrics.OF_TASKS["images"], SURPRISE))
    monkeypatch.setitem(tasks.SCORES, SURPRISE.name, measure)


@pytest.mark.usefixtures("surprise")
def test_a_new_metric_is_in_table_line_summary_and_sweep(run, tmp_path):
    done = run(
        "evaluate", "genotype=DARTS_V2", "dataset=digits", "dataset.valid=0.2", "recipe.num_cells=3",
        "recipe.init_channels=2", "trainer.max_epochs=1", "trainer.limit_train_batches=2",
        "trainer.limit_val_batches=1", "metrics=[f1,auroc,kappa,mcc,ece,top5,top3]",
        f"hydra.run.dir={tmp_path}",
    )  # fmt: skip
    assert done.status == 0, done.err
    summary = json.loads((tmp_path / "summary.json").read_text())
    (row,) = read_table(tmp_path / "metrics.csv")
    for part in ("train", "valid"):
        assert float(row[f"{part}_surprise"]) == summary[f"{part}_surprise"] > 0
        assert f"{part} surprise {summary[f'{part}_surprise']:.1f}" in done.err + done.out
    assert summary["test_surprise"] == pytest.approx(summary["test_loss"] / 0.6931, rel=1e-4)
    assert f", surprise {summary['test_surprise']:.1f}, F1 " in done.out
    found = summaries.figures_of(summary)
    assert {"test_surprise", "valid_surprise"} < set(found) and "train_surprise" not in found
    runs = [Run("0", {"seed": "0"}, "finished", figures=found)]
    assert "test_surprise" in sweeps.table_markdown(runs)
    assert better_end("valid_surprise") == "minimize"
    sweep = OmegaConf.create({"command": "evaluate"})
    assert objective_values(sweep, "valid_surprise", tmp_path) == summary["valid_surprise"]
    with pytest.raises(ConfigError, match="valid_surprise=-1: must be a number of at least 0"):
        summaries.check_summary({"status": "finished", "valid_surprise": -1}, "here")
    asked = ("f1", "auroc", "kappa", "mcc", "ece", "top5_accuracy", "top3_accuracy")
    for name in asked:
        assert float(row[f"valid_{name}"]) == summary[f"valid_{name}"], name
        assert f"test_{name}" in found and f"train_{name}" not in row
    assert f", F1 {100 * summary['test_f1']:.2f}%, AUROC {summary['test_auroc']:.4f}" in done.out
    assert f", top-3 {100 * summary['test_top3_accuracy']:.2f}%, loss" in done.out
    # The counts say the same as the figures, of all test images: 360 in batches of 96.
    counted = read_confusion(tmp_path / "confusion.csv")
    truths, answers = zip(
        *(
            (true, answer)
            for true, numbers in enumerate(counted.counts)
            for answer, number in enumerate(numbers)
            for _ in range(number)
        ),
        strict=True,
    )
    assert (counted.part, counted.names, len(truths)) == ("test", tuple("0123456789"), 360)
    assert summary["test_accuracy"] == pytest.approx(oracles.accuracy_score(truths, answers), abs=1e-6)
    assert summary["test_f1"] == pytest.approx(oracles.f1_score(truths, answers, average="macro"), abs=1e-6)
    assert summary["test_kappa"] == pytest.approx(oracles.cohen_kappa_score(truths, answers), abs=1e-6)
    assert (tmp_path / "figures/confusion.png").is_file()


def test_columns_are_told_apart():
    assert metric_of("test_accuracy") == ("test", ACCURACY)
    assert metric_of("valid_balanced_accuracy") == ("valid", metrics.BALANCED)
    assert metric_of("table_in16_test_accuracy") == ("table", ACCURACY)
    assert metric_of("hessian_eigenvalue_eta") == ("", metrics.EIGENVALUE)
    for other in ("accuracy", "testaccuracy", "architecture_step_loss", "train_num_skip", "seconds", ""):
        assert metric_of(other) == ("", None)
    order = ["test_accuracy", "test_loss", "valid_accuracy", "table_rank", "weight_loss", "params"]
    assert sorted(reversed(order), key=place) == order
    assert not is_result("train_accuracy")
    ends = {"table_gap": "minimize", "num_skip": None, "supernet_accuracy": "maximize", "macs": "minimize"}
    assert {name: better_end(name) for name in ends} == ends
    asked = ["test_accuracy", "test_top5_accuracy", "test_f1", "test_ece", "valid_top3_accuracy", "valid_mcc"]
    assert sorted(reversed(asked), key=place) == asked and all(map(is_result, asked))
    assert better_end("valid_ece") == "minimize" and better_end("valid_top7_accuracy") == "maximize"
    for other in ("train_f1", "test_top0_accuracy", "test_top03_accuracy", "top3_accuracy"):
        assert metric_of(other) == ("", None)


REFUSED = [
    (["f2"], 10, "metrics=f2: unknown; known are accuracy, balanced_accuracy, perplexity, .*ece, and top2"),
    (["f1", "top1"], 10, "metrics=top1: unknown"),
    (["top05"], 10, "metrics=top05: unknown"),
    (["top5"], 5, "metrics=top5: needs 6 classes or more, and the data set has 5; top4 is the most"),
    (["top5"], 2, "metrics=top5: needs 6 classes or more, and the data set has 2$"),
    (["auroc"], 1, "metrics=auroc: needs 2 classes or more"),
    (["perplexity"], 10, "not measured on images and signals; known there: accuracy, .*mcc, ece, top2"),
    (["f1"], None, "metrics=f1: not measured on text; known there: perplexity$"),
    (["top5"], None, "metrics=top5: not measured on text"),
    (["\x1b[2J"], 10, r"metrics=\\x1b\[2J: unknown"),
]


@pytest.mark.parametrize(("names", "classes", "words"), REFUSED)
def test_what_is_asked_for_and_not_there_is_refused(names, classes, words):
    always = metrics.OF_TASKS["text" if classes is None else "images"]
    with pytest.raises(ConfigError, match=words):
        with_asked(always, names, classes)


def test_what_is_asked_for_stands_behind_what_is_always_there_once():
    always = metrics.OF_TASKS["images"]
    assert with_asked(always, [], 10) == with_asked(always, ["accuracy", "balanced_accuracy"], 10) == always
    found = with_asked(always, ["mcc", "top5", "top2", "mcc"], 10)
    names = [(one.name, one.parts[-2:]) for one in found[2:]]
    both = ("valid", "test")
    assert names == [("top5_accuracy", both), ("mcc", both), ("top2_accuracy", both)]
    assert with_asked(metrics.OF_TASKS["text"], ["perplexity"], None) == metrics.OF_TASKS["text"]
