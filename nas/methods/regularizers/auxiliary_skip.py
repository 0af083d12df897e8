"""The auxiliary skip connection of DARTS-: what helps training is no merit of a candidate."""

from nas.errors import require
from nas.methods.regularizers.base import Regularizer


class AuxiliarySkip(Regularizer):
    """Adds beta(t) times a skip connection to every edge of the supernet (Chu et al. 2021, equation 6).

    beta falls linearly, start * (1 - t / T) in epoch t of T from 0, and the derived cell has nothing of it.
    Where an edge halves the resolution the authors' code has a factorised reduction of its own for it; here
    it has the weights of the edge's candidate `skip_connect`, and edges without that candidate are refused.

    Args:
        start: beta of the first epoch, at least 0; paper and code 1.

    Raises:
        ConfigError: beta is negative.
    """

    scheduled = True

    def __init__(self, start: float = 1.0):
        require(start >= 0, f"method.regularizers.auxiliary_skip.start={start}: must be at least 0")
        self.start = start
        self.rates = {"auxiliary_skip": start}

    def check_stages(self, stages: int) -> None:
        """Raises `ConfigError` where a later stage may lack the candidate whose weights it shares."""
        require(
            stages == 1,
            "method.stages: method.regularizers.auxiliary_skip has the weights of skip_connect, which a "
            "stage may drop; set method.stages=null",
        )

    def begin_epoch(self, epoch: int, max_epochs: int) -> None:
        """Sets the present beta."""
        self.rates = {"auxiliary_skip": self.start * (1 - epoch / max_epochs)}
