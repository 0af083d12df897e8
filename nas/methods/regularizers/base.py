"""What a regularizer is: a term on the architecture parameters, beside the loss of the network."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nas.methods.relaxations.base import Relaxation


class Regularizer:
    """A term of the architecture's objective. Everything does nothing here.

    Attributes:
        explicit: whether a term is added to the objective.
        scheduled: whether `begin_epoch` goes by the length of the search, which then cannot be changed.
    """

    explicit: bool = False
    scheduled: bool = False

    def check(self, relaxation: Relaxation) -> None:
        """Raises `ConfigError` where the term has no meaning for such parameters."""

    def begin_epoch(self, epoch: int, max_epochs: int) -> None:
        """Called before the first step of every epoch, as a relaxation's is; `epoch` counts from 0."""

    def penalty(self, relaxation: Relaxation, alphas: Sequence[Tensor]) -> Tensor:
        """The term of the objective, a differentiable scalar.

        Args:
            relaxation: what the parameters mean.
            alphas: the kept parameters [E, K], one tensor a group.
        """
        return alphas[0].new_zeros(())

    def optimizer(self, build: Callable[..., torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
        """Parameters -> the architecture optimiser, changed where the regularizer acts through it."""
        return build
