"""SIGTERM stops a run as Ctrl-C does wherever it arrives, also where Lightning does not listen."""

import contextlib
import json
import os
import signal
import sys
import threading
from contextlib import contextmanager

import pytest

from nas.commands import search_result, search_training
from nas.engine.machine import stopping
from nas.engine.machine.stopping import sigterm_as_interrupt
from tests.conftest import environment_of
from tests.forks import finish

STAGES = "method.stages=[{epochs: 1, partial: 2}, {epochs: 2, partial: 1, keep: 3}]"
STAGED = ("method=drnas_progressive", STAGES, "trainer.max_epochs=3", "space.init_channels=4")


@contextmanager
def unheard():
    """A SIGTERM that nobody handles fails the test instead of ending all tests."""

    def fail(number, frame):
        raise AssertionError("nobody handles SIGTERM")

    before = signal.signal(signal.SIGTERM, fail)
    try:
        yield
        assert signal.getsignal(signal.SIGTERM) is fail, "the handler was not put back"
    finally:
        signal.signal(signal.SIGTERM, before)


def terminate_at(monkeypatch, holder, name, number=signal.SIGTERM):
    """Sends a signal to this process at the next call of a function, and never again."""
    original = getattr(holder, name)

    def patched(*args, **kwargs):
        monkeypatch.setattr(holder, name, original)
        os.kill(os.getpid(), number)
        return original(*args, **kwargs)

    monkeypatch.setattr(holder, name, patched)


@pytest.mark.parametrize(
    ("holder", "name", "epochs"),
    [(search_training.Training, "_next", 1), (search_result, "draw_search", 3)],
    ids=["between stages", "while it is summed up"],
)
def test_a_run_says_that_it_was_stopped_and_goes_on(run, tiny, tmp_path, monkeypatch, holder, name, epochs):
    terminate_at(monkeypatch, holder, name)
    with unheard():
        done = run("search", *tiny, *STAGED, f"hydra.run.dir={tmp_path}")
    assert done.status == 130 and f"resume={tmp_path}" in done.out
    found = json.loads((tmp_path / "summary.json").read_text())
    assert (found["status"], found["epochs"]) == ("stopped", epochs)
    assert run("search", f"resume={tmp_path}").status == 0
    found = json.loads((tmp_path / "summary.json").read_text())
    assert (found["status"], found["epochs"]) == ("finished", 3)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_terminal_that_is_gone_and_a_scheduler_s_warning_stop_a_run(
    run, tiny, tmp_path, monkeypatch, number
):
    # These tests may themselves have been started by `nohup`.
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with monkeypatch.context() as patch:
            terminate_at(patch, search_result, "draw_search", number)
            done = run("search", *tiny, f"hydra.run.dir={tmp_path}")
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert done.status == 130 and f"resume={tmp_path}" in done.out
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "stopped"
    assert run("search", f"resume={tmp_path}").status == 0
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "finished"


# The first signal as the run is drawn, the second as the interpreter ends: what is registered first is last.
TWICE = """
import atexit, os, signal, sys
number = int(sys.argv[1])
if signal.getsignal(number) is signal.SIG_IGN:
    signal.signal(number, signal.SIG_DFL)
atexit.register(os.kill, os.getpid(), number)
from nas.commands import search_result
search_result.draw_search = lambda *given, **options: os.kill(os.getpid(), number)
sys.argv = sys.argv[2:]
import nas.search
nas.search.main()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_that_comes_once_more_changes_nothing(tiny, tmp_path, name):
    words = ["nas.search", *tiny, f"hydra.run.dir={tmp_path / 'run'}"]
    line = [sys.executable, "-c", TWICE, signal.Signals[name].value, *words]
    done = finish(line, env=environment_of(tmp_path))
    assert (done.returncode, done.stderr) == (130, ""), done.stdout
    assert f"resume={tmp_path / 'run'}" in done.stdout


def test_a_run_that_does_not_mind_its_terminal_goes_on(run, tiny, tmp_path, monkeypatch):
    """As `nohup` starts it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        terminate_at(monkeypatch, search_result, "draw_search", signal.SIGHUP)
        assert run("search", *tiny, f"hydra.run.dir={tmp_path}").status == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_handler_that_calls_ours_decides_when_to_stop():
    """As Lightning's does, which lets the batch end."""
    with unheard():
        with sigterm_as_interrupt():
            ours = signal.getsignal(signal.SIGTERM)
            signal.signal(signal.SIGTERM, lambda *given: ours(*given))
            os.kill(os.getpid(), signal.SIGTERM)
            signal.signal(signal.SIGTERM, ours)
        with pytest.raises(KeyboardInterrupt), sigterm_as_interrupt():
            os.kill(os.getpid(), signal.SIGTERM)


