"""Learning rates that begin with a warm-up, as large batches need it (Chen et al. 2021, ImageNet)."""

import math
from collections.abc import Callable

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from nas.errors import require


class Limited(LambdaLR):
    """A LambdaLR that is made for so many epochs.

    Args:
        optimizer: at its base learning rate.
        factor: epoch -> what the base learning rate is multiplied by.
        length: epochs after which the schedule is over.
        eta_min: learning rate at its end.
    """

    def __init__(
        self, optimizer: Optimizer, factor: Callable[[int], float], length: int, eta_min: float = 0.0
    ):
        super().__init__(optimizer, factor)
        self.length = length
        self.eta_min = eta_min


def linear_with_warmup(optimizer: Optimizer, epochs: int, warmup: int = 5, tail: int = 5) -> LambdaLR:
    """A linear fall to nearly zero at `epochs - tail`, then more slowly to zero at `epochs` (authors' code).

    With D = E - tail, the base rate is multiplied in epoch e by (e + 1) / warmup while e < warmup, by
    (D - e) / D while e < D, and by (E - e) / (tail D) after that.

    Args:
        optimizer: at its base learning rate.
        epochs: E, the length of the schedule; the rate is 0 after it. A schedule that is too short for a tail
            has none.
        warmup: epochs of a linear rise to the base rate; 0 for none.
        tail: last epochs at a slower fall; 0 for none.

    Raises:
        ConfigError: a number is negative, or there is no epoch.
    """
    _check(epochs, warmup)
    require(tail >= 0, f"recipe.scheduler.tail={tail}: must be at least 0")
    main = epochs - tail if epochs > tail else epochs

    def factor(epoch: int) -> float:
        if epoch < warmup:
            return (epoch + 1) / warmup
        if epoch < main:
            return (main - epoch) / main
        return max(0, epochs - epoch) / (max(1, tail) * main)

    return Limited(optimizer, factor, epochs)


def warmup_then_linear(optimizer: Optimizer, epochs: int, start: float = 0.1, warmup: int = 5) -> LambdaLR:
    """A line from `start` up to the base rate, and a line from there to 0 (DSO-NAS's code on ImageNet).

    The authors change the rate step by step; an epoch here has the mean of its steps, in epoch e

        start + (base - start) (e + 1/2) / warmup                  e < warmup
        base (epochs - e - 1/2) / (epochs - warmup)                 e >= warmup

    Args:
        optimizer: at its base learning rate.
        epochs: length of the schedule; the rate is 0 after it.
        start: learning rate at the very beginning, at least 0.
        warmup: epochs of the rise; 0 for none.

    Raises:
        ConfigError: a number is negative, or there is no epoch.
    """
    _check(epochs, warmup)
    require(start >= 0, f"recipe.scheduler.start={start}: must be at least 0")
    share = start / optimizer.param_groups[0]["lr"]

    def factor(epoch: int) -> float:
        if epoch < warmup:
            return share + (1 - share) * (epoch + 0.5) / warmup
        return max(0.0, epochs - epoch - 0.5) / max(1, epochs - warmup)

    return Limited(optimizer, factor, epochs)


def cosine_with_warmup(optimizer: Optimizer, T_max: int, eta_min: float = 0.0, warmup: int = 5) -> LambdaLR:
    """The cosine of `CosineAnnealingLR`, but for a linear rise in its first epochs; see `WarmCosine`.

    Args:
        optimizer: at its base learning rate, one for all of its parameters.
        T_max: epochs of the cosine.
        eta_min: learning rate at its end.
        warmup: epochs in which the rate is base (e + 1) / warmup instead; 0 for none.

    Raises:
        ConfigError: a number is negative, or there is no epoch.
    """
    _check(T_max, warmup)
    base = optimizer.param_groups[0]["lr"]

    def factor(epoch: int) -> float:
        if epoch < warmup:
            return (epoch + 1) / warmup
        wave = (1 + math.cos(math.pi * min(epoch, T_max) / T_max)) / 2
        return (eta_min + (base - eta_min) * wave) / base

    return Limited(optimizer, factor, T_max, eta_min)


class WarmCosine(CosineAnnealingLR):
    """The cosine by torch's recursion, whose first epochs a warm-up overrides: DrNAS's code on ImageNet.

    The recursion makes each rate from the one before, and so goes on from the warm-up's last rate, which is
    the base rate and not the cosine's: with warm-up w it follows

        base (e + 1) / w                                                              e < w
        eta_min + (base - eta_min) (1 + cos(pi e / T)) / (1 + cos(pi (w - 1) / T))    e >= w

    After 5 of 50 epochs that is 1.6 % above `cosine_with_warmup`. A stage restarts it as it does torch's
    cosine (`nas.methods.schedules.stage_scheduler`).

    Args:
        optimizer: at its base learning rate.
        T_max: epochs of the cosine.
        eta_min: learning rate at its end.
        warmup: epochs in which the rate is base (e + 1) / warmup instead; 0 for none.

    Raises:
        ConfigError: a number is negative, or there is no epoch.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, warmup: int = 5):
        _check(T_max, warmup)
        # Torch asks for the first rate while it builds.
        self.warmup = warmup
        super().__init__(optimizer, T_max, eta_min)

    def get_lr(self) -> list[float | Tensor]:
        """The rates of epoch `last_epoch`."""
        return self.warm(self.last_epoch) or super().get_lr()

    def start_of_stage(self, epoch: int) -> list[float | Tensor]:
        """The rates of a stage's first epoch: the base rates, or the warm-up's."""
        return self.warm(epoch) or list(self.base_lrs)

    def warm(self, epoch: int) -> list[float | Tensor]:
        """The warm-up's rates in an epoch; none after it."""
        return [base * (epoch + 1) / self.warmup for base in self.base_lrs] if epoch < self.warmup else []


def _check(epochs: int, warmup: int) -> None:
    require(epochs >= 1, f"scheduler: {epochs} epochs: must be at least 1")
    require(warmup >= 0, f"scheduler: warmup={warmup}: must be at least 0")
