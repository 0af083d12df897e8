"""A run whose numbers are no numbers any more fails by name, and keeps its last good state."""

import csv
import json
import math

import pytest
import torch

from nas.engine.checkpoints import list_checkpoints
from nas.engine.evaluation_module import EvaluationModule
from nas.engine.language_evaluation import LanguageEvaluation
from nas.engine.search_module import SearchModule
from nas.engine.tasks import Classification
from tests.conftest import TINY

FEW = (*TINY, "trainer.max_epochs=3", "trainer.enable_progress_bar=false")
EVALUATE = ("evaluate", *(o for o in FEW if not o.startswith("space.")), "genotype=DARTS_V2")
VALIDATED = (*EVALUATE, "dataset.valid=0.2", "trainer.limit_test_batches=1")
SEARCH = ("search", *FEW, "method=darts1", "trainer.limit_train_batches=1")
TEXT = ("space=darts_rnn", "dataset=wikitext_mini", "dataset.fraction=0.1", "dataset.batch_size=16")
TEXT += ("genotype=DARTS_V2", "recipe.hidden_size=8", "trainer.max_epochs=1", "trainer.limit_train_batches=2")
TEXT += ("trainer.limit_val_batches=1", "trainer.limit_test_batches=1", "trainer.enable_progress_bar=false")


def nan_in_measuring(monkeypatch, number):
    """The n-th loss without training is nan."""
    original, calls = Classification.loss, []

    def loss(self, logits_BK, labels_B, train=True):
        calls.extend([] if train else [None])
        found = original(self, logits_BK, labels_B, train)
        return found * math.nan if not train and len(calls) == number else found

    monkeypatch.setattr(Classification, "loss", loss)


def spoilt_after(monkeypatch, owner, step, number, spoil):
    """After the n-th step `spoil(module)` is called."""
    original, calls = getattr(owner, step), []

    def patched(self, *args, **kwargs):
        found = original(self, *args, **kwargs)
        calls.append(None)
        if len(calls) == number:
            with torch.no_grad():
                spoil(self)
        return found

    monkeypatch.setattr(owner, step, patched)


def infinite_statistics(module):
    named = [name for name, _ in module.named_buffers() if name.endswith("running_var")]
    module.get_buffer(named[-1]).fill_(math.inf)


def infinite_alpha(module):
    module.method.alphas()[0][0, 0] = math.inf


CASES = {
    "validation": (VALIDATED, lambda m: nan_in_measuring(m, 2), "the validation loss", 1),
    "test": (EVALUATE, lambda m: nan_in_measuring(m, 1), "the test loss", 3),
    "running statistics": (
        EVALUATE,
        lambda m: spoilt_after(m, EvaluationModule, "on_train_batch_end", 4, infinite_statistics),
        "running_var",
        1,
    ),
    "architecture": (
        SEARCH, lambda m: nan_in_measuring(m, 2), "the architecture validation loss", 1
    ),
    "alpha": (
        # Not validated, so that alpha itself has to be looked at.
        (*SEARCH, "trainer.check_val_every_n_epoch=3"),
        lambda m: spoilt_after(m, SearchModule, "_weight_step", 2, infinite_alpha),
        "method.alpha",
        1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_kept_is_the_last_good_state(run, tmp_path, monkeypatch, case):
    (name, *overrides), spoil, words, good = CASES[case]
    with monkeypatch.context() as spoiling:
        spoil(spoiling)
        done = run(name, *overrides, f"hydra.run.dir={tmp_path}")
    assert done.status == 1 and words in done.err and "nan or infinite" in done.err
    key = "method.weight_optimizer.lr (now 0.025)" if name == "search" else "recipe.optimizer.lr (now 0.05)"
    clip = "method.clip" if name == "search" else "recipe.clip"
    assert f"in a new run try a lower {key} or a lower {clip} (now 5.0)" in done.err
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["status"] == "failed" and words in summary["error"]
    assert all(math.isfinite(value) for value in summary.values() if isinstance(value, float))
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert len(rows) == good
    assert all(math.isfinite(float(value)) for row in rows for value in row.values() if value)
    newest = list_checkpoints(tmp_path / "checkpoints")[0]
    assert newest.name == f"epoch={good:04d}.ckpt"
    state = torch.load(newest, weights_only=True)["state_dict"]
    assert all(v.isfinite().all() for v in state.values() if isinstance(v, torch.Tensor))
    assert run(name, f"resume={tmp_path}").status == 0
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "finished"


def test_a_language_model_whose_test_is_no_number_fails_by_name(run, tmp_path, monkeypatch):
    monkeypatch.setattr(LanguageEvaluation, "on_test_start", spoil_the_best(LanguageEvaluation.on_test_start))
    done = run("evaluate", *TEXT, f"hydra.run.dir={tmp_path}")
    assert done.status == 1 and "test_loss became nan or infinite in the test" in done.err
    assert "test_loss" not in json.loads((tmp_path / "summary.json").read_text())


def spoil_the_best(original):
    """A test that reads weights which are no numbers."""

    def patched(self):
        original(self)
        for tensor in self._swapped.values():
            tensor.fill_(math.nan)

    return patched
