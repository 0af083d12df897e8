"""The scaling factors of DSO-NAS."""

from collections.abc import Callable

import torch
from torch import Tensor

from nas.errors import ConfigError
from nas.methods.relaxations.base import Relaxation


class ScalingFactors(Relaxation):
    """DSO-NAS: alpha is the op weight, a scaling factor lambda for every candidate (Zhang et al. 2019, 3.1).

    The candidates of an edge do not share a sum: each can vanish, or all. Nothing is drawn.

    Args:
        init: start value, 1 in the authors' code.
    """

    name = "scaling"
    normalised = False
    draws = None

    def __init__(self, init: float = 1.0):
        self.init = init

    def initial(self, num_edges: int, num_operations: int, scale: float) -> Tensor:
        """N(init, scale^2); the authors have no noise, scale 0."""
        return self.init + scale * torch.randn(num_edges, num_operations)

    def op_weights(self, alpha_EO: Tensor) -> Tensor:
        """Alpha as it is."""
        return alpha_EO

    def strengths(self, alpha_EO: Tensor) -> Tensor:
        """The magnitude: sign and scale are the network's to undo, absence is not."""
        return alpha_EO.abs()

    def bases(self, alpha_EO: Tensor) -> dict[str, tuple[Tensor, Callable[[Tensor], Tensor]]]:
        """`lambda`, which is alpha."""
        return {"lambda": (alpha_EO, self.op_weights)}

    def _no_distribution(self) -> ConfigError:
        return ConfigError(
            f"method.relaxation={self.name}: with scaling factors there is no distribution to draw "
            "architectures from (nas.derive, exploration); only softmax and dirichlet have one"
        )
