"""Exponentiated gradient: mirror descent on the simplex, which multiplies where gradient descent adds."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from nas.errors import ConfigError, require

# Exponents beyond which a float32 overflows, with room for the sum of a row.
LARGEST = 60.0


class ExponentiatedGradient(torch.optim.Optimizer):
    """theta <- theta * exp(-lr * g), at least `least`, then divided by the sum of its row (Li et al. 2021).

    A row is the last dimension. `least` is of the authors' code: without it 0 would stay 0 for ever.

    Args:
        params: tensors whose rows are points of the simplex.
        lr: step size.
        entropy: weight of an entropic pull, sum theta * log(theta * O) (the authors' code; 0 is none).
        least: what an entry has at least before the row is divided by its sum.

    Raises:
        ConfigError: a value is out of range, or a row is no point of the simplex.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float = 0.1, entropy: float = 0.0, least: float = 1e-5
    ) -> None:
        for key, value in {"lr": lr, "entropy": entropy, "least": least}.items():
            require(value >= 0, f"method.architecture_optimizer.{key}={value}: must be at least 0")
        super().__init__(params, {"lr": lr, "entropy": entropy, "least": least})
        for group in self.param_groups:
            for theta in group["params"]:
                require(
                    least * theta.shape[-1] < 1,
                    f"method.architecture_optimizer.least={least}: must be below 1 / {theta.shape[-1]}, the "
                    "op weight of a candidate that is as good as the others",
                )
                if bool((theta < 0).any()) or bool(((theta.sum(-1) - 1).abs() > 1e-4).any()):
                    raise ConfigError(
                        "method.architecture_optimizer: exponentiated gradient steps on the simplex, and "
                        "these parameters are not there; use it with "
                        "method.relaxation._target_=nas.methods.relaxations.Simplex"
                    )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; what has no gradient stays."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for theta in group["params"]:
                if theta.grad is not None:
                    self._move(theta, theta.grad, group)
        return loss

    @staticmethod
    def _move(theta: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        if group["entropy"]:
            gradient = gradient + group["entropy"] * ((theta * theta.shape[-1]).log() + 1)
        exponent = -group["lr"] * gradient
        # A factor for a whole row moves `least` alone; taken out where exp would overflow otherwise.
        exponent -= (exponent.amax(-1, keepdim=True) - LARGEST).clamp_min(0)
        theta.mul_(exponent.exp_()).clamp_(min=group["least"])
        theta.div_(theta.sum(-1, keepdim=True))
