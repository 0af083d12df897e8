"""The softmax of DARTS."""

from torch import Tensor

from nas.methods.relaxations.categorical import Categorical


class Softmax(Categorical):
    """Softmax over the candidates of an edge (Liu et al. 2019, equation 2).

    Alpha starts at zero in the paper, and with a deviation of 1e-3 in the authors' code.
    """

    name = "softmax"
    draws = None

    def op_weights(self, alpha_EO: Tensor) -> Tensor:
        """Rows that sum to one: the probabilities themselves, nothing is drawn."""
        return alpha_EO.softmax(dim=-1)
