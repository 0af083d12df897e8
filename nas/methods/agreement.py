"""How far the finite difference of second-order DARTS is from the exact second derivative."""

from typing import Any

import torch
from torch import Tensor

from nas.methods.functional import Trial, frozen
from nas.methods.updates import Bilevel, VirtualStep, exact_product, finite_difference_product


def implicit_agreement(
    problem: Bilevel,
    weight_batch: Any,
    architecture_batch: Any,
    epsilon: float = 0.01,
    xi: float | None = None,
    momentum: bool = True,
) -> dict[str, float]:
    """Computes d^2 L_train . v both ways at one point and compares them; leaves everything as it was.

    Returns:
        `cosine` between the finite difference and the exact product over all alphas together, and
        `relative_error` = ||finite difference - exact|| / ||exact||.
    """
    step = VirtualStep(problem.optimizer, problem.weights, xi, momentum)
    with Trial(problem.network, problem.weights, problem.generators) as trial:
        with frozen(problem.alphas):
            train = problem.gradients(problem.loss(weight_batch), problem.weights)
        step.apply(train)
        trial.rewind()
        with frozen(problem.alphas):
            vector = problem.gradients(problem.loss(architecture_batch), problem.weights)
        trial.restore_weights()
        exact = _flat(exact_product(problem, trial, weight_batch, vector))
        approximate = _flat(finite_difference_product(problem, trial, weight_batch, vector, epsilon))
    return {
        "cosine": float(torch.nn.functional.cosine_similarity(exact, approximate, dim=0)),
        "relative_error": float((approximate - exact).norm() / exact.norm()),
    }


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.detach().flatten().double() for t in tensors])
