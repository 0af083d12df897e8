"""What a person reads while a run goes on."""

import logging
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from nas.analysis.metrics import PERPLEXITY
from nas.engine import progress
from nas.engine.progress import Clock, epoch_line
from nas.engine.trainer import build_trainer


def test_a_line_of_a_search_on_images():
    row = {"epoch": 1, "weight_loss": 1.23456, "weight_accuracy": 0.5, "learning_rate": 0.025, "num_skip": 2}
    assert epoch_line(row, 50, "3m") == (
        "epoch 1 (2/50)  weight loss 1.235  weight acc 50.0%  lr 0.025  skips 2  left 3m"
    )


def test_a_line_of_a_search_on_texts():
    row = {
        "epoch": 0,
        "weight_loss": 4.815,
        "weight_perplexity": 123.41,
        "architecture_perplexity": 98.0,
        "learning_rate": 20.0,
        "architecture_step_loss": 5.0,
    }
    assert epoch_line(row, 50, "") == (
        "epoch 0 (1/50)  weight loss 4.815  weight ppl 123.4  architecture ppl 98.0  lr 20"
    )


@pytest.mark.parametrize(
    ("value", "text"), [(58.0, "58.0"), (33278.4, "33278.4"), (2.5e9, "2.5e+09"), (float("inf"), "inf")]
)
def test_a_perplexity_stays_short_even_of_a_network_that_knows_nothing(value, text):
    assert PERPLEXITY.brief(value) == text


class Run:
    """Epochs on a watch of its own, as a Trainer tells them to a clock."""

    def __init__(self, monkeypatch, clock, rests=False, steps=50):
        self.now, self.clock, self.module = 0.0, clock, SimpleNamespace(rests=rests)
        monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: self.now))
        noon = datetime(2026, 3, 1, 12)
        monkeypatch.setattr(
            progress, "datetime", SimpleNamespace(now=lambda: noon + timedelta(seconds=self.now))
        )
        alone = SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision)
        self.trainer = SimpleNamespace(
            num_training_batches=steps,
            current_epoch=0,
            should_stop=False,
            strategy=alone,
            max_epochs=clock.epochs,
        )

    def epoch(self, seconds, steps=None):
        whole = self.trainer.num_training_batches
        self.clock.on_train_epoch_start(self.trainer, self.module)
        for index in range(whole if steps is None else steps):
            self.now += seconds / whole
            self.clock.on_train_batch_end(self.trainer, self.module, None, None, index)
        self.clock.end_epoch(self.trainer)
        self.trainer.current_epoch += 1
        return self.trainer.should_stop


@pytest.mark.parametrize(("seconds", "steps", "end"), [(100, 22, "12:17"), (5000, 3, "Mon 02 Mar 01:56")])
def test_the_whole_run_is_estimated_once_before_the_first_epoch_ends(
    monkeypatch, caplog, seconds, steps, end
):
    caplog.set_level(logging.INFO)
    run = Run(monkeypatch, Clock(10, again="python -m nas.search resume=a"), rests=True)
    run.epoch(seconds, steps)
    header, unknown, stop, estimate = caplog.messages
    assert header == "epochs 0 to 9, 50 steps in the first"
    assert unknown == "expected end: not known before steps have been timed (10 epochs)"
    assert stop == "stop:       Ctrl-C at any time; go on with: python -m nas.search resume=a"
    whole = progress.duration(10 * seconds)
    assert estimate.startswith(
        f"expected end: {end} (about {whole}; 10 epochs at {seconds / 50:g} s per step"
    )
    assert "alpha rests" in estimate and "stages" not in estimate
    run.epoch(seconds)
    assert len(caplog.messages) == 4


@pytest.mark.parametrize("steps", [2, 12, 20])
def test_a_short_epoch_is_estimated_too(monkeypatch, caplog, steps):
    caplog.set_level(logging.INFO)
    Run(monkeypatch, Clock(10), steps=steps).epoch(5, steps // 2 + 1)
    header, _, estimate = caplog.messages
    assert header == f"epochs 0 to 9, {steps} steps in the first"
    assert estimate.startswith("expected end: 12:00 (about 50s; 10 epochs at")


def test_a_single_step_is_known_after_the_first_epoch(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    run = Run(monkeypatch, Clock(10), steps=1)
    run.epoch(60)
    assert caplog.messages[2:] == ["expected end: 12:10 (about 9m00s; 9 epochs like the first)"]
    run.epoch(60)
    assert len(caplog.messages) == 3


def test_what_has_been_foreseen_is_told_before_the_first_step(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    run = Run(monkeypatch, Clock(20, expected=720.0, deadline=300.0))
    run.clock.on_train_epoch_start(run.trainer, run.module)
    assert caplog.messages[1:] == [
        "expected end: 12:12 (about 12m00s; 20 epochs, as foreseen by size=auto); time_limit ends it by 12:05"
    ]
    run.epoch(50)
    assert len(caplog.messages) == 2
    caplog.clear()
    Run(monkeypatch, Clock(20, expected=720.0, again="x", lines=False)).epoch(5)
    assert not caplog.messages


def test_the_steps_of_a_stage_are_not_those_of_the_next(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    run = Run(monkeypatch, Clock(20))
    run.trainer.max_epochs = 10
    run.epoch(5)
    assert caplog.messages[-1].endswith("later stages have steps of their own)")


def test_a_run_with_a_deadline_stops_after_the_last_epoch_that_fits(monkeypatch):
    run = Run(monkeypatch, Clock(10, deadline=100.0))
    # The longest so far is what the next one may take.
    assert [run.epoch(seconds) for seconds in (20, 30, 25)] == [False, False, True]
    assert run.clock.out_of_time
    run = Run(monkeypatch, Clock(3, deadline=1.0))
    # A callback has ended the run already.
    run.trainer.should_stop = True
    run.epoch(2)
    assert not run.clock.out_of_time
    run = Run(monkeypatch, Clock(2, deadline=1.0))
    assert [run.epoch(seconds) for seconds in (0.4, 10)] == [False, False], "nothing is left to stop"


def test_callbacks_of_lightning_write_into_the_run_folder(tmp_path):
    hardware = {"name": "cpu", "accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto"}
    hardware |= {"precision": "32-true", "deterministic": False, "benchmark": False}
    trainer = {"enable_progress_bar": False, "max_epochs": 1, "limit_train_batches": 1}
    checkpoint = {"every": 1, "keep": 1}
    built = build_trainer(hardware, trainer, checkpoint, tmp_path / "checkpoints", 0, Clock(1), [])
    assert built.default_root_dir == str(tmp_path)
