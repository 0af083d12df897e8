"""REINFORCE (Williams 1992) on a table, as NAS-Bench-201 compares with it (Dong and Yang 2020)."""

import numpy as np
import torch
from torch import Tensor

from nas.algorithms.algorithm import Algorithm, Draws
from nas.errors import require
from nas.spaces.architectures import Architectures


class Reinforce(Algorithm):
    """Every edge draws its candidate from a softmax of its own; Adam follows the score function.

    Its estimate of the gradient of the expected reward is (R - b) grad log p(architecture), where b is the
    moving average of the rewards, this one included, without the bias of its start. What is above the budget
    of a cost has no reward, and an advantage of 0.

    Args:
        lr: Adam's learning rate.
        momentum: of the moving average.
        spread: standard deviation of the first logits.

    Raises:
        ConfigError: a number is out of its range.
    """

    passes_over = True

    def __init__(self, lr: float, momentum: float, spread: float):
        require(lr > 0, f"algorithm.lr={lr}: must be positive")
        require(0 <= momentum < 1, f"algorithm.momentum={momentum}: must be from 0 to below 1")
        require(spread >= 0, f"algorithm.spread={spread}: must not be negative")
        self.lr, self.momentum, self.spread = lr, momentum, spread

    def start(self, architectures: Architectures, draws: Draws) -> None:
        super().start(architectures, draws)
        sizes_E = torch.from_numpy(architectures.sizes_E)
        logits_SEO = self.spread * torch.from_numpy(draws.normal(len(sizes_E), int(sizes_E.max())))
        # An edge with fewer candidates than others never draws what it does not have.
        missing_EO = torch.arange(int(sizes_E.max())) >= sizes_E[:, None]
        self._logits_SEO = logits_SEO.masked_fill(missing_EO, -torch.inf)
        self._optimizer = torch.optim.Adam([self._logits_SEO], lr=self.lr)
        self._average_S, self._weight_S = np.zeros(len(draws)), np.zeros(len(draws))

    def ask(self) -> np.ndarray:
        below_SEO = self._logits_SEO.softmax(-1).cumsum(-1).numpy()
        drawn_SE = (below_SEO < self.draws.uniform(below_SEO.shape[1])[..., None]).sum(-1)
        # Sums may end a rounding below 1.
        return np.minimum(drawn_SE, self.architectures.sizes_E - 1)

    def tell(self, codes_SE: np.ndarray, rewards_S: np.ndarray) -> None:
        had_S = ~np.isnan(rewards_S)
        average_S = self.momentum * self._average_S + (1 - self.momentum) * rewards_S
        self._average_S = np.where(had_S, average_S, self._average_S)
        weight_S = self.momentum * self._weight_S + 1 - self.momentum
        self._weight_S = np.where(had_S, weight_S, self._weight_S)
        gained_S = rewards_S - self._average_S / np.maximum(self._weight_S, np.finfo(float).tiny)
        advantages_S = torch.from_numpy(np.where(had_S, gained_S, 0.0))
        self._logits_SEO.grad = -score_function(self._logits_SEO, torch.from_numpy(codes_SE), advantages_S)
        self._optimizer.step()


def score_function(logits_SEO: Tensor, codes_SE: Tensor, advantages_S: Tensor) -> Tensor:
    """Advantage x gradient of log p(code) with respect to the logits, [S, E, O]."""
    drawn_SEO = torch.nn.functional.one_hot(codes_SE, logits_SEO.shape[-1])
    return (drawn_SEO - logits_SEO.softmax(-1)) * advantages_S[:, None, None]
