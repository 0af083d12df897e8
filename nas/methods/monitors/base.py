"""What a monitor is: it is told what an epoch has measured, and may act on the search."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import Tensor

from nas.errors import require


@dataclass(frozen=True)
class Seen:
    """What a monitor is told at the end of an epoch, the same in all processes of a search.

    Attributes:
        epoch: counted from 0.
        last: whether no epoch follows.
        values: what this epoch has measured, by the columns of `metrics.csv`; and `weight_decay`, the largest
            of the weight optimiser.
    """

    epoch: int
    last: bool
    values: Mapping[str, float]


@dataclass(frozen=True)
class Decision:
    """What a monitor wants done.

    Attributes:
        stop: why the search is over, in words; None to go on.
        result: the epoch, from 0, whose architecture is the result of the search; of a decision that does not
            stop it holds until another one names an epoch, and yields to that of one that does. None for the
            last epoch.
        back_to: the epoch after which the search goes on once more; None to go on from here.
        scale: what settings of the weight optimiser are multiplied with when it goes back, by their names.
    """

    stop: str | None = None
    result: int | None = None
    back_to: int | None = None
    scale: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


def compare_epochs(monitor: "Monitor", method: Any) -> None:
    """Refuses a monitor that names an earlier epoch in a search whose stages are not of one network.

    Raises:
        ConfigError: a later stage begins anew.
    """
    for index, stage in enumerate(() if method.stages is None else method.stages.stages):
        require(
            index == 0 or not stage.fresh,
            f"method.monitors: {type(monitor).__name__} compares epochs with each other, and "
            f"method.stages[{index}].fresh=true begins another network there; method.monitors.<name>=null",
        )


class Monitor:
    """Watches a search. A subclass writes `end_epoch`, or `end_step` if it compares gradients.

    Attributes:
        needs: the measurements without which an epoch is none to it; see `Seen.values`.
        compares_gradients: whether `end_step` is called.
        scheduled: whether it goes by the length of the search, which then cannot be changed.
    """

    needs: tuple[str, ...] = ()
    compares_gradients: bool = False
    scheduled: bool = False

    @property
    def decides(self) -> bool:
        """Whether it decides anything after an epoch."""
        return type(self).end_epoch is not Monitor.end_epoch

    def check(self, method: Any) -> None:
        """Raises `ConfigError` where the method has nothing that it could act on."""

    def due(self, epoch: int) -> bool:
        """Whether what costs something, the eigenvalue, is to be measured at the end of this epoch."""
        return True

    def end_epoch(self, seen: Seen) -> Decision | None:
        """Called after every epoch that has measured what it needs; None to let the search be."""
        return None

    def end_step(self, cosine_N: Tensor) -> Tensor | None:
        """Called before each weight step of an epoch in which alpha moves.

        Args:
            cosine_N: for each candidate with weights, edge by edge and cell by cell, the cosine between the
                gradients of the two losses with respect to them; NaN where one of them is zero.

        Returns:
            bool [N], the candidates whose weights rest from here on; None for no change.
        """
        return None

    def keeps(self) -> Collection[int]:
        """The epochs up to the last one seen that a later decision may name: their checkpoints are kept."""
        return ()

    def state(self) -> dict[str, Any]:
        """What a resumed search needs to go on, as numbers, texts, lists and tensors."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from such a state. Raises KeyError, TypeError or ValueError where it is none."""
