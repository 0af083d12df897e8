"""Stopping a run whose loss is no number any more."""

import torch
from torch import Tensor


class Diverged(RuntimeError):
    """A loss became NaN or infinite; the message says which and when."""


class FiniteGuard:
    """Watches losses; on a GPU it looks at them only now and then, since each look waits for the device.

    Args:
        every: steps between looks on an accelerator; on a CPU every loss is looked at.
    """

    def __init__(self, every: int = 50):
        self.every = every
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
        if loss.device.type == "cpu" or step % self.every == 0:
            self.check(epoch)

    def check(self, epoch: int) -> None:
        """Looks at everything noted since the last look."""
        for name, first in self._first.items():
            if torch.isfinite(first):
                raise Diverged(
                    f"the {name} loss became nan or infinite in epoch {epoch + 1}, step {int(first)}"
                )
        self._first.clear()
