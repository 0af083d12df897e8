"""What the evidence of a trained supernet says of its gates (Zhou et al. 2019, algorithm 1)."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nas.errors import require, require_whole
from nas.methods.regularizers import GatePrior
from nas.methods.selections.base import Selection
from nas.op_weights import OpWeights

log = logging.getLogger(__name__)
Curvature = Callable[[], tuple[Sequence[Tensor], int]]


class PosteriorVariance(Selection):
    """Ranks candidates by the variance gamma of their gates, reweighted once after the last epoch.

    With H the second derivative of the loss in a gate s, on the last batches of the search:

        C = 1 / (1 / gamma + |H| / lam),  omega = sqrt(1 / gamma - C / gamma^2),  gamma <- |s| / omega

    and 1 / gamma <- 1 / gamma + 1 / gamma_edge for a candidate. H is exact (double backward, a product a
    gate), in evaluation mode, and its size counts: the release has a recursion through the layers instead,
    which is never negative. A gate without which the loss is the same (`none`) has no evidence for it, and
    variance 0.

    Args:
        batches: of the architecture split, that H is the mean over; code 1.

    Raises:
        ConfigError: it is out of range.
    """

    draws = False
    rivals = True
    curved = True
    statistics = "running"

    def __init__(self, batches: int = 1):
        require_whole("method.selection.batches", batches, 1)
        self.batches = batches
        self._method: Any = None
        self._prior = GatePrior()
        self._sums: list[Tensor] = []
        self._count = 0

    def attach(self, method: Any) -> None:
        """Finds the prior.

        Raises:
            ConfigError: there is none, or none on one kind of gates.
        """
        priors = [prior for prior in method.regularizers.values() if isinstance(prior, GatePrior)]
        require(
            len(priors) == 1,
            "method.selection: PosteriorVariance goes by the prior on the gates, and method.regularizers "
            f"has {len(priors)} GatePrior; one",
        )
        self._method, self._prior = method, priors[0]
        require(
            self._prior.lam > 0 and (method.edges is None or self._prior.lam_edges > 0),
            f"method.regularizers: lam={self._prior.lam}, lam_edges={self._prior.lam_edges}: "
            "method.selection divides by them; above 0",
        )

    def passes(self, epochs: int, batches: int) -> dict[str, int]:
        """A product with the Hessian for each gate, which costs about what a step of alpha does."""
        gates = sum(gate.numel() for gate in self._method.alphas())
        return {"architecture": gates * min(batches, self.batches)}

    def begin(self, draw: Callable[[], OpWeights]) -> None:
        """Forgets what was measured."""
        self._sums, self._count = [], 0

    def observe(self, batch: int, score: Callable[[OpWeights], tuple[float, int]]) -> None:
        """Scores say nothing of gates."""

    def observe_curvature(self, batch: int, curvature: Curvature) -> None:
        """Takes second derivatives of the first batches in."""
        if batch >= self.batches:
            return
        diagonals, size = curvature()
        parts = [size * diagonal.detach().double() for diagonal in diagonals]
        before = self._sums or [torch.zeros_like(part) for part in parts]
        self._sums = [total + part for total, part in zip(before, parts, strict=True)]
        self._count += size

    @torch.no_grad()
    def decide(self, method: Any, op_weights: Callable[[], OpWeights], last: bool) -> None:
        """Decides every edge for what is derived from the variances."""
        variances = self.variances()
        for group, gamma_EO in variances.items():
            rows = "; ".join(" ".join(f"{value:.3g}" for value in row) for row in gamma_EO.tolist())
            log.info("method.selection: posterior variances of %s, edge by edge: %s", group, rows)
        for group, choices_EO in method.derived(variances).items():
            every_E = torch.ones(len(choices_EO), dtype=torch.bool)
            method.decided.decide(group, every_E, choices_EO)

    def variances(self) -> dict[str, Tensor]:
        """Variances of the candidates, those of their edges in them: {group: [E, O]}, float64."""
        method, prior = self._method, self._prior
        groups = list(method.alpha)
        mean = [total / self._count for total in self._sums]
        gammas = self._reweighted(list(method.alpha.values()), mean[: len(groups)], prior.lam, False)
        variances = dict(zip(groups, gammas, strict=True))
        if method.edges is None:
            return variances
        betas = dict(method.edges.beta)
        of_edges = self._reweighted(list(betas.values()), mean[len(groups) :], prior.lam_edges, True)
        rows: Mapping[str, Tensor] = method.edges.in_rows(dict(zip(betas, of_edges, strict=True)))
        return {group: both(gamma_EO, rows[group][:, None]) for group, gamma_EO in variances.items()}

    def _reweighted(
        self, gates: Sequence[Tensor], hessians: Sequence[Tensor], lam: float, edges: bool
    ) -> list[Tensor]:
        starts = self._prior.drawn("gamma", gates, edges)
        return [
            reweighted(gate.detach().double(), hessian, start.double(), lam)
            for gate, hessian, start in zip(gates, hessians, starts, strict=True)
        ]


def reweighted(gate: Tensor, hessian: Tensor, gamma: Tensor, lam: float) -> Tensor:
    """The variance of each gate after one round of reweighting; 0 where the loss does not depend on it.

    Args:
        gate: any shape.
        hessian: second derivative of the loss in each, the same shape.
        gamma: present variance of each, above 0.
        lam: weight of the prior.
    """
    # 1 / gamma - C / gamma^2 without the difference of two large numbers.
    ratio = hessian.abs() / lam
    omega = (ratio / (1 + gamma * ratio)).sqrt()
    return torch.where(omega > 0, gate.abs() / omega, torch.zeros_like(omega))


def both(gamma: Tensor, edge: Tensor) -> Tensor:
    """1 / (1 / gamma + 1 / edge), 0 where one of them is."""
    total = gamma + edge
    return torch.where(total > 0, gamma * edge / total, torch.zeros_like(total))
