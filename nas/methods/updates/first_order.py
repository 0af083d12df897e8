"""The first-order architecture gradient."""

from typing import Any

from nas.methods.functional import frozen
from nas.methods.updates.base import ArchitectureGradient, Bilevel, Update


class FirstOrder(Update):
    """d_alpha L_val(w, alpha): the weights are taken for converged (section 2.3, xi = 0)."""

    name = "first_order"

    def gradient(self, problem: Bilevel, weight_batch: Any, architecture_batch: Any) -> ArchitectureGradient:
        """One forward and one backward pass, the latter for alpha alone; `weight_batch` is not looked at."""
        with frozen(problem.weights):
            loss = problem.loss(architecture_batch)
            return ArchitectureGradient(loss.detach(), problem.gradients(loss, problem.alphas))
