"""Every method by one short search in each precision, where Lightning and Hydra are there."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from experiments.gpu_check.rows import LEFT_OUT, Checks, Row

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
# What searches refuse, and why: see docs/hardware.md.
REFUSED = "16-mixed"
NEEDED = ("pytorch_lightning", "hydra", "omegaconf", "torchmetrics", "timm", "scipy", "sklearn")
CONF = Path(__file__).resolve().parents[2] / "conf"


def searches(checks: Checks, device: torch.device, small: bool, methods: Sequence[str] | None = None) -> None:
    """Adds a row for each method and precision.

    Args:
        checks: where.
        device: CPU or GPU.
        small: whether two methods are enough.
        methods: those that are run; None for all, or for two where `small`.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        words = f"needs {', '.join(missing)}; steps and kernels were checked without"
        checks.rows.append(Row("search", "every method", LEFT_OUT, words))
        checks.say(checks.rows[-1].line())
        return
    known = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
    chosen = list(methods if methods is not None else ("darts1", "drnas_nb201") if small else known)
    # Precision by precision, so that what the time cuts off is the same of all methods.
    for precision in PRECISIONS:
        for method in chosen:
            checks.run("search", f"{method} {precision}", partial(_search, method, precision, device))


def _search(method: str, precision: str, device: torch.device) -> Mapping[str, Any]:
    from nas import run_search
    from nas.errors import ConfigError

    space, dataset, words = _space(method)
    run: Callable[..., Any] = partial(
        run_search, dataset, space=space, method=method, hardware="gpu" if device.type == "cuda" else "cpu",
        verbose=False, overrides=["debug=fast", f"hardware.precision={precision}", *words],
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = run(folder=f"{folder}/run")
        except ConfigError as error:
            if precision == REFUSED and "precision" in str(error):
                return {"refused": str(error).partition(":")[0]}
            raise
        if precision == REFUSED:
            raise AssertionError(f"{precision} was not refused")
        return {"status": result.status}


def _space(method: str) -> tuple[str, str, list[str]]:
    if method.endswith("_rnn"):
        return "darts_rnn", "wikitext_mini", []
    if method.startswith("dsonas"):
        return "dso_small", "digits", []
    if "nb201" in method:
        return "nasbench201", "digits", []
    return "darts", "digits", ["space.num_nodes=2"]
