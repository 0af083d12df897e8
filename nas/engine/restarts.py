"""Learning rates of a run that got more epochs, or fewer, than it was started with."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nas.errors import require

# What torch's schedules and those of `nas.engine.rates` call the number of epochs that they are made for.
LENGTHS = ("T_max", "total_iters", "total_steps", "length")


@dataclass(frozen=True)
class Restart:
    """A new cosine in the middle of a run.

    Attributes:
        at: its first epoch, from 0.
        before: epochs that the run was to have until then.
        epochs: epochs that it has now, where the cosine ends.
    """

    at: int
    before: int
    epochs: int


def restarts_of(given: Sequence[Mapping[str, int]]) -> list[Restart]:
    """The restarts as a configuration holds them.

    Raises:
        ConfigError: one of them is not made of three whole numbers, or not behind the one before.
    """
    require(isinstance(given, list), f"restarts={given}: must be a list")
    restarts: list[Restart] = []
    for entry in given:
        whole = isinstance(entry, Mapping) and all(type(value) is int for value in entry.values())
        fits = whole and set(entry) == {"at", "before", "epochs"} and 0 < entry["at"] < entry["epochs"]
        fits = fits and (not restarts or restarts[-1].at < entry["at"] <= restarts[-1].epochs)
        require(fits, f"restarts={entry}: no restart of this run; resume_schedule=restart writes them")
        restarts.append(Restart(**entry))
    return restarts


def length_of(scheduler: LRScheduler) -> int | None:
    """The number of epochs that a schedule is made for; None where it has no end."""
    parts = getattr(scheduler, "_schedulers", ())
    lengths = [getattr(scheduler, name, None) for name in LENGTHS] + [length_of(part) for part in parts]
    return max((length for length in lengths if isinstance(length, int)), default=None)


def with_restarts(build: Callable, restarts: Sequence[Restart]) -> Callable:
    """A schedule that begins a new cosine at each restart; `build` itself where there is none.

    From epoch `at` on the rate is f + (r - f) (1 + cos(pi (e - at) / (epochs - at))) / 2, where r is the
    rate of the epoch before and f the least one of the first schedule (`eta_min`, else 0, at most r).

    Args:
        build: optimiser -> schedule of a run without restarts, whose rates depend on the epoch alone.
        restarts: in order.
    """
    if not restarts:
        return build
    return lambda optimizer: RatesByEpoch(optimizer, rates(build, optimizer, restarts))


def rates(build: Callable, optimizer: Optimizer, restarts: Sequence[Restart], epochs: int = 0) -> list[list]:
    """The learning rates of every epoch, a list of those of the optimiser's groups each.

    Args:
        build: optimiser -> schedule.
        optimizer: at its base learning rates.
        restarts: in order.
        epochs: how many, where there are no restarts.
    """
    # The schedule is tried out on another optimiser: its steps would move this one's rates.
    groups = [{"params": [torch.zeros(1)], "lr": group["lr"]} for group in optimizer.param_groups]
    tried = SGD(groups, lr=0.1, momentum=0.9)
    scheduler = build(tried)
    first = restarts[0].at if restarts else epochs
    result = []
    for _ in range(first):
        result.append([group["lr"] for group in tried.param_groups])
        tried.step()
        scheduler.step()
    floor = float(getattr(scheduler, "eta_min", 0.0))
    for restart in restarts:
        del result[restart.at :]
        last, length = result[-1], restart.epochs - restart.at
        for epoch in range(length):
            wave = (1 + math.cos(math.pi * epoch / length)) / 2
            result.append([min(floor, rate) + (rate - min(floor, rate)) * wave for rate in last])
    return result


class RatesByEpoch(LRScheduler):
    """A schedule as a table; its place in it is the only thing that it takes from a checkpoint.

    So it goes on from the checkpoint of another schedule, at whatever epoch that was written.

    Args:
        optimizer: what it sets the rates of.
        table: rates of every epoch, one an optimiser's group; the last ones stay.
    """

    def __init__(self, optimizer: Optimizer, table: list[list]):
        self.table = table
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """The rates of the epoch that the schedule is at."""
        return self.table[min(self.last_epoch, len(self.table) - 1)]

    def state_dict(self) -> dict[str, Any]:
        """The epoch."""
        return {"last_epoch": self.last_epoch, "_last_lr": list(self._last_lr)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes to the epoch of a checkpoint, and sets the rates of this schedule there."""
        self.last_epoch = state_dict["last_epoch"]
        self._step_count = self.last_epoch + 1
        self._last_lr = list(self.get_lr())
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate
