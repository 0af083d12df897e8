"""What a selection is: architectures that are compared with the weights of the trained supernet."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nas.op_weights import OpWeights


class Selection:
    """Chooses an architecture in the validation of the last epoch, or of several, batch by batch.

    Attributes:
        scheduled: the search cannot be made longer afterwards.
        draws: whether it compares random architectures, of a method that can draw them.
        rivals: whether a candidate needs others on its edge to be chosen against.
        curved: whether `observe_curvature` is called, once for each batch.
        statistics: those that batch norms normalise with: of the present `batch`, or the `running` ones.
    """

    scheduled: bool = True
    draws: bool = True
    rivals: bool = False
    curved: bool = False
    statistics: str = "batch"

    def attach(self, method: Any) -> None:
        """Called before the search, once the method has been told of its space.

        Raises:
            ConfigError: the method has nothing that could be compared.
        """

    def check(self, epochs: int) -> None:
        """Raises `ConfigError` where a search of so many epochs is too short."""

    def passes(self, epochs: int, batches: int) -> Mapping[str, int]:
        """How many passes of a batch it takes at most, by the step of a search that one of them costs about.

        Args:
            epochs: of the search.
            batches: of a validation.

        Returns:
            Numbers of `validation` and `architecture` steps; nothing where nobody has counted.
        """
        return {}

    def due(self, epoch: int, epochs: int) -> bool:
        """Whether something is decided after this epoch, from 0, of a search of so many."""
        return epoch + 1 == epochs

    def begin(self, draw: Callable[[], OpWeights]) -> None:
        """Called before the first batch.

        Args:
            draw: a random architecture by what alpha has learnt, as one-hot op weights; alike in all
                processes.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what it compares")

    def observe(self, batch: int, score: Callable[[OpWeights], tuple[float, int]]) -> None:
        """Called for every batch of the architecture split, in order.

        Args:
            batch: its index, from 0.
            score: op weights -> what they are worth on this batch, over all processes (the larger the
                better), and how much the batch counts.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what it compares")

    def observe_curvature(self, batch: int, curvature: Callable[[], tuple[Sequence[Tensor], int]]) -> None:
        """Called after `observe` with the same batch, if it is `curved`.

        Args:
            batch: its index, from 0.
            curvature: -> the second derivative of the batch's loss in each architecture parameter, one tensor
                for each of `method.alphas()`, over all processes, and how much the batch counts. It costs a
                product with the Hessian for each parameter.
        """

    def chosen(self) -> OpWeights:
        """Called after the last batch: the architecture that the search ends with."""
        raise NotImplementedError(f"{type(self).__name__} must say what it has chosen")

    def decide(self, method: Any, op_weights: Callable[[], OpWeights], last: bool) -> None:
        """Fixes edges of the method after the last batch: all of them, as `chosen` says.

        Args:
            method: whose `decided` takes them.
            op_weights: its present op weights, alike in all processes.
            last: whether no epoch follows.
        """
        for group, choices_EO in self.chosen().items():
            method.decided.decide(group, torch.ones(len(choices_EO), dtype=torch.bool), choices_EO)
