"""The second-order architecture gradient, through one virtual step of the weights.

Liu et al. 2019, equations 6 to 8:

    w'   = w - xi * step(grad_w L_train(w, alpha))
    v    = grad_{w'} L_val(w', alpha)
    grad = d_alpha L_val(w', alpha) - xi * d^2_{alpha,w} L_train(w, alpha) . v

`step` is the weight optimiser's own, with momentum and weight decay, as the authors' code has it, or the
paper's plain gradient. The product with v is either their finite difference,
[d_alpha L_train(w + e v) - d_alpha L_train(w - e v)] / (2 e) with e = epsilon / ||v||, or exact by double
backward. The two differ widely on real supernets, because the finite difference crosses kinks of ReLU and
max-pooling that autograd ignores (docs/second_order.md).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nas.errors import ConfigError, require, require_one_of
from nas.methods.functional import Trial, frozen, twice_differentiable
from nas.methods.updates.base import ArchitectureGradient, Bilevel, Update


class Unrolled(Update):
    """The gradient through one virtual weight step.

    Args:
        xi: step size of the virtual step; None takes the weight optimiser's current learning rate.
        implicit: `finite_difference` (the original) or `exact` (double backward).
        epsilon: numerator of the finite difference's step, 0.01 in the paper.
        momentum: whether the virtual step includes the optimiser's momentum and weight decay (the authors'
            code) or is the paper's plain gradient step.
        clip: global norm that the virtual step's gradient and v are clipped to, as the authors' code for
            recurrent cells has it; None for no clipping. The factor of the first counts as a constant.

    Raises:
        ConfigError: a value is out of range.
    """

    name = "unrolled"
    rewinds = True

    def __init__(
        self,
        xi: float | None = None,
        implicit: str = "finite_difference",
        epsilon: float = 0.01,
        momentum: bool = True,
        clip: float | None = None,
    ):
        require(clip is None or clip > 0, f"method.virtual_clip={clip}: must be null or positive")
        require(
            xi is None or xi >= 0, f"method.xi={xi}: must be null (the current learning rate) or at least 0"
        )
        require_one_of("method.implicit", implicit, ("finite_difference", "exact"))
        require(epsilon > 0, f"method.epsilon={epsilon}: must be positive")
        self.xi = xi
        self.implicit = implicit
        self.epsilon = epsilon
        self.momentum = momentum
        self.clip = clip

    def gradient(self, problem: Bilevel, weight_batch: Any, architecture_batch: Any) -> ArchitectureGradient:
        """Four passes by finite difference: train at w, architecture at w', train at w + e v and w - e v."""
        step = VirtualStep(problem.optimizer, problem.weights, self.xi, self.momentum)
        alphas = list(problem.alphas)
        with Trial(problem.network, problem.weights, problem.generators) as trial:
            with frozen(alphas):
                train = problem.gradients(problem.loss(weight_batch), problem.weights)
            share = self._clip(train)
            step.apply(train)
            del train
            trial.rewind()
            loss = problem.loss(architecture_batch)
            both = problem.gradients(loss, [*alphas, *problem.weights])
            direct, vector = both[: len(alphas)], both[len(alphas) :]
            self._clip(vector)
            trial.keep()
            trial.restore_weights()
            trial.rewind()
            product = exact_product if self.implicit == "exact" else self._finite_difference
            implicit = product(problem, trial, weight_batch, vector)
        gradients = [d - step.gain * share * i for d, i in zip(direct, implicit, strict=True)]
        return ArchitectureGradient(loss.detach(), gradients, vector, implicit)

    def _clip(self, gradients: Sequence[Tensor]) -> float | Tensor:
        """Clips to the global norm, in place; returns the factor."""
        if self.clip is None:
            return 1.0
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(gradients))))
        share = (self.clip / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(list(gradients), share)
        return share

    def _finite_difference(
        self, problem: Bilevel, trial: Trial, weight_batch: Any, vector: Sequence[Tensor]
    ) -> list[Tensor]:
        return finite_difference_product(problem, trial, weight_batch, vector, self.epsilon)


def exact_product(
    problem: Bilevel, trial: Trial, weight_batch: Any, vector: Sequence[Tensor]
) -> list[Tensor]:
    """d^2_{alpha,w} L_train(w, alpha) . vector by double backward, one tensor per alpha."""
    trial.rewind()
    with twice_differentiable(problem.network):
        loss = problem.loss(weight_batch)
        first = torch.autograd.grad(loss, list(problem.weights), create_graph=True, allow_unused=True)
        pairs = [(g, v) for g, v in zip(first, vector, strict=True) if g is not None and g.requires_grad]
        start, *others = ((g * v).sum() for g, v in pairs)
        return problem.gradients(sum(others, start), problem.alphas)


def finite_difference_product(
    problem: Bilevel, trial: Trial, weight_batch: Any, vector: Sequence[Tensor], epsilon: float
) -> list[Tensor]:
    """The same product as a central difference of step epsilon / ||vector||; zero where the vector is zero.

    Leaves the weights displaced: the trial puts them back.
    """
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(vector))))
    # Nothing here is read by the host, which would wait for all passes before: a vector without a direction
    # moves no weight, whatever the radius.
    some = norm > 0
    radius = torch.where(some, epsilon / norm, 1.0)
    weights = list(problem.weights)
    with torch.no_grad():
        moved = torch._foreach_mul(list(vector), radius)
    sides = []
    # A difference of two nearby gradients drowns in half precision.
    # On no device there is no autocast, and asking for it is an error.
    device = "cpu" if weights[0].is_meta else weights[0].device.type
    with torch.autocast(device, enabled=False), frozen(weights):
        for sign in (1.0, -1.0):
            trial.restore_weights()
            with torch.no_grad():
                torch._foreach_add_(weights, moved, alpha=sign)
            trial.rewind()
            sides.append(problem.gradients(problem.loss(weight_batch), problem.alphas))
    differences = [(plus - minus) / (2 * radius) for plus, minus in zip(*sides, strict=True)]
    return [torch.where(some, difference, 0.0) for difference in differences]


