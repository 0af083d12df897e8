"""Op weights of one's own: proportional to softplus(alpha)."""

from torch import Tensor
from torch.nn.functional import softplus

import nas.methods


class Softplus(nas.methods.Relaxation):
    """w_o = softplus(alpha_o) / sum over o' of softplus(alpha_o'): tails are linear, not exponential.

    Args:
        sharpness: beta of softplus; the larger, the closer to ReLU.
    """

    normalised = True

    def __init__(self, sharpness: float = 1.0):
        self.sharpness = sharpness

    def op_weights(self, alpha_EO: Tensor) -> Tensor:
        raised_EO = softplus(alpha_EO, self.sharpness)
        return raised_EO / raised_EO.sum(-1, keepdim=True)

    def strengths(self, alpha_EO: Tensor) -> Tensor:
        return self.op_weights(alpha_EO)
