"""The concrete distribution of SNAS: a softmax over noisy logits, harder as its temperature falls."""

import torch
from torch import Tensor

from nas.errors import require, require_one_of
from nas.methods.relaxations.categorical import Categorical, gumbel


class Concrete(Categorical):
    """softmax((alpha + Gumbel noise) / temperature), one draw per pass (Xie et al. 2019, section 2.2).

    The temperature falls linearly from the first epoch to the last.

    Args:
        start: temperature of the first epoch.
        end: temperature of the last one.
        mean: what alpha starts around, with a deviation of `method.init_scale`.
        evaluation_draw: `mean` (the probabilities) or `sample` in evaluation.
        draws: whether several processes have one draw per step (`shared`) or a draw each (`rank`).

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    name = "concrete"
    scheduled = True

    def __init__(
        self,
        start: float = 1.0,
        end: float = 0.03,
        mean: float = 0.0,
        evaluation_draw: str = "mean",
        draws: str = "shared",
    ):
        for key, value in {"start": start, "end": end}.items():
            require(value > 0, f"method.relaxation.{key}={value}: must be positive")
        require_one_of("method.relaxation.evaluation_draw", evaluation_draw, ("mean", "sample"))
        require_one_of("method.relaxation.draws", draws, ("shared", "rank"))
        self.start = start
        self.end = end
        self.mean = mean
        self.evaluation_draw = evaluation_draw
        self.draws = draws
        self.temperature = start

    def begin_epoch(self, epoch: int, max_epochs: int) -> None:
        """Sets the temperature."""
        self.temperature = self.start + (self.end - self.start) * epoch / max(max_epochs - 1, 1)

    def initial(self, num_edges: int, num_operations: int, scale: float) -> Tensor:
        """N(mean, scale^2), [E, O]."""
        return self.mean + super().initial(num_edges, num_operations, scale)

    def op_weights(self, alpha_EO: Tensor) -> Tensor:
        """One draw; rows that sum to one."""
        noise_EO = gumbel(torch.empty_like(alpha_EO).exponential_())
        return ((alpha_EO + noise_EO) / self.temperature).softmax(dim=-1)

    def evaluation_weights(self, alpha_EO: Tensor) -> Tensor:
        """The probabilities, or a draw."""
        return self.strengths(alpha_EO) if self.evaluation_draw == "mean" else self.op_weights(alpha_EO)