class VirtualStep:
    """One step of the weight optimiser that leaves no trace in its state.

    Attributes:
        gain: d(step) / d(gradient), the factor of the implicit term: xi, times what momentum adds.

    Raises:
        ConfigError: the optimiser is not SGD with a single parameter group.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, weights: Sequence[Tensor], xi: float | None, momentum: bool
    ):
        if not isinstance(optimizer, torch.optim.SGD) or len(optimizer.param_groups) != 1:
            raise ConfigError(
                "method.update=unrolled: the virtual step is defined for SGD with one parameter group, not "
                f"for {type(optimizer).__name__}; set method.weight_optimizer._target_=torch.optim.SGD"
            )
        self.optimizer = optimizer
        self.weights = list(weights)
        self.group = optimizer.param_groups[0]
        self.momentum = momentum
        self.xi = float(self.group["lr"]) if xi is None else float(xi)
        fresh = "momentum_buffer" not in optimizer.state.get(self.weights[0], {})
        share = 1.0 if fresh or not self.group["momentum"] else 1.0 - self.group["dampening"]
        if momentum and self.group["nesterov"]:
            share = 1.0 + self.group["momentum"] * share
        self.gain = self.xi * (share if momentum else 1.0)

    @torch.no_grad()
    def apply(self, gradients: Sequence[Tensor]) -> None:
        """Moves the weights by -xi * step(gradients)."""
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.sub_(self._direction(weight, gradient), alpha=self.xi)

    def _direction(self, weight: Tensor, gradient: Tensor) -> Tensor:
        if not self.momentum:
            return gradient
        direction = gradient + self.group["weight_decay"] * weight
        mu = self.group["momentum"]
        if not mu:
            return direction
        buffer = self.optimizer.state.get(weight, {}).get("momentum_buffer")
        moved = direction if buffer is None else mu * buffer + (1 - self.group["dampening"]) * direction
        return direction + mu * moved if self.group["nesterov"] else moved
