"""What a command answers before it has work to do: quickly, which means without importing torch."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT, environment_of

PROBE = """
import sys, importlib
module = importlib.import_module(sys.argv[1])
sys.argv = sys.argv[1:]
try:
    module.main()
    status = 0
except SystemExit as end:
    status = end.code or 0
slow = {"torch", "pytorch_lightning", "matplotlib", "wandb"}
heavy = sorted(slow & {name.split(".")[0] for name in sys.modules})
print("PROBE", status, heavy, file=sys.stderr)
"""


@pytest.mark.parametrize("name", ["search", "evaluate", "cost"])
@pytest.mark.parametrize(
    ("argument", "status", "words"),
    [
        ("--help", 0, "Groups"),
        ("--cfg=job", 0, "dataset"),
        ("dataset.batch_sise=3", 2, "did you mean 'dataset.batch_size'?"),
        ("space=dartz", 2, "s4"),
    ],
)
def test_answers_without_torch(tmp_path, name, argument, status, words):
    arguments = argument.split("=", 1) if argument.startswith("--") else [argument]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, f"nas.{name}", *arguments],
        cwd=ROOT,
        env=environment_of(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert f"PROBE {status} []" in done.stderr
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_a_key_of_another_command_is_called_that(run):
    done = run("search", "genotype=DARTS_V2")
    assert done.status == 2
    assert "not one of nas.search" in done.err


def test_cost_as_json_prints_one_object(shell):
    done = shell("cost", "genotype=DARTS_V2", "format=json")
    assert (done.status, done.err) == (0, "")
    assert done.out == '{"params": 3349342, "params_auxiliary": 476426, "macs": 528359040}\n'
