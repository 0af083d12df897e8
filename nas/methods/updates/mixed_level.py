"""The mixed-level gradient of MiLeNAS."""

from typing import Any

import torch

from nas.errors import require
from nas.methods.functional import Trial, frozen
from nas.methods.updates.base import ArchitectureGradient, Bilevel
from nas.methods.updates.first_order import FirstOrder


class MixedLevel(FirstOrder):
    """d_alpha (L_val + lam * L_train), both at the present weights (He et al. 2020, equation 5).

    Args:
        lam: weight of the training loss, at least 0; 0 is first-order DARTS. Paper and code 1.

    Raises:
        ConfigError: it is negative.
    """

    name = "mixed_level"
    rewinds = True

    def __init__(self, lam: float = 1.0):
        require(lam >= 0, f"method.update.lam={lam}: must be at least 0")
        self.lam = lam

    def gradient(self, problem: Bilevel, weight_batch: Any, architecture_batch: Any) -> ArchitectureGradient:
        """Two passes; what the second one does to buffers and generators is undone."""
        result = super().gradient(problem, weight_batch, architecture_batch)
        if not self.lam:
            return result
        with Trial(problem.network, problem.weights, problem.generators), frozen(problem.weights):
            train = problem.gradients(problem.loss(weight_batch), problem.alphas)
        result.gradients = list(torch._foreach_add(result.gradients, train, alpha=self.lam))
        return result
