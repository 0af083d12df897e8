"""The prior of BayesNAS: a zero-mean Gaussian on every gate, which its learnt variance says the need of."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nas.errors import require, require_one_of
from nas.methods.regularizers.base import Regularizer
from nas.methods.relaxations import Relaxation, ScalingFactors

# What is drawn for what, each from a stream of its own.
STREAMS = {("omega", False): 0, ("gamma", False): 1, ("omega", True): 2, ("gamma", True): 3}


class GatePrior(Regularizer):
    """lam * sum omega |s| over the gates s (Zhou et al. 2019, section 4; there a norm over tied gates).

    A gate of ours is one number that all cells of its kind share; the release has one per cell and takes the
    norm of those, which is this times a constant where they are equal. Variances gamma and weights omega are
    learnt once, after the search, by `nas.methods.selections.PosteriorVariance`.

    Args:
        lam: weight of the gates of candidates, at least 0; released settings 0.005, 0.007 and 0.01.
        lam_edges: the same of the gates of edges.
        start: what gamma and omega begin as, `random` (uniform in (0, 1); code) or `ones`.
        seed: of that draw.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    def __init__(self, lam: float = 0.01, lam_edges: float = 0.01, start: str = "random", seed: int = 0):
        for key, value in {"lam": lam, "lam_edges": lam_edges}.items():
            require(value >= 0, f"method.regularizers: {key}={value}: must be at least 0")
        require_one_of("method.regularizers: start", start, ("random", "ones"))
        self.lam, self.lam_edges, self.start, self.seed = float(lam), float(lam_edges), start, int(seed)
        self.explicit = lam > 0 or lam_edges > 0
        self._made: dict[tuple, list[Tensor]] = {}

    def check(self, relaxation: Relaxation) -> None:
        """Raises `ConfigError` where the parameters are no gates."""
        require(
            isinstance(relaxation, ScalingFactors),
            f"method.regularizers: GatePrior is a prior on gates, which {type(relaxation).__name__} has none "
            "of; method.relaxation._target_=nas.methods.relaxations.ScalingFactors",
        )

    def check_stages(self, stages: int) -> None:
        """Raises `ConfigError` where candidates would be dropped, which all have a variance."""
        require(stages == 1, f"method.stages: {stages} of them, and GatePrior is for a search of one; null")

    def penalty(self, relaxation: Relaxation, alphas: Sequence[Tensor]) -> Tensor:
        """The term of candidates."""
        return self._term(self.lam, alphas, False)

    def edge_penalty(self, relaxation: Relaxation, betas: Sequence[Tensor]) -> Tensor:
        """The term of edges; raises `ConfigError` where these have no gates."""
        self.check(relaxation)
        return self._term(self.lam_edges, betas, True)

    def _term(self, lam: float, gates: Sequence[Tensor], edges: bool) -> Tensor:
        terms = [
            (omega * gate.abs()).sum()
            for omega, gate in zip(self.drawn("omega", gates, edges), gates, strict=True)
        ]
        return lam * torch.stack(terms).sum()

    def drawn(self, what: str, gates: Sequence[Tensor], edges: bool) -> list[Tensor]:
        """`omega` or `gamma` as they begin, one tensor for each of the gates, the same at every call.

        Args:
            what: which of the two.
            gates: of all candidates, or of all edges, in the order of the method.
            edges: which of the two.
        """
        key = (what, edges, *((tuple(gate.shape), gate.dtype, gate.device) for gate in gates))
        if key not in self._made:
            generator = torch.Generator().manual_seed(4 * self.seed + STREAMS[what, edges])
            self._made[key] = [self._begin(gate, generator) for gate in gates]
        return self._made[key]

    def _begin(self, gate: Tensor, generator: torch.Generator) -> Tensor:
        if self.start == "ones":
            return torch.ones_like(gate.detach())
        # Never exactly 0, by which a variance is divided.
        return (1 - torch.rand(gate.shape, generator=generator, dtype=torch.float64)).to(gate.detach())
