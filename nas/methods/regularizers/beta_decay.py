"""Beta decay: a pull on what a softmax makes of alpha, not on alpha itself."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nas.errors import require
from nas.methods.regularizers.base import Regularizer
from nas.methods.relaxations.base import Relaxation
from nas.methods.relaxations.categorical import Categorical


class BetaDecay(Regularizer):
    """weight(t) times the mean over edges of logsumexp(alpha) (Ye et al. 2022, section 3.2).

    Its gradient on an edge is softmax(alpha): the larger an op weight, the more it is held back. The weight
    grows linearly, `weight * t / T` in epoch t of T from 0, as in the authors' code.

    Args:
        weight: what it grows to, at least 0; the authors' code 50.

    Raises:
        ConfigError: the weight is negative.
    """

    scheduled = True

    def __init__(self, weight: float = 50.0):
        require(weight >= 0, f"method.regularizers.beta_decay.weight={weight}: must be at least 0")
        self.weight = weight
        self.present = 0.0

    def check(self, relaxation: Relaxation) -> None:
        """Raises `ConfigError` where alpha are no logits, whose logsumexp the term is."""
        require(
            isinstance(relaxation, Categorical),
            "method.regularizers.beta_decay: a term on the logits of a softmax, so it needs "
            "method.relaxation=softmax or concrete",
        )

    def begin_epoch(self, epoch: int, max_epochs: int) -> None:
        """Sets the present weight."""
        self.present = self.weight * epoch / max_epochs
        self.explicit = self.present > 0

    def penalty(self, relaxation: Relaxation, alphas: Sequence[Tensor]) -> Tensor:
        """The term of the objective, a scalar; all groups' edges count alike."""
        return self.present * torch.cat([alpha_EK.logsumexp(-1) for alpha_EK in alphas]).mean()
