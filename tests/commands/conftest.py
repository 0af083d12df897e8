"""Sweeps of stand-ins, in processes of their own."""

import contextlib
import os
import signal
import subprocess

import pytest

from tests.commands.stand_in import JOB
from tests.conftest import ROOT, command_line, environment_of


@pytest.fixture
def beside(tmp_path):
    """`beside("seed=0,1", NAME="value") -> Popen`: a multirun of stand-ins into `tmp_path / "sweep"`."""
    for name in ("site", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(JOB)
    own = {"PYTHONPATH": str(tmp_path / "site"), "TMPDIR": str(tmp_path / "tmp")}
    started = []

    def call(*overrides, **environment):
        words = ["-m", "hydra.hydra_logging.root.level=WARNING", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
        started.append(
            subprocess.Popen(
                command_line("search", *words, *overrides),
                cwd=ROOT,
                env=environment_of(tmp_path) | own | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield call
    for process in started:
        # Workers and jobs too, which would hold the pipes.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
