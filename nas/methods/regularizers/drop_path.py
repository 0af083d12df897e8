"""Drop-path in a search: edges of the supernet are left out at random, image by image."""

from nas.errors import require
from nas.methods.regularizers.base import Regularizer


class DropPath(Regularizer):
    """Leaves out what an edge gives, each image with probability p(t) and the others divided by 1 - p(t).

    As in the authors' code of R-DARTS (Zela et al. 2020, section 4.1) a mask lies on the sum of an edge's
    candidates, the identity among them, in the passes of weights and alpha alike, and in epoch t of T from 0
    it is p(t) = probability * t / (T - 1). A search of one epoch has the last probability.

    Args:
        probability: that of the last epoch, in [0, 1); the authors try 0, 0.2, 0.4 and 0.6.

    Raises:
        ConfigError: the probability is out of range.
    """

    scheduled = True

    def __init__(self, probability: float):
        require(
            0 <= probability < 1,
            f"method.regularizers.drop_path.probability={probability}: must be at least 0 and below 1",
        )
        self.probability = probability
        self.rates = {"drop_path": probability}

    def begin_epoch(self, epoch: int, max_epochs: int) -> None:
        """Sets the present probability."""
        share = epoch / (max_epochs - 1) if max_epochs > 1 else 1.0
        self.rates = {"drop_path": self.probability * share}
