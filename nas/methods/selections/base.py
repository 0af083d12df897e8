"""What a selection is: architectures that are compared with the weights of the trained supernet."""

from collections.abc import Callable

from nas.op_weights import OpWeights


class Selection:
    """Chooses an architecture in the validation of the last epoch, batch by batch.

    Attributes:
        scheduled: the search cannot be made longer afterwards.
        statistics: those that batch norms normalise with: of the present `batch`, or the `running` ones.
    """

    scheduled: bool = True
    statistics: str = "batch"

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

    def chosen(self) -> OpWeights:
        """Called after the last batch: the architecture that the search ends with."""
        raise NotImplementedError(f"{type(self).__name__} must say what it has chosen")
