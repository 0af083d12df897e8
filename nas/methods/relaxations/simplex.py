"""Op weights that are themselves the parameters, as GAEA has them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nas.errors import ConfigError, require
from nas.methods.exponentiated import ExponentiatedGradient
from nas.methods.relaxations.base import Relaxation


class Simplex(Relaxation):
    """Alpha is the op weights of an edge, a point of the simplex (Li et al. 2021, section 3).

    Only exponentiated gradient keeps it there. The search begins at the middle.
    """

    name = "simplex"
    normalised = True
    prunable = False
    draws = None

    def initial(self, num_edges: int, num_operations: int, scale: float) -> Tensor:
        """1 / O everywhere, [E, O]; nothing is drawn, and `ConfigError` raised where a draw is asked for."""
        require(scale == 0, f"method.init_scale={scale}: method.relaxation=simplex begins in the middle; 0")
        return torch.full((num_edges, num_operations), 1 / num_operations)

    def op_weights(self, alpha_EO: Tensor) -> Tensor:
        """Alpha itself."""
        # A tensor of its own: what is done to op weights in place is not done to alpha.
        return alpha_EO * 1.0

    def strengths(self, alpha_EO: Tensor) -> Tensor:
        """Alpha itself: nothing is drawn."""
        return alpha_EO * 1.0

    def optimizer(self, build: Callable[..., torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
        """Refuses (when called) an optimiser that leaves the simplex; raises `ConfigError`."""

        def built(parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
            optimizer = build(parameters)
            if not isinstance(optimizer, ExponentiatedGradient):
                raise ConfigError(
                    f"method.architecture_optimizer: {type(optimizer).__name__} leaves the simplex of "
                    "method.relaxation=simplex; use "
                    "method.architecture_optimizer._target_=nas.methods.exponentiated.ExponentiatedGradient"
                )
            return optimizer

        return built
