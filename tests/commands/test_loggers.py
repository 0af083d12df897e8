"""TensorBoard and Weights & Biases beside the record, and the bar at a terminal."""

import json
import os
import pty
import select
import struct
import time
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from wandb.proto.wandb_internal_pb2 import Record

from nas.engine.loggers import build_logger
from nas.engine.progress import Clock
from nas.engine.recording import EpochRecorder
from nas.engine.run_folder import RunFolder
from tests.conftest import ROOT, TINY, command_line, environment_of
from tests.forks import finish, launch


def test_tensorboard_has_each_point_once_pictures_and_settings(run, tiny, tmp_path):
    """Also where an epoch is repeated, since its checkpoint was not reached."""
    settings = [
        *tiny,
        "trainer.max_epochs=2",
        "trainer.log_every_n_steps=1",
        "logger=tensorboard",
    ]
    done = run("search", *settings, f"hydra.run.dir={tmp_path}")
    assert (done.status, done.err) == (0, "")
    (tmp_path / "checkpoints/epoch=0002.ckpt").unlink()
    done = run("search", f"resume={tmp_path}")
    assert (done.status, done.err) == (0, "")
    found = EventAccumulator(str(tmp_path / "tensorboard"), {"images": 0, "scalars": 0}).Reload()
    steps = {tag: [one.step for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    assert steps["weight_loss"] == steps["architecture_loss"] == [1, 3]
    assert steps["loss"] == [0, 1, 2, 3]
    for tag, points in steps.items():
        assert tag.startswith("summary/") or points == sorted(set(points)), tag
    assert [one.step for one in found.Images("epochs/op_weights")] == [1, 3]
    assert {"epochs/genotype", "figures/genotype", "figures/curves"} <= set(found.Tags()["images"])
    (told,) = found.Tensors("summary/genotype/text_summary")[-1].tensor_proto.string_val
    assert told.decode() == json.loads((tmp_path / "summary.json").read_text())["genotype"]
    content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    settings = HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["seed"].number_value == 0 and settings["space/name"].string_value == "darts"


@pytest.mark.parametrize("done", [0, 2])
def test_a_tensorboard_that_goes_back_drops_what_is_repeated(tmp_path, done):
    """Also all of it, of a run that was killed in its first epoch."""
    folder = RunFolder(tmp_path)
    for first in (0, done):
        loop = SimpleNamespace(epoch_loop=SimpleNamespace(total_batch_idx=first - 1))
        logger = build_logger({"name": "tensorboard"}, folder, {}, "search")
        trainer = SimpleNamespace(logger=logger, fit_loop=loop, is_global_zero=True)
        EpochRecorder(folder, Clock(1), first, ()).on_train_start(trainer, None)
        for step in range(first, 4):
            logger.log_metrics({"loss": float(step)}, step=step)
        logger.finalize("failed")
        if first == 0 and not (old := tmp_path / "tensorboard/events.out.tfevents.0").exists():
            # Files of one second are read in the order of their names.
            (path,) = old.parent.glob("events.*")
            path.rename(old)
    found = EventAccumulator(str(tmp_path / "tensorboard"), {"scalars": 0}).Reload()
    assert [one.step for one in found.Scalars("loss")] == [0, 1, 2, 3]


def wandb_records(folder):
    """The records of wandb's offline file: a log as LevelDB has it, of blocks of 32 KiB, behind 7 bytes."""
    (path,) = folder.glob("*.wandb")
    data, at, record = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        # A whole record, or the last part of one.
        if kind in (1, 4):
            yield Record.FromString(record)
            record = b""


def entries(items):
    return {one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in items}


def test_wandb_offline_gives_every_job_its_run(shell, tmp_path):
    lr = "method.weight_optimizer.lr=1e30,0.02"
    done = shell(
        "search", *TINY, "trainer.max_epochs=2", "logger=wandb", "logger.offline=true", lr,
        "trainer.log_every_n_steps=1", f"hydra.sweep.dir={tmp_path / 'sweep'}", "-m",
        WANDB_API_KEY="", NETRC=str(tmp_path / "none"),
        **{f"WANDB_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "CACHE", "DATA")},
    )  # fmt: skip
    assert done.status == 1, done.err
    runs = [list((tmp_path / "sweep" / name / "wandb").glob("offline-run-*")) for name in "01"]
    assert [len(found) for found in runs] == [1, 1]
    assert runs[0][0].name != runs[1][0].name
    assert not (ROOT / "wandb").exists()
    failed, finished = (json.loads((tmp_path / "sweep" / n / "summary.json").read_text()) for n in "01")
    assert (failed["status"], finished["status"]) == ("failed", "finished")
    records = [list(wandb_records(found)) for (found,) in runs]
    named = [next(one.run for one in found if one.HasField("run")) for found in records]
    assert [(one.display_name, one.run_group) for one in named] == [
        ("sweep/0", "sweep"),
        ("sweep/1", "sweep"),
    ]
    # What nas.dashboard groups by and shows, so that nobody has to sort runs by hand.
    assert {one.job_type for one in named} == {"search"}
    assert [set(one.tags) for one in named] == [{"search", "darts", "darts1", "digits"}] * 2
    words = "nas.search method=darts1 space=darts dataset=digits recipe=digits seed=0 in sweep/0"
    assert named[0].notes == words
    history = [entries(one.history.item) for one in records[1] if one.HasField("history")]
    steps = [one["trainer/global_step"] for one in history if "trainer/global_step" in one]
    assert steps == sorted(steps)
    assert [one["trainer/global_step"] for one in history if "weight_loss" in one] == [1, 3]
    assert sum("loss" in one for one in history) == 4
    assert sum(any(key.startswith("epochs/op_weights") for key in one) for one in history) == 2
    summary = {}
    for one in records[1]:
        if one.HasField("summary"):
            summary |= entries(one.summary.update)
    assert summary["genotype"] == finished["genotype"]
    assert any(key.startswith("figures/genotype") for one in history for key in one)


def test_wandb_without_account_is_refused_at_once(shell, tmp_path):
    started = time.monotonic()
    done = shell(
        "search", *TINY, "logger=wandb", f"hydra.run.dir={tmp_path / 'a'}",
        WANDB_API_KEY="", HOME=str(tmp_path), NETRC=str(tmp_path / "none"),
    )  # fmt: skip
    assert done.status == 2, done
    assert "logger.offline=true" in done.err
    assert "Traceback" not in done.err and not (tmp_path / "a").exists()
    assert time.monotonic() - started < 60


def test_a_bar_at_a_terminal_below_the_lines_that_the_log_has_either_way(tmp_path):
    overrides = (*TINY, "trainer.max_epochs=3", "trainer.limit_train_batches=6")
    long = "a" * 200  # wider than the terminal
    environment = environment_of(tmp_path) | {"TERM": "xterm", "COLUMNS": "200"}
    environment.pop("CI", None)
    ours, theirs = pty.openpty()
    with open(os.devnull, "w") as nowhere:
        line = command_line("search", *overrides, f"hydra.run.dir={tmp_path / long}")
        process = launch(line, env=environment, stdout=theirs, stderr=nowhere)
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
    for word in ("loss:", "acc:", "lr:", "left:", "Epoch 2/2", "epoch 2 (3/3)  weight loss"):
        assert word in text, word
    assert f"go on with: python -m nas.search resume={tmp_path / long}\r\n" in text
    done = finish(command_line("search", *TINY, f"hydra.run.dir={tmp_path / 'b'}"), env=environment)
    done.check_returncode()
    assert "\r" not in done.stdout
    assert "\x1b" not in done.stdout
    assert "epoch 0 (1/1)  weight loss" in done.stdout
    logs = [(tmp_path / name / "search.log").read_text() for name in (long, "b")]
    for log in logs:
        for words in (
            "search: space darts, method darts1, data digits",
            "epoch 0 (1/",
            "run folder",
            "evaluate:",
        ):
            assert words in log, words
