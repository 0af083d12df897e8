"""Op weights that something else draws."""

import torch
from torch import Tensor

from nas.methods.relaxations.base import Relaxation


class Frequencies(Relaxation):
    """Alpha is how often each candidate of an edge is drawn, and no parameter.

    A row sums to how often the edge itself is drawn. Who draws is the method (`ControllerMethod`).
    """

    name = "frequencies"
    rivals = True
    prunable = False
    one_path = True

    def initial(self, num_edges: int, num_operations: int, scale: float) -> Tensor:
        """1 / O, until it is known."""
        return torch.full((num_edges, num_operations), 1 / num_operations)

    def strengths(self, alpha_EO: Tensor) -> Tensor:
        """The frequencies."""
        return alpha_EO.clone()
