"""TensorBoard and Weights & Biases beside the record, and the bar at a terminal."""

import json
import os
import pty
import select
import subprocess
import time

import pytest

from tests.conftest import ROOT, TINY, command_line, environment_of
from tests.forks import finish


def test_tensorboard_writes_event_files(run, tiny, tmp_path):
    done = run("search", *tiny, "logger=tensorboard", f"hydra.run.dir={tmp_path / 'a'}")
    assert (done.status, done.err) == (0, "")
    assert list((tmp_path / "a").rglob("events.out.tfevents.*"))


@pytest.mark.slow
def test_wandb_offline_gives_every_job_its_run(shell, tmp_path):
    lr = "method.weight_optimizer.lr=1e30,0.02"
    done = shell(
        "search", *TINY, "trainer.max_epochs=2", "logger=wandb", "logger.offline=true", lr,
        f"hydra.sweep.dir={tmp_path / 'sweep'}", "-m", WANDB_API_KEY="", HOME=str(tmp_path),
    )  # fmt: skip
    assert done.status == 1, done.err
    runs = [list((tmp_path / "sweep" / name / "wandb").glob("offline-run-*")) for name in "01"]
    assert [len(found) for found in runs] == [1, 1]
    assert runs[0][0].name != runs[1][0].name
    assert not (ROOT / "wandb").exists()
    failed, finished = (json.loads((tmp_path / "sweep" / n / "summary.json").read_text()) for n in "01")
    assert (failed["status"], finished["status"]) == ("failed", "finished")
    pictures = [path.name for path in runs[1][0].rglob("*.png")]
    assert sum(name.startswith("op_weights") for name in pictures) >= 2
    assert sum(name.startswith("genotype") for name in pictures) >= 2
    for found in runs:
        assert list(found[0].glob("*.wandb"))


@pytest.mark.slow
def test_wandb_without_account_is_refused_at_once(shell, tmp_path):
    started = time.monotonic()
    done = shell(
        "search", *TINY, "logger=wandb", f"hydra.run.dir={tmp_path / 'a'}",
        WANDB_API_KEY="", HOME=str(tmp_path), NETRC=str(tmp_path / "none"),
    )  # fmt: skip
    assert done.status == 2, done
    assert "logger.offline=true" in done.err
    assert "Traceback" not in done.err
    assert time.monotonic() - started < 60


@pytest.mark.slow
def test_a_bar_at_a_terminal_and_lines_elsewhere(tmp_path):
    overrides = (*TINY, "trainer.max_epochs=3", "trainer.limit_train_batches=15")
    environment = environment_of(tmp_path) | {"TERM": "xterm", "COLUMNS": "200"}
    environment.pop("CI", None)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command_line("search", *overrides, f"hydra.run.dir={tmp_path / 'a'}"),
        cwd=ROOT, env=environment, stdout=theirs, stderr=subprocess.DEVNULL, close_fds=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 90)[0]:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    assert process.wait(timeout=60) == 0
    text = shown.decode(errors="replace")
    for word in ("loss:", "acc:", "lr:", "left:", "Epoch 2/2"):
        assert word in text, word
    assert "weight loss" not in text
    done = finish(command_line("search", *TINY, f"hydra.run.dir={tmp_path / 'b'}"), env=environment)
    done.check_returncode()
    assert "\r" not in done.stdout
    assert "\x1b" not in done.stdout
    assert "epoch 1/1  weight loss" in done.stdout
