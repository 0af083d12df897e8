"""SIGTERM stops a run as Ctrl-C does wherever it arrives, also where Lightning does not listen."""

import json
import os
import signal
from contextlib import contextmanager

import pytest

from nas.engine import pictures
from nas.engine.trainer import sigterm_as_interrupt
from nas.search import Search

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


def terminate_at(monkeypatch, holder, name):
    """Sends SIGTERM to this process at the next call of a function, and never again."""
    original = getattr(holder, name)

    def patched(*args, **kwargs):
        monkeypatch.setattr(holder, name, original)
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*args, **kwargs)

    monkeypatch.setattr(holder, name, patched)


@pytest.mark.parametrize(
    ("holder", "name", "epochs"),
    [(Search, "_next", 1), (pictures, "draw_search", 3)],
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
