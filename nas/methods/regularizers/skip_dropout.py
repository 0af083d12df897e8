"""The dropout of P-DARTS behind a skip connection: gradients find other ways than the one without weights."""

import math
from collections.abc import Sequence

from nas.errors import require
from nas.methods.regularizers.base import Regularizer


class SkipDropout(Regularizer):
    """Dropout of what an identity passes on, entry by entry (Chen et al. 2019, section 3.3.2).

    In epoch e of a stage's E, the first F of which leave alpha at rest, its probability is p (E - e - 1) / E
    for e < F and p exp(-decay (e - F)) after them, as in the authors' code. A `skip_connect` that halves the
    resolution is a convolution and has none.

    Args:
        probabilities: p of every stage, in [0, 1); of a search of one piece the only one.
        decay: per epoch, at least 0; code 0.2.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(self, probabilities: Sequence[float], decay: float = 0.2):
        where = "method.regularizers.skip_dropout"
        require(
            len(probabilities) > 0 and all(0 <= p < 1 for p in probabilities),
            f"{where}.probabilities={list(probabilities)}: must be a list of at least one number, each at "
            "least 0 and below 1",
        )
        require(decay >= 0, f"{where}.decay={decay}: must be at least 0")
        self.probabilities = tuple(probabilities)
        self.decay = decay
        self.rates = {"skip_dropout": max(self.probabilities)}

    def check_stages(self, stages: int) -> None:
        """Raises `ConfigError` unless there is a probability for every stage."""
        require(
            len(self.probabilities) == stages,
            f"method.regularizers.skip_dropout.probabilities={list(self.probabilities)}: must have one for "
            f"each of method.stages, which are {stages}",
        )

    def begin_stage_epoch(self, stage: int, epoch: int, epochs: int, frozen: int) -> None:
        """Sets the present probability."""
        start = self.probabilities[stage]
        late = start * math.exp(-self.decay * (epoch - frozen))
        self.rates = {"skip_dropout": late if epoch >= frozen else start * (epochs - epoch - 1) / epochs}
