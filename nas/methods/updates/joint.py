"""One level: alpha learns on the batch of the weights."""

from typing import Any

from nas.methods.updates.base import ArchitectureGradient, Bilevel
from nas.methods.updates.first_order import FirstOrder


class Joint(FirstOrder):
    """The first-order gradient on the weights' own batch: one level, one forward and backward pass for both.

    SNAS (Xie et al. 2019) steps like that, and DSO-NAS in its row without a split (Zhang et al., table 3).
    """

    name = "joint"
    joint = True
    one_level = True

    def gradient(self, problem: Bilevel, weight_batch: Any, architecture_batch: Any) -> ArchitectureGradient:
        """d_alpha L(w, alpha) on the weight batch; `architecture_batch` is not looked at."""
        return super().gradient(problem, weight_batch, weight_batch)