# SIGTERM to this process and its loader workers, as a job scheduler sends it, at the n-th call of a function.
# The workers are given time to end first: each end is an error to torch.
TERMINATE = """
import importlib, os, signal, sys, time
module, owner, name, number, times = sys.argv[1:6]
holder = importlib.import_module(module)
holder = getattr(holder, owner) if owner else holder
original, calls = getattr(holder, name), []
def patched(*args, **kwargs):
    calls.append(None)
    if len(calls) == int(number):
        for _ in range(int(times)):
            os.killpg(0, signal.SIGTERM)
            time.sleep(0.3)
    return original(*args, **kwargs)
setattr(holder, name, patched)
sys.argv = sys.argv[6:]
importlib.import_module(sys.argv[0]).main()
"""
MODULE = ("nas.engine.evaluation_module", "EvaluationModule")
FEW = ("trainer.max_epochs=2", "trainer.limit_train_batches=3", "trainer.limit_test_batches=3")


@pytest.mark.parametrize(
    ("moment", "times", "status"),
    [
        ((*MODULE, "training_step", 2), 2, "stopped"),
        ((*MODULE, "test_step", 2), 1, "stopped"),
        (("nas.domains.images", "", "check_evaluation", 1), 1, None),
    ],
    ids=["in training, twice", "in the test", "while it is loaded"],
)
def test_a_job_that_is_told_to_stop_says_so_with_all_its_workers(run, tiny, tmp_path, moment, times, status):
    sizes = (one for one in tiny if not one.startswith(("space.", "trainer.")))
    done = finish(
        [sys.executable, "-c", TERMINATE, *moment, times, "nas.evaluate", "genotype=DARTS_V2",
         *sizes, *FEW, "dataset.num_workers=2", f"hydra.run.dir={tmp_path / 'run'}"],
        env=environment_of(tmp_path), start_new_session=True,
    )  # fmt: skip
    assert done.returncode == 130, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr and "error" not in done.stderr
    if status is None:
        assert not (tmp_path / "run/summary.json").exists()
        return
    assert f"resume={tmp_path / 'run'}" in done.stdout
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == status
    assert not (tmp_path / "run/error.txt").exists()


def test_an_error_is_the_signal_s_only_if_a_worker_had_it(monkeypatch):
    """A worker that somebody else ended is an error, and so is any other in a run that is told to stop."""
    monkeypatch.setattr(stopping, "PATIENCE", 0.1)
    with pytest.raises(RuntimeError, match="Terminated"), sigterm_as_interrupt():
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Terminated.")
    with pytest.raises(ValueError, match="mine"), sigterm_as_interrupt():
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("mine")
    before = signal.getsignal(signal.SIGCHLD)
    with pytest.raises(KeyboardInterrupt), sigterm_as_interrupt():
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Terminated.")
    assert signal.getsignal(signal.SIGCHLD) is before


