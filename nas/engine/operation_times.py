"""How long each candidate operation takes on the device at hand, measured once and kept with the run."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from nas.analysis.latency import measure_latency
from nas.engine.run_folder import write_text
from nas.errors import ConfigError
from nas.methods.sparsity import GroupCosts

FILE = "operation_times.json"
REPEATS = 9


def measure_operations(costs: Mapping[str, GroupCosts], batch_size: int, device: str) -> dict[str, float]:
    """Milliseconds of a batch for every distinct operation and shape, `<name>@<C>x<H>x<W>` -> median."""
    found: dict[str, float] = {}
    # Neither the weights nor the images may move the generators of the search.
    with torch.random.fork_rng(devices=[]):
        for cost in costs.values():
            for name in sorted({name for names in cost.names_EO for name in names}):
                if _key(name, cost) not in found:
                    module = cost.build(name).to(device)
                    images_BCHW = torch.randn(batch_size, *cost.shape, device=device)
                    found[_key(name, cost)] = measure_latency(module, images_BCHW, 2, REPEATS).median
    return found


def operation_seconds(costs: Mapping[str, GroupCosts], times: Mapping[str, float]) -> dict[str, Tensor]:
    """Those times as tensors {group: [E, O]}, in seconds."""
    return {
        group: torch.tensor(
            [[times[_key(name, cost)] / 1000 for name in names] for names in cost.names_EO],
            dtype=torch.float64,
        )
        for group, cost in costs.items()
    }


def load_or_measure(
    path: Path, costs: Mapping[str, GroupCosts], batch_size: int, device: str, measure: bool
) -> dict[str, float]:
    """The times of a run: read where it was started before, because two measurements never agree.

    Args:
        path: of the JSON file in the run folder.
        costs: of every group.
        batch_size: images a batch.
        device: where to measure.
        measure: whether to take times where there is no file yet.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    if measure:
        return measure_operations(costs, batch_size, device)
    try:
        times = json.loads(path.read_text(encoding="utf-8"))["milliseconds"]
        operation_seconds(costs, times)
        return times
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: the times of this run's operations cannot be read ({error})") from error


def write(path: Path, times: Mapping[str, float]) -> None:
    """Writes what `load_or_measure` reads."""
    write_text(path, json.dumps({"milliseconds": dict(times)}, indent=1) + "\n")


def _key(name: str, cost: GroupCosts) -> str:
    return f"{name}@{'x'.join(map(str, cost.shape))}"
