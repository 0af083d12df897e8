"""What a command imports before it has something to do with it: exact, for seconds drift and modules do not.

`torch.optim` brings `torch._dynamo`, and Lightning brings torchmetrics, which brings torchvision, scipy and
matplotlib; none of these can be had without them.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "torch", "torch._dynamo", "torchvision", "pytorch_lightning", "torchmetrics", "timm", "scipy",
    "scipy.signal", "sklearn", "pandas", "wandb", "tensorboard", "matplotlib", "altair", "onnx",
)  # fmt: skip
OF_LIGHTNING = {
    "torch", "torch._dynamo", "torchvision", "pytorch_lightning", "torchmetrics", "scipy", "scipy.signal",
    "matplotlib",
}  # fmt: skip
WATCH = """
import runpy, sys
module, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = module
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit:
    pass
finally:
    print("HEAVY", *(name for name in {heavy!r} if name in sys.modules))
"""


def imported(folder, *words):
    """Heavy modules that a command has imported when it ends, whatever its status."""
    code = WATCH.format(heavy=HEAVY)
    around = {"PATH": "", "PYTHONPATH": f"{ROOT}:{folder}", "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, env=around, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("HEAVY")]
    assert lines, done.stderr
    return set(lines[-1].split()[1:])


@pytest.mark.parametrize(
    "words",
    [
        ("nas",),
        ("nas", "--help"),
        ("nas.search", "--help"),
        ("nas.evaluate", "--cfg", "job"),
        ("nas.search", "space=nosuch"),
        ("nas.search", "nokey=1"),
        ("nas.bench", "resume=somewhere"),
        ("nas.report", "somewhere"),
        ("nas.sweeps", "folder=somewhere"),
    ],
    ids=" ".join,
)
def test_nothing_heavy(tmp_path, words):
    assert imported(tmp_path, *words) == set()


def test_what_commands_with_something_to_do_begin_with(tmp_path):
    """Neither timm, which brings wandb, nor scikit-learn, which brings pandas."""
    modules = ("search", "evaluate", "derive", "cost", "rank", "protocol")
    (tmp_path / "every.py").write_text("".join(f"import nas.commands.{name}\n" for name in modules))
    assert imported(tmp_path, "every") == OF_LIGHTNING


def test_a_plan_on_the_digits_reads_them_without_scikit_learn(tmp_path):
    words = ("plan=true", "debug=fast", "dataset=digits", "space=nasbench201", "space.cells_per_stage=1")
    assert imported(tmp_path, "nas.search", *words) == OF_LIGHTNING
