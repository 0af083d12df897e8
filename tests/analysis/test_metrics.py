"""A metric is declared in one place: added there, with what computes it, it is found wherever metrics are."""

import json

import pytest
import torch
from omegaconf import OmegaConf

from nas.analysis import metrics, summaries, sweeps
from nas.analysis.metrics import ACCURACY, Metric, is_result, metric_of, place
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
        "trainer.limit_val_batches=1", f"hydra.run.dir={tmp_path}",
    )  # fmt: skip
    assert done.status == 0, done.err
    summary = json.loads((tmp_path / "summary.json").read_text())
    (row,) = read_table(tmp_path / "metrics.csv")
    for part in ("train", "valid"):
        assert float(row[f"{part}_surprise"]) == summary[f"{part}_surprise"] > 0
        assert f"{part} surprise {summary[f'{part}_surprise']:.1f}" in done.err + done.out
    assert summary["test_surprise"] == pytest.approx(summary["test_loss"] / 0.6931, rel=1e-4)
    assert f", surprise {summary['test_surprise']:.1f}, loss" in done.out
    found = summaries.figures_of(summary)
    assert {"test_surprise", "valid_surprise"} < set(found) and "train_surprise" not in found
    runs = [Run("0", {"seed": "0"}, "finished", figures=found)]
    assert "test_surprise" in sweeps.table_markdown(runs)
    assert better_end("valid_surprise") == "minimize"
    sweep = OmegaConf.create({"command": "evaluate"})
    assert objective_values(sweep, "valid_surprise", tmp_path) == summary["valid_surprise"]
    with pytest.raises(ConfigError, match="valid_surprise=-1: must be a number of at least 0"):
        summaries.check_summary({"status": "finished", "valid_surprise": -1}, "here")


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
