"""What a perturbation is: other op weights for the weight step than the method's own."""

from collections.abc import Callable, Mapping

from torch import Tensor

from nas.methods.relaxations.base import Relaxation


class Perturbation:
    """The op weights of a weight step; the architecture step has the method's own.

    Attributes:
        scheduled: whether `begin_epoch` goes by the length of the search, which then cannot be changed.
        several: whether several processes make of the same op weights the same ones, if they draw alike.
    """

    scheduled: bool = False
    several: bool = True

    def check(self, relaxation: Relaxation) -> None:
        """Raises `ConfigError` where it has no meaning for such op weights."""

    def begin_epoch(self, epoch: int, max_epochs: int) -> None:
        """Called before the first step of every epoch; `epoch` counts from 0."""

    def perturbed(
        self,
        op_weights: dict[str, Tensor],
        kept: Mapping[str, Tensor],
        loss: Callable[[dict[str, Tensor]], Tensor],
    ) -> dict[str, Tensor]:
        """What the weight step uses.

        Args:
            op_weights: the method's own, {group: [E, O]}, without a gradient.
            kept: {group: bool [E, O]}; what has been dropped stays at 0.
            loss: the batch's loss at given op weights in evaluation mode, a differentiable scalar.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what its op weights are")
