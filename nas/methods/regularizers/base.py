"""What a regularizer is: a term on the architecture parameters, or what changes a supernet's passes."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from nas.methods.relaxations.base import Relaxation


class Regularizer:
    """A term of the architecture's objective. Everything does nothing here.

    Attributes:
        explicit: whether a term is added to the objective.
        scheduled: whether `begin_epoch` goes by the length of the search, which then cannot be changed.
        rates: what it sets in the supernet in the present epoch, by the names in
            `nas.spaces.supernet.fan_out.RATES`; before the first epoch what costs most.
    """

    explicit: bool = False
    scheduled: bool = False
    rates: Mapping[str, float] = MappingProxyType({})

    def check(self, relaxation: Relaxation) -> None:
        """Raises `ConfigError` where the term has no meaning for such parameters."""

    def begin_epoch(self, epoch: int, max_epochs: int) -> None:
        """Called before the first step of every epoch, as a relaxation's is; `epoch` counts from 0."""

    def begin_stage_epoch(self, stage: int, epoch: int, epochs: int, frozen: int) -> None:
        """Called after `begin_epoch`; of a search of one piece that piece is the stage.

        Args:
            stage: from 0.
            epoch: within the stage, from 0.
            epochs: of the stage.
            frozen: those at its start in which alpha rests.
        """

    def check_stages(self, stages: int) -> None:
        """Raises `ConfigError` where it does not suit a search of so many stages, 1 for one of one piece."""

    def penalty(self, relaxation: Relaxation, alphas: Sequence[Tensor]) -> Tensor:
        """The term of the objective, a differentiable scalar.

        Args:
            relaxation: what the parameters mean.
            alphas: the kept parameters [E, K], one tensor per group.
        """
        return alphas[0].new_zeros(())

    def edge_penalty(self, relaxation: Relaxation, betas: Sequence[Tensor]) -> Tensor:
        """The term of the parameters of edge weights, of a method that has them; a differentiable scalar.

        Args:
            relaxation: what these parameters mean.
            betas: [1, n], one tensor for each node with n in-edges.
        """
        return betas[0].new_zeros(())

    def optimizer(self, build: Callable[..., torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
        """Parameters -> the architecture optimiser, changed where the regularizer acts through it."""
        return build
