"""How runs of several processes begin, are told about, break down and go on; as a user starts them."""

import csv
import json
import os
import re
import signal
import time

import pytest
import torch.distributed as dist

from nas.engine.checkpoints import list_checkpoints
from nas.engine.machine import processes
from tests.conftest import TINY
from tests.ddp.starting import CELLS, FORKED, LAUNCHER, TORCHRUN, command, start, started, wait

LONG = (*CELLS, "hardware.devices=2", "trainer.limit_train_batches=1", "trainer.max_epochs=100000")
ONCE = ("config.yaml", "overrides.yaml", "summary.json", "metrics.csv", "architecture.csv", "split.json")


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(one) for one in file.read().split()]


def ranks(process, launcher):
    """The process ids by rank: Lightning's launcher is rank 0 itself, torchrun is beside all."""
    mine = {
        int(rank): pid
        for pid in children(process.pid)
        if (rank := environment(pid).get("LOCAL_RANK")) is not None
    }
    return {0: process.pid} | mine if launcher == LAUNCHER else mine


def environment(pid):
    with open(f"/proc/{pid}/environ", "rb") as file:
        pairs = [one.split("=", 1) for one in file.read().decode().split("\0") if "=" in one]
    return dict(pairs)


def until(condition, process, folder, limit=150.0):
    deadline = time.monotonic() + limit
    while not condition():
        said = (folder / "out.txt").read_text() + (folder / "err.txt").read_text()
        assert process.poll() is None, f"ended with {process.returncode}\n{said}"
        assert time.monotonic() < deadline, f"nothing happened\n{said}"
        time.sleep(0.1)


def alive(pids):
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}") and not zombie(pid)]


