"""The softmax of DARTS."""

from collections.abc import Callable

import torch
from torch import Tensor

from nas.methods.relaxations.base import Relaxation


class Softmax(Relaxation):
    """Softmax over the candidates of an edge (Liu et al. 2019, equation 2).

    Alpha starts at zero in the paper, and with a deviation of 1e-3 in the authors' code.
    """

    name = "softmax"
    normalised = True
    draws = None

    def op_weights(self, alpha_EO: Tensor) -> Tensor:
        """Rows that sum to one."""
        return alpha_EO.softmax(dim=-1)

    def strengths(self, alpha_EO: Tensor) -> Tensor:
        """The op weights themselves: nothing is drawn."""
        return self.op_weights(alpha_EO)

    def sample(self, alpha_EO: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """softmax(alpha + Gumbel noise), whose argmax follows the categorical distribution of the softmax."""
        alpha_EO = alpha_EO.detach().cpu().double()
        waiting_NEO = torch.empty((count, *alpha_EO.shape), dtype=torch.float64, device=generator.device)
        waiting_NEO = waiting_NEO.exponential_(generator=generator).cpu()
        gumbel_NEO = -waiting_NEO.clamp_min(torch.finfo(torch.float64).tiny).log()
        return (alpha_EO + gumbel_NEO).softmax(-1)

    def argmax_log_probabilities(self, alpha_EO: Tensor) -> Tensor:
        """Log softmax."""
        return alpha_EO.detach().cpu().double().log_softmax(-1)

    def bases(self, alpha_EO: Tensor) -> dict[str, tuple[Tensor, Callable[[Tensor], Tensor]]]:
        """`alpha` itself (Zela et al. 2020)."""
        return {"alpha": (alpha_EO, self.op_weights)}
