"""`make gpu-check`: what it does where there is a GPU, run small on a processor."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from experiments.gpu_check import __main__ as gpu_check
from experiments.gpu_check.cases import cases
from experiments.gpu_check.rows import Checks
from nas.measure.steps import Numerics
from nas.running.config import CONF, register_resolvers

ROOT = Path(__file__).resolve().parent.parent
STEPS = ("parity", "waits", "precision", "memory", "speed", "modes")
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


def report(tmp_path, *words):
    """The exit status and the report of a check on the processor."""
    output = tmp_path / "gpu_check.json"
    status = gpu_check.main(["--device", "cpu", "--output", str(output), *words])
    return status, json.loads(output.read_text())


@without_gpu
def test_without_a_gpu_it_is_refused_in_one_line(tmp_path, capsys):
    output = tmp_path / "gpu_check.json"
    assert gpu_check.main(["--output", str(output)]) == 2
    told = capsys.readouterr()
    assert told.out == "" and len(told.err.splitlines()) == 1 and "DEVICE=cpu" in told.err
    assert not output.exists()


def test_the_steps_of_a_space_are_checked_on_a_processor(tmp_path, capsys):
    status, found = report(tmp_path, "--cases", "nasbench201", "--only", *STEPS)
    rows = {(row["check"], row["case"]): row for row in found["rows"]}
    assert status == 0, capsys.readouterr().out
    assert {check for check, _ in rows} == set(STEPS)
    assert rows["parity", "nasbench201 wide"]["numbers"]["distance_64"] < 1e-9
    assert rows["waits", "nasbench201 32-true"]["numbers"]["waits"] == 0
    assert rows["speed", "nasbench201 32-true"]["numbers"]["n"] == 2
    assert rows["modes", "nasbench201 compile"]["verdict"] == "passed"
    assert rows["modes", "nasbench201 graph"]["words"] == "a CUDA graph is recorded by a GPU"
    assert found["counts"]["failed"] == 0 and found["versions"]["torch"] == torch.__version__


def test_everything_is_checked_on_a_processor(tmp_path, capsys):
    status, found = report(tmp_path, "--minutes", "60")
    assert status == 0, capsys.readouterr().out
    assert {row["check"] for row in found["rows"]} >= {*STEPS, "search"}
    assert {row["case"].split()[0] for row in found["rows"]} >= {case.name for case in cases(True)}
    refused = [row for row in found["rows"] if row["case"] == "darts1 16-mixed"]
    assert refused[0]["numbers"] == {"refused": "hardware.precision=16-mixed"}


def test_a_check_that_fails_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    def broken(*arguments):
        raise RuntimeError("an operator\nof two lines")

    monkeypatch.setattr(gpu_check, "memory", broken)
    status, found = report(tmp_path, "--cases", "dsonas", "--only", "memory", "precision")
    verdicts = {row["check"]: row["verdict"] for row in found["rows"]}
    assert status == 1 and verdicts == {"memory": "failed", "precision": "passed"}
    assert "RuntimeError: an operator" in capsys.readouterr().out


def test_a_step_that_waits_fails_its_check(tmp_path, monkeypatch, capsys):
    from nas.methods.relaxations import Softmax

    softmax = Softmax.op_weights
    monkeypatch.setattr(Softmax, "op_weights", lambda self, a: softmax(self, a) if bool(a.sum() < 9) else a)
    status, found = report(tmp_path, "--cases", "darts_rnn", "--only", "waits")
    assert status == 1 and {row["verdict"] for row in found["rows"]} == {"failed"}
    assert "_local_scalar_dense" in found["rows"][0]["words"]


def test_what_the_time_does_not_allow_is_left_out():
    times, said = iter([0.0, 0.0, 50.0, 700.0]), []
    checks = Checks(600.0, said.append, clock=lambda: next(times))
    checks.run("first", "a", lambda: {"n": 1})
    checks.run("second", "b", lambda: {"n": 1})
    assert [row.verdict for row in checks.rows] == ["passed", "left out"]
    assert "the time is over" in said[1]


CONFIGURED = {
    "darts": ("darts1",),
    "nasbench201": ("drnas_nb201", "space=nasbench201"),
    "dsonas": ("dsonas", "space=dso_small"),
    "darts_rnn": ("darts1_rnn", "space=darts_rnn", "dataset=wikitext_mini"),
}


@pytest.mark.parametrize("name", CONFIGURED)
def test_what_is_checked_has_the_numbers_of_the_configuration(name):
    register_resolvers()
    method, *words = CONFIGURED[name]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        wanted = compose("search", [f"method={method}", *words]).method
    case = next(case for case in cases(True) if case.name == name)
    steps = case.search(Numerics(torch.device("cpu"), torch.float32, None, False))
    for optimizer, keys in (
        (steps.optimizer, wanted.weight_optimizer),
        (steps.architecture_optimizer, wanted.architecture_optimizer),
    ):
        for key, value in keys.items():
            if not key.startswith("_"):
                value = tuple(value) if key == "betas" else value
                assert value in [group[key] for group in optimizer.param_groups], (name, key)
    assert (steps.method.clip, steps.method.clip_value) == (wanted.clip, wanted.get("clip_value"))


def bare(folder):
    """Links to torch, numpy and what these need, and nothing else that is installed here."""
    folder.mkdir()
    seen, names = set(), ["torch", "numpy"]
    while names:
        name = re.split(r"[ ;<>=!\[~(]", names.pop())[0].lower()
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if name in seen:
            continue
        seen.add(name)
        names += [one for one in distribution.requires or [] if "extra ==" not in one]
        for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}:
            source = Path(str(distribution.locate_file(top)))
            if source.exists() and not (folder / top).exists():
                (folder / top).symlink_to(source)
    return folder


def test_torch_numpy_and_this_tree_are_enough(tmp_path):
    path = os.pathsep.join([str(ROOT), str(bare(tmp_path / "packages"))])
    output = tmp_path / "gpu_check.json"
    words = ["--cases", "dsonas", "--only", "parity", "waits", "search", "--output", str(output)]
    done = subprocess.run(
        [sys.executable, "-S", "-m", "experiments.gpu_check", "--device", "cpu", *words],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(output.read_text())["rows"]
    assert {row["verdict"] for row in rows if row["check"] == "waits"} == {"passed"}
    (searches,) = [row for row in rows if row["check"] == "search"]
    assert searches["verdict"] == "left out" and "pytorch_lightning, hydra" in searches["words"]