def zombie(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def epochs(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="looks for processes under /proc")
# To torchrun, which runs beside them, all are alike; the first one writes the folder.
@pytest.mark.parametrize(("launcher", "victim"), [(LAUNCHER, 1), (LAUNCHER, 0), (TORCHRUN, 0)])
def test_a_killed_process_ends_the_run_and_it_can_be_resumed(tmp_path, launcher, victim):
    run = tmp_path / "run"
    line = command(launcher, 2, "nas.search", *LONG, f"hydra.run.dir={run}")
    process = start(tmp_path / "first", line)
    try:
        until(lambda: list_checkpoints(run / "checkpoints"), process, tmp_path / "first")
        pids = ranks(process, launcher)
        assert sorted(pids) == [0, 1]
        os.kill(pids[victim], signal.SIGKILL)
        killed = time.monotonic()
        until_gone = 60.0
        while alive(pids.values()) and time.monotonic() < killed + until_gone:
            process.poll()
            time.sleep(0.1)
        assert not alive(pids.values()), "a process outlived the run"
    finally:
        done = wait(tmp_path / "first", process, 30)
    if (launcher, victim) == (LAUNCHER, 0):
        # The leading process had no time to say anything; the other one did.
        assert done.status == -signal.SIGKILL and summary(run)["status"] == "running"
        assert "process 1" in done.err
        return
    elif launcher == LAUNCHER:
        assert done.status == 1, done.err
        assert summary(run)["status"] == "failed"
        assert re.search(r"process 1 of 2 was ended by signal 9 \(SIGKILL\)", summary(run)["error"])
        assert "process 1 of 2 was ended by signal 9" in done.err and f"resume={run}" in done.err
    else:
        # Before torchrun's own forty lines.
        assert done.status == 1, done.err
        said = rf"^error: (process 1: )?process {victim} of 2 died without a word: killed \(SIGKILL"
        assert len(re.findall(said, done.err, re.MULTILINE)) == 1, done.err
        assert f"torchrun --standalone --nproc-per-node=2 -m nas.search resume={run}" in done.err
        if victim == 0:
            assert summary(run)["status"] == "running"
        else:
            assert summary(run)["status"] == "failed" and "process 1 of 2" in summary(run)["error"]

    last = len(epochs(run)) + 1
    length = (f"trainer.max_epochs={last}", "resume_schedule=restart")
    line = command(FORKED, 2, "nas.search", f"resume={run}", *length)
    done = started(tmp_path / "second", line)
    assert done.status == 0, f"{done.out}\n{done.err}"
    assert summary(run)["status"] == "finished" and summary(run)["epochs"] == last
    assert epochs(run) == list(range(last))
    assert_told_once(run, done.out)


def assert_told_once(run, out):
    for name in ONCE:
        assert (run / name).is_file(), name
    assert not [path.name for path in run.iterdir() if "process" in path.name or path.suffix == ".tmp"]
    assert len(re.findall(r"^epoch \d+/", out, re.MULTILINE)) == len(
        set(re.findall(r"^epoch \d+/", out, re.MULTILINE))
    )
    assert out.count("run folder:") == 1


def test_torchrun_finds_one_new_folder_and_tests_what_was_trained(tmp_path):
    """Two processes that start within a second would each take another folder."""
    overrides = [one for one in CELLS if not one.startswith("space.")]
    line = command(FORKED, 2, "nas.evaluate", *overrides, "genotype=DARTS_V2", "hardware.devices=2")
    done = started(tmp_path, line)
    assert done.status == 0, f"{done.out}\n{done.err}"
    (found,) = (tmp_path / "outputs").rglob("summary.json")
    assert summary(found.parent)["status"] == "finished" and summary(found.parent)["test_accuracy"] >= 0
    assert done.out.count("run folder:") == 1 and done.out.count("test accuracy") == 1


def test_a_mistake_is_told_once(tmp_path):
    line = command(
        FORKED, 2, "nas.search", *CELLS, "hardware.devices=2", "method.architecture_optimizer.lr=-1"
    )
    done = started(tmp_path, line)
    assert done.status == 1  # torchrun's own, whatever its processes end with
    assert (
        len(re.findall("^error: ", done.err, re.MULTILINE)) == 1 and "Invalid learning rate: -1" in done.err
    )
    assert re.search(r"exitcode +: 2", done.err), done.err


def test_a_process_that_drifts_is_named(tmp_path):
    run = tmp_path / "run"
    line = command(FORKED, 2, "tests.ddp.worker", *CELLS, "hardware.devices=2", f"hydra.run.dir={run}")
    done = started(tmp_path, line, NAS_TEST_DRIFT="1")
    assert done.status == 1
    assert summary(run)["status"] == "failed"
    assert "after step 1 (epoch 0)" in summary(run)["error"]
    assert "group normal: process 1 differs from process 0" in summary(run)["error"]
    assert "reduce" not in summary(run)["error"]
    assert len(re.findall("^error: ", done.err, re.MULTILINE)) == 1


def test_a_multirun_under_torchrun_is_refused_before_its_jobs(run, tmp_path, monkeypatch):
    for key, value in {"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(processes, "_store", lambda: (dist.HashStore(), 0))
    done = run("search", *TINY, "seed=0,1", f"hydra.sweep.dir={tmp_path}", "-m")
    assert done.status == 2 and "one by one" in done.err
    assert not list(tmp_path.iterdir())


def test_a_run_from_before_there_were_these_keys_is_resumed(run, tmp_path):
    folder = tmp_path / "run"
    assert run("search", *CELLS, f"hydra.run.dir={folder}").status == 0
    config = (folder / "config.yaml").read_text()
    without = re.sub(
        r"^processes:\n(  .*\n)+|^(resume_schedule|restarts): .*\n", "", config, flags=re.MULTILINE
    )
    assert without != config
    (folder / "config.yaml").write_text(without)
    done = run("search", f"resume={folder}", "trainer.max_epochs=2", "resume_schedule=restart")
    assert (done.status, done.err) == (0, "")
    assert epochs(folder) == [0, 1]