def test_a_run_whose_time_is_up_stops_after_an_epoch_and_goes_on(run, tiny, tmp_path):
    words = [*tiny, "trainer.max_epochs=3", "checkpoint.every=5", f"hydra.run.dir={tmp_path}"]
    for value in ("-1", "soon", "true"):
        done = run("search", *words, f"time_limit={value}")
        assert done.status == 2 and f"time_limit={value}" in done.err and "null" in done.err, done.err
        assert not (tmp_path / "config.yaml").exists()
    done = run("search", *words, "time_limit=0.001")
    assert done.status == 130 and f"resume={tmp_path}" in done.out and "no time for another epoch" in done.out
    found = json.loads((tmp_path / "summary.json").read_text())
    assert (found["status"], found["epochs"]) == ("stopped", 1)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["epoch=0001.ckpt"]
    assert run("search", f"resume={tmp_path}", "time_limit=null").status == 0
    assert json.loads((tmp_path / "summary.json").read_text())["epochs"] == 3
    # All that was said of either part is in the log.
    log = (tmp_path / "search.log").read_text()
    for words in ("run folder", "epoch 0 (1/3)", "stopped; continue with", "resumed in", "epoch 2 (3/3)"):
        assert words in log, words


def test_a_stopped_search_that_has_chosen_nothing_leaves_no_genotype(run, tiny, tmp_path):
    """Alpha of rsps never moves: what derivation makes of it is no guess, but the first of all candidates."""
    words = ("space=nasbench201", "method=rsps", "method.selection.count=3", "trainer.max_epochs=2")
    sizes = [one for one in tiny if not one.startswith(("space.num_nodes", "recipe."))]
    done = run("search", *sizes, *words, "time_limit=0.001", f"hydra.run.dir={tmp_path}")
    assert done.status == 130 and "no genotype.json: alpha of method rsps never moves" in done.out, done.out
    found = json.loads((tmp_path / "summary.json").read_text())
    assert found["status"] == "stopped" and not found.keys() & {"genotype", "num_skip"}
    assert not (tmp_path / "genotype.json").exists()
    assert (tmp_path / "genotypes.jsonl").read_text() == ""
    assert run("search", f"resume={tmp_path}", "time_limit=null").status == 0
    found = json.loads((tmp_path / "summary.json").read_text())
    assert found["genotype"] == json.loads((tmp_path / "genotypes.jsonl").read_text())["genotype"]
    assert found["status"] == "finished" and (tmp_path / "genotype.json").is_file()


def early_stopping(monitor):
    node = "{_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: %s, patience: 1, min_delta: 1000}"
    return f"+trainer.callbacks=[{node % monitor}]"


def test_a_search_that_a_callback_ends_is_finished_with_the_epochs_that_it_has(run, tiny, tmp_path):
    stages = STAGES.replace("epochs: 2", "epochs: 3").replace("epochs: 1", "epochs: 2")
    words = (*STAGED[::3], stages, "trainer.max_epochs=5", early_stopping("architecture_loss"))
    done = run("search", *tiny, *words, f"hydra.run.dir={tmp_path}")
    assert done.status == 0, done.err
    assert "ended after 2 epochs" in done.out and "stage 2" not in done.out
    found = json.loads((tmp_path / "summary.json").read_text())
    assert (found["status"], found["epochs"], found["planned_epochs"]) == ("finished", 2, 5)
    again = run("search", f"resume={tmp_path}", "trust=pytorch_lightning.callbacks")
    assert again.status == 0 and "finished already (2 epochs)" in again.out, again.err


def test_an_evaluation_that_a_callback_ends_is_tested(run, tiny, tmp_path):
    words = (*tiny[3:], "recipe.num_cells=3", "trainer.max_epochs=5", "dataset=digits", "dataset.valid=0.2")
    done = run(
        "evaluate", "genotype=DARTS_V2", *words, early_stopping("valid_loss"), f"hydra.run.dir={tmp_path}"
    )
    assert done.status == 0, done.err
    found = json.loads((tmp_path / "summary.json").read_text())
    assert (found["status"], found["epochs"]) == ("finished", 2) and "test_accuracy" in found
