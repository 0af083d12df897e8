"""The sigmoid of FairDARTS: every candidate has a gate of its own, and none competes with another."""

from torch import Tensor

from nas.methods.relaxations.base import Relaxation


class Sigmoid(Relaxation):
    """sigmoid(alpha) for each candidate by itself (Chu et al. 2020, section 3.2).

    The op weights of an edge need not sum to one, so a skip connection gains nothing by the others' loss.
    """

    name = "sigmoid"
    rivals = True  # a sigmoid is never 0, so that a candidate alone could not be left out
    draws = None

    def op_weights(self, alpha_EO: Tensor) -> Tensor:
        """From 0 to 1, [E, O]."""
        return alpha_EO.sigmoid()

    def strengths(self, alpha_EO: Tensor) -> Tensor:
        """The op weights: nothing is drawn."""
        return alpha_EO.sigmoid()
