"""Relaxations: raw architecture parameters alpha [E, O] -> op weights [E, O].

A relaxation holds no state: the method owns alpha and hands it in. To add one, write a class with the three
functions of `Relaxation` and name it in `build_relaxation`.
"""

from typing import Protocol

import torch
from torch import Tensor

from nas.errors import ConfigError


class Relaxation(Protocol):
    """Raw parameters -> op weights."""

    def initial(self, num_edges: int, num_operations: int, scale: float) -> Tensor:
        """Start values [E, O], drawn from torch's global generator."""

    def op_weights(self, alpha_EO: Tensor) -> Tensor:
        """What the supernet uses, [E, O]; differentiable in alpha."""

    def strengths(self, alpha_EO: Tensor) -> Tensor:
        """What derivation ranks, [E, O]; deterministic."""


class Softmax:
    """Softmax over the candidates of an edge (Liu et al. 2019, equation 2)."""

    def initial(self, num_edges: int, num_operations: int, scale: float) -> Tensor:
        """N(0, scale^2): the paper starts at zero, the authors' code at scale 1e-3."""
        return scale * torch.randn(num_edges, num_operations)

    def op_weights(self, alpha_EO: Tensor) -> Tensor:
        """Rows that sum to one."""
        return alpha_EO.softmax(dim=-1)

    def strengths(self, alpha_EO: Tensor) -> Tensor:
        """The op weights themselves."""
        return self.op_weights(alpha_EO)


def build_relaxation(name: str) -> Relaxation:
    """Builds the relaxation of that name.

    Raises:
        ConfigError: there is none.
    """
    known = {"softmax": Softmax}
    if name not in known:
        raise ConfigError(f"method.relaxation={name}: unknown relaxation; known are {', '.join(known)}")
    return known[name]()
