"""The perturbations of SmoothDARTS: the weights learn to do well in a neighbourhood of the op weights.

Chen and Hsieh 2020, equations 5 to 7. As in the authors' code every row is cut to [0, 1] and then divided by
its sum; a row of zeros becomes the one-hot row of its largest op weight.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from nas.errors import require
from nas.methods.perturbations.base import Perturbation
from nas.methods.relaxations.base import Relaxation


class Random(Perturbation):
    """Noise from U(-epsilon, epsilon) on every op weight (SDARTS-RS).

    Args:
        start: epsilon of the first epoch; paper 0.03.
        end: what it grows to, linearly: in epoch t of T it is start + (end - start) * t / T; paper 0.3.

    Raises:
        ConfigError: a value is negative.
    """

    scheduled = True

    def __init__(self, start: float = 0.03, end: float = 0.3):
        for key, value in {"start": start, "end": end}.items():
            require(value >= 0, f"method.perturbation.{key}={value}: must be at least 0")
        self.start = start
        self.end = end
        self.epsilon = start

    def check(self, relaxation: Relaxation) -> None:
        """Raises `ConfigError` where the op weights of an edge need not sum to one."""
        require(
            relaxation.normalised,
            "method.perturbation: its rows sum to one, which the op weights of "
            f"method.relaxation={getattr(relaxation, 'name', type(relaxation).__name__)} do not",
        )

    def begin_epoch(self, epoch: int, max_epochs: int) -> None:
        """Sets epsilon."""
        self.epsilon = self.start + (self.end - self.start) * epoch / max_epochs

    def perturbed(
        self,
        op_weights: dict[str, Tensor],
        kept: Mapping[str, Tensor],
        loss: Callable[[dict[str, Tensor]], Tensor],
    ) -> dict[str, Tensor]:
        """Op weights with noise; those given where epsilon is 0."""
        if not self.epsilon:
            return op_weights
        return on_simplex(self._noisy(op_weights), op_weights, kept)

    def _noisy(self, op_weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            group: value_EO + torch.empty_like(value_EO).uniform_(-self.epsilon, self.epsilon)
            for group, value_EO in op_weights.items()
        }


class Adversarial(Random):
    """The worst op weights that steps of the gradient's sign find within epsilon (SDARTS-ADV).

    It begins at a random point, and what it finds is given up where the loss is not higher than at the op
    weights themselves. Both losses, and the steps, are in evaluation mode, as in the authors' code.

    Args:
        start, end: as of `Random`.
        steps: of size 2 * epsilon / steps each; paper and code 7.

    Raises:
        ConfigError: a value is out of range.
    """

    several = False  # each process would climb the loss of its own batch

    def __init__(self, start: float = 0.03, end: float = 0.3, steps: int = 7):
        super().__init__(start, end)
        require(steps >= 1, f"method.perturbation.steps={steps}: must be at least 1")
        self.steps = steps

    def perturbed(
        self,
        op_weights: dict[str, Tensor],
        kept: Mapping[str, Tensor],
        loss: Callable[[dict[str, Tensor]], Tensor],
    ) -> dict[str, Tensor]:
        """The worst op weights found; those given where epsilon is 0."""
        if not self.epsilon:
            return op_weights
        with torch.no_grad():
            before = loss(op_weights)
        worst = on_simplex(self._noisy(op_weights), op_weights, kept)
        for _ in range(self.steps):
            leaves = {group: value_EO.detach().requires_grad_() for group, value_EO in worst.items()}
            gradients = torch.autograd.grad(loss(leaves), list(leaves.values()))
            climbed = {}
            for (group, value_EO), gradient_EO in zip(leaves.items(), gradients, strict=True):
                moved_EO = value_EO.detach() + 2 * self.epsilon / self.steps * gradient_EO.sign()
                own_EO = op_weights[group]
                climbed[group] = moved_EO.clamp(own_EO - self.epsilon, own_EO + self.epsilon)
            worst = on_simplex(climbed, op_weights, kept)
        with torch.no_grad():
            # Chosen where the losses are: to read them a host would wait for its GPU.
            worse_loss = loss(worst) > before
            return {
                group: torch.where(worse_loss, worst[group], own_EO) for group, own_EO in op_weights.items()
            }


def on_simplex(
    moved: Mapping[str, Tensor], op_weights: Mapping[str, Tensor], kept: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Rows cut to [0, 1] and divided by their sums; one-hot at the largest op weight where all are 0."""
    projected = {}
    for group, value_EO in moved.items():
        value_EO = (value_EO.clamp(0, 1) * kept[group]).detach()
        largest_EO = torch.zeros_like(value_EO)
        largest_EO.scatter_(-1, op_weights[group].argmax(-1, keepdim=True), 1.0)
        value_EO = torch.where(value_EO.sum(-1, keepdim=True) > 0, value_EO, largest_EO)
        projected[group] = value_EO / value_EO.sum(-1, keepdim=True)
    return projected
