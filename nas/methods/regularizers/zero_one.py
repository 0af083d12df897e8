"""The zero-one loss of FairDARTS: it drives every sigmoid to one of its ends."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nas.errors import require, require_one_of
from nas.methods.regularizers.base import Regularizer
from nas.methods.relaxations.base import Relaxation


class ZeroOne(Regularizer):
    """weight times -mean |strength - 1/2|, or the square of it (Chu et al. 2020, equations 6 and 7).

    Args:
        weight: at least 0; paper and code 10.
        form: `absolute` (paper) or `squared` (the authors' code's default).

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    def __init__(self, weight: float = 10.0, form: str = "squared"):
        require(weight >= 0, f"method.regularizers.zero_one.weight={weight}: must be at least 0")
        require_one_of("method.regularizers.zero_one.form", form, ("absolute", "squared"))
        self.weight = weight
        self.form = form
        self.explicit = weight > 0

    def check(self, relaxation: Relaxation) -> None:
        """Raises `ConfigError` where the strengths of an edge hang together."""
        require(
            not relaxation.normalised,
            "method.regularizers.zero_one: op weights that sum to one cannot each go to 0 or 1; it needs "
            "method.relaxation=sigmoid",
        )

    def penalty(self, relaxation: Relaxation, alphas: Sequence[Tensor]) -> Tensor:
        """The term of the objective, a scalar: the mean over all candidates of all groups."""
        distance_N = torch.cat([(relaxation.strengths(alpha_EK) - 0.5).flatten() for alpha_EK in alphas])
        distance_N = distance_N.abs() if self.form == "absolute" else distance_N.square()
        return -self.weight * distance_N.mean()
