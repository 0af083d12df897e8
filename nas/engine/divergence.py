"""Stopping a run whose numbers are no numbers any more."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

# Steps between two looks at the losses on an accelerator.
LOOK = 50


class Diverged(RuntimeError):
    """A number became NaN or infinite; the message says which and when."""


def first_broken(module: nn.Module) -> str | None:
    """The first of a module's parameters and buffers that is NaN or infinite somewhere; None for none."""
    for named in (module.named_parameters(), module.named_buffers()):
        for name, tensor in named:
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                return name
    return None


def refuse_numbers(numbers: Mapping[str, Any], when: str) -> None:
    """Refuses what was measured where it is no number.

    Raises:
        Diverged: one is NaN or infinite.
    """
    for name, value in numbers.items():
        if value is not None and not math.isfinite(value):
            raise Diverged(f"{name} became nan or infinite {when}")


def without_broken(numbers: Mapping[str, float]) -> dict[str, float]:
    """Those that are numbers: an epoch that a training has gone back from leaves the others blank."""
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


class FiniteGuard:
    """Watches losses; on a GPU it looks at them only now and then, since each look waits for the device."""

    def __init__(self) -> None:
        self._first: dict[str, Tensor] = {}

    def watch(self, name: str, loss: Tensor, epoch: int, step: int) -> None:
        """Notes a loss.

        Raises:
            Diverged: it, or one noted earlier, is not finite.
        """
        loss = loss.detach()
        never = torch.full_like(loss, torch.inf)
        first = torch.where(torch.isfinite(loss), never, torch.full_like(loss, float(step)))
        self._first[name] = torch.minimum(self._first.get(name, never), first)
        if loss.device.type == "cpu" or step % LOOK == 0:
            self.check(epoch)

    def check(self, epoch: int) -> None:
        """Looks at everything noted since the last look."""
        for name, first in self._first.items():
            if torch.isfinite(first):
                raise Diverged(f"the {name} loss became nan or infinite in epoch {epoch}, step {int(first)}")
        self._first.clear()
