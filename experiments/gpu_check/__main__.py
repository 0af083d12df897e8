"""Whether everything holds on a GPU, and what it reaches: one command, ten minutes, one JSON file.

    python -m experiments.gpu_check [--device cpu] [--minutes 10] [--output gpu_check.json]

Checks that each way of computing is the literal network, that steps make the host wait for nothing, what
precisions do to alpha's gradient, peak memory beside its estimate, and steps a second beside the literal
network; every method by one short search in each precision. torch, numpy and this tree are enough for all
but the searches, which are left out where Lightning or Hydra is missing. `--device cpu` runs the same
code on small sizes. Ends with status 1 where a check has failed, 2 where there is no GPU.
"""

import gc
import json
import platform
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.gpu_check.cases import WAYS, cases
from experiments.gpu_check.checks import memory, modes, parity, precision_of, speed, waits
from experiments.gpu_check.rows import FAILED, Checks
from experiments.gpu_check.searches import PRECISIONS, searches
from nas.files import write_text

REFUSED = 2
MODES = ("graph", "compile")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs all checks; returns the exit status."""
    asked = _asked(arguments)
    lack = _lack(asked.device)
    if lack:
        print(f"gpu-check: {lack}", file=sys.stderr)
        return REFUSED
    device, small = torch.device(asked.device), asked.device == "cpu"
    checks = Checks(time.monotonic() + 60 * asked.minutes)
    print(f"{_name(device)}, torch {torch.__version__}, at most {asked.minutes:g} minutes")
    _steps(checks, device, small, asked)
    if not asked.only or "search" in asked.only:
        searches(checks, device, small, asked.methods)
    counts = checks.counts()
    report = {
        "device": _name(device),
        "versions": _versions(device),
        "sizes": "small" if small else "papers'",
    }
    report |= {"counts": counts, "rows": checks.plain()}
    write_text(Path(asked.output), json.dumps(report, indent=1, allow_nan=True) + "\n")
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + f": {asked.output}")
    return 1 if counts[FAILED] else 0


def _asked(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(prog="python -m experiments.gpu_check", description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: the same code, small")
    parser.add_argument("--minutes", type=float, default=10.0, help="checks that begin later are left out")
    parser.add_argument("--output", default="gpu_check.json", help="the report")
    parser.add_argument(
        "--only", nargs="*", default=[], help="names of checks, as in the table's first column"
    )
    parser.add_argument("--cases", nargs="*", default=[], help="of the steps; all of them by default")
    parser.add_argument("--methods", nargs="*", default=None, help="of the searches; all of them by default")
    asked = parser.parse_args(arguments)
    if asked.minutes <= 0:
        parser.error(f"--minutes {asked.minutes:g}: must be positive")
    return asked


def _lack(device: str) -> str | None:
    if device == "cpu" or torch.cuda.is_available():
        return None
    return (
        f"torch {torch.__version__} sees no CUDA GPU here; `make gpu-check DEVICE=cpu` runs the same code on "
        "a processor, small"
    )


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU ({platform.machine()})"


def _versions(device: torch.device) -> dict[str, Any]:
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    if device.type == "cuda":
        capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
        versions |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
        versions |= {"capability": capability}
    return versions


def _steps(checks: Checks, device: torch.device, small: bool, asked: Namespace) -> None:
    rounds = 2 if small else 20
    for case in cases(small):
        if asked.cases and case.name not in asked.cases:
            continue
        planned = [("parity", way, partial(parity, case, device, way)) for way in WAYS]
        planned += [("waits", one, partial(waits, case, device, one)) for one in ("32-true", "bf16-mixed")]
        planned += [("precision", one, partial(precision_of, case, device, one)) for one in PRECISIONS]
        planned += [("memory", "", partial(memory, case, device))]
        precision = "32-true" if small else "bf16-mixed"
        planned += [("speed", precision, partial(speed, case, device, precision, rounds))]
        planned += [("modes", one, partial(modes, case, device, one)) for one in MODES]
        for check, what, measure in planned:
            if not asked.only or check in asked.only:
                checks.run(check, f"{case.name} {what}".strip(), measure)
                gc.collect()
                if device.type == "cuda":
                    torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
