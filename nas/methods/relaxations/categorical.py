"""Relaxations whose alpha are the logits of a categorical distribution over the candidates of an edge."""

from collections.abc import Callable

import torch
from torch import Tensor

from nas.methods.relaxations.base import Relaxation


class Categorical(Relaxation):
    """Candidate o of an edge has probability softmax(alpha)_o; a subclass says what one pass uses."""

    normalised = True

    def strengths(self, alpha_EO: Tensor) -> Tensor:
        """The probabilities softmax(alpha)."""
        return alpha_EO.softmax(dim=-1)

    def sample(self, alpha_EO: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """softmax(alpha + Gumbel noise), whose argmax follows the categorical distribution."""
        alpha_EO = alpha_EO.detach().cpu().double()
        waiting_NEO = torch.empty((count, *alpha_EO.shape), dtype=torch.float64, device=generator.device)
        waiting_NEO = waiting_NEO.exponential_(generator=generator).cpu()
        return (alpha_EO + gumbel(waiting_NEO)).softmax(-1)

    def argmax_log_probabilities(self, alpha_EO: Tensor) -> Tensor:
        """Log softmax."""
        return alpha_EO.detach().cpu().double().log_softmax(-1)

    def log_probabilities(self, alpha_EO: Tensor) -> Tensor:
        """Log softmax."""
        return alpha_EO.log_softmax(-1)

    def bases(self, alpha_EO: Tensor) -> dict[str, tuple[Tensor, Callable[[Tensor], Tensor]]]:
        """`alpha` itself, at the probabilities (Zela et al. 2020)."""
        return {"alpha": (alpha_EO, self.strengths)}


def gumbel(waiting: Tensor) -> Tensor:
    """Gumbel noise from exponential waiting times of the same shape; finite where one of them is 0."""
    return -waiting.clamp_min(torch.finfo(waiting.dtype).tiny).log()
