"""Relaxations: raw architecture parameters alpha [E, O] -> op weights [E, O].

A relaxation holds no state: the method owns alpha and hands in the columns that are kept, so nothing here
knows of pruning. To add one, write a class with the functions of `Relaxation` and name it in
`build_relaxation`.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, distributions

from nas.errors import ConfigError, require
from nas.methods.probabilities import dirichlet_argmax_log_probabilities

# Below it torch's float32 sampler returns a corner or the uniform point and its gradient overflows to NaN.
SMALLEST_CONCENTRATION = 1e-6


class Relaxation(Protocol):
    """Raw parameters -> op weights. Every function takes alpha [E, O] of one edge group.

    Attributes:
        normalised: whether the op weights of an edge sum to one, so that an only candidate has weight 1.
    """

    normalised: bool

    def initial(self, num_edges: int, num_operations: int, scale: float) -> Tensor:
        """Start values [E, O], drawn from torch's global generator."""

    def op_weights(self, alpha_EO: Tensor) -> Tensor:
        """What the supernet uses in one training pass, [E, O]; differentiable once in alpha."""

    def evaluation_weights(self, alpha_EO: Tensor) -> Tensor:
        """What it uses in one pass of evaluation, [E, O]."""

    def strengths(self, alpha_EO: Tensor) -> Tensor:
        """The expected op weights, [E, O]; deterministic."""

    def scores(self, alpha_EO: Tensor) -> Tensor:
        """What derivation ranks, [E, O]; deterministic and at least 0."""

    def sample(self, alpha_EO: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Independent draws of op weights from the learnt distribution, [count, E, O], float64 on the CPU."""

    def argmax_log_probabilities(self, alpha_EO: Tensor) -> Tensor:
        """Log probability that a candidate is the argmax of such a draw, [E, O], float64 on the CPU."""

    def bases(self, alpha_EO: Tensor) -> dict[str, tuple[Tensor, Callable[[Tensor], Tensor]]]:
        """Coordinates for second derivatives: label -> (their present values, values -> op weights).

        The functions are deterministic and twice differentiable.
        """


class Softmax:
    """Softmax over the candidates of an edge (Liu et al. 2019, equation 2)."""

    normalised = True

    def initial(self, num_edges: int, num_operations: int, scale: float) -> Tensor:
        """N(0, scale^2): the paper starts at zero, the authors' code at scale 1e-3."""
        return scale * torch.randn(num_edges, num_operations)

    def op_weights(self, alpha_EO: Tensor) -> Tensor:
        """Rows that sum to one."""
        return alpha_EO.softmax(dim=-1)

    evaluation_weights = strengths = scores = op_weights

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


class Dirichlet:
    """DrNAS: theta ~ Dirichlet(beta), beta = ELU(eta) + 1 (Chen et al. 2021, 2.2 and 4.1); alpha is eta.

    Gradients are pathwise (their equation 3): the first derivative of a draw exists, the second
    does not, so curvature is taken at the mean (`bases`).

    Args:
        evaluation_draw: `mean` (deterministic) or `sample` (authors' code) in evaluation.
        ranking: what derivation ranks: `softmax` of eta (authors' code) or the Dirichlet `mean`. The best
            candidate of an edge is the same in both, the order of edges may not be.
        draws: whether several processes have one draw a step (`shared`: N processes are one with N times the
            batch) or a draw each (`rank`: the averaged gradient is that of N draws, with less variance). Who
            draws sees to it.

    Raises:
        ConfigError: a value is unknown.
    """

    normalised = True

    def __init__(self, evaluation_draw: str = "mean", ranking: str = "softmax", draws: str = "shared"):
        require(
            evaluation_draw in ("mean", "sample"),
            f"method.evaluation_draw={evaluation_draw}: unknown; known are mean, sample",
        )
        require(ranking in ("softmax", "mean"), f"method.ranking={ranking}: unknown; known are softmax, mean")
        require(draws in ("shared", "rank"), f"method.draws={draws}: unknown; known are shared, rank")
        self.evaluation_draw = evaluation_draw
        self.ranking = ranking
        self.draws = draws

    def initial(self, num_edges: int, num_operations: int, scale: float) -> Tensor:
        """N(0, scale^2), so that beta starts near 1 and the draws nearly uniform on the simplex."""
        return scale * torch.randn(num_edges, num_operations)

    def concentration(self, alpha_EO: Tensor) -> Tensor:
        """Concentrations beta = ELU(eta) + 1, at least 1e-6.

        For eta <= 0 it is computed as exp(eta): ELU(eta) + 1 = (exp(eta) - 1) + 1 is 0 in float32 from
        eta = -17 on, where a Dirichlet has no density. Its derivative is 1 from 0 on and exp(eta) before it;
        its second derivative, which jumps at 0, is there that from the left, 1. Where the least concentration
        holds, below eta = -13.8, only the anchor moves eta.
        """
        above_EO = alpha_EO > 0
        # The branch that is not taken must not overflow: its gradient would be NaN. Filled and not clamped,
        # because torch's clamp has derivative 0 at its bound, and eta = 0 is where a search may start.
        below_EO = alpha_EO.masked_fill(above_EO, 0.0).exp()
        return torch.where(above_EO, alpha_EO + 1, below_EO).clamp_min(SMALLEST_CONCENTRATION)

    def op_weights(self, alpha_EO: Tensor) -> Tensor:
        """One draw; rows that sum to one."""
        # The sampler knows float32 and float64 only.
        wide = torch.promote_types(alpha_EO.dtype, torch.float32)
        beta_EO = self.concentration(alpha_EO).to(wide)
        theta_EO = distributions.Dirichlet(beta_EO, validate_args=False).rsample()
        # The sampler turns NaN into a number, and a diverged search would go on unnoticed.
        return torch.where(beta_EO.isnan(), beta_EO, theta_EO).to(alpha_EO.dtype)

    def evaluation_weights(self, alpha_EO: Tensor) -> Tensor:
        """The mean, or a draw as the authors' code has it."""
        return self.strengths(alpha_EO) if self.evaluation_draw == "mean" else self.op_weights(alpha_EO)

    def strengths(self, alpha_EO: Tensor) -> Tensor:
        """The Dirichlet mean beta / sum(beta)."""
        beta_EO = self.concentration(alpha_EO)
        return beta_EO / beta_EO.sum(-1, keepdim=True)

    def scores(self, alpha_EO: Tensor) -> Tensor:
        """softmax(eta) or the mean, see `ranking`."""
        return alpha_EO.softmax(-1) if self.ranking == "softmax" else self.strengths(alpha_EO)

    def sample(self, alpha_EO: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Independent draws of theta."""
        beta_EO = self.concentration(alpha_EO.detach().cpu().double())
        seed = torch.randint(2**62, (), generator=generator, device=generator.device)
        # torch's public Dirichlet draws from the global generator alone, so that one is lent a seed.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(seed))
            return distributions.Dirichlet(beta_EO).sample((count,))

    def argmax_log_probabilities(self, alpha_EO: Tensor) -> Tensor:
        """By quadrature over independent Gammas."""
        beta_EO = self.concentration(alpha_EO.detach().cpu().double())
        return torch.from_numpy(dirichlet_argmax_log_probabilities(beta_EO.numpy()))

    def bases(self, alpha_EO: Tensor) -> dict[str, tuple[Tensor, Callable[[Tensor], Tensor]]]:
        """The softmax basis `mu` of the paper's theory, and `eta`, both at the Dirichlet mean.

        mu_o = log(beta_o) - mean(log(beta)), so softmax(mu) is the mean (Chen et al. 2021, section 2.3).
        """
        log_EO = self.concentration(alpha_EO).log()
        mu_EO = log_EO - log_EO.mean(-1, keepdim=True)
        return {"mu": (mu_EO, lambda mu: mu.softmax(-1)), "eta": (alpha_EO, self.strengths)}


class ScalingFactors:
    """DSO-NAS: alpha is the op weight, a scaling factor lambda for every candidate (Zhang et al. 2019, 3.1).

    The candidates of an edge do not share a sum: each can vanish, or all. Nothing is drawn.

    Args:
        init: start value, 1 in the authors' code.
    """

    name = "scaling"
    normalised = False

    def __init__(self, init: float = 1.0):
        self.init = init

    def initial(self, num_edges: int, num_operations: int, scale: float) -> Tensor:
        """N(init, scale^2); the authors have no noise, scale 0."""
        return self.init + scale * torch.randn(num_edges, num_operations)

    def op_weights(self, alpha_EO: Tensor) -> Tensor:
        """Alpha as it is."""
        return alpha_EO

    evaluation_weights = op_weights

    def strengths(self, alpha_EO: Tensor) -> Tensor:
        """The magnitude: sign and scale are the network's to undo, absence is not."""
        return alpha_EO.abs()

    scores = strengths

    def sample(self, alpha_EO: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Raises `ConfigError`."""
        raise self._no_distribution()

    def argmax_log_probabilities(self, alpha_EO: Tensor) -> Tensor:
        """Raises `ConfigError`."""
        raise self._no_distribution()

    def bases(self, alpha_EO: Tensor) -> dict[str, tuple[Tensor, Callable[[Tensor], Tensor]]]:
        """`lambda`, which is alpha."""
        return {"lambda": (alpha_EO, self.op_weights)}

    def _no_distribution(self) -> ConfigError:
        return ConfigError(
            f"method.relaxation={self.name}: with scaling factors there is no distribution to draw "
            "architectures from (nas.derive, exploration); only softmax and dirichlet have one"
        )


class Connections(ScalingFactors):
    """Random architectures of the DSO-NAS space: every scaling factor is 1 with a probability, or else 0.

    Args:
        density: that probability, in (0, 1].

    Raises:
        ConfigError: it is out of range.
    """

    name = "connections"

    def __init__(self, density: float):
        super().__init__()
        require(0 < density <= 1, f"method.density={density}: must be above 0 and at most 1")
        self.density = density

    def initial(self, num_edges: int, num_operations: int, scale: float) -> Tensor:
        """Zeros and ones.

        Raises:
            ConfigError: `scale` is not 0: noise would bring every absent connection to life.
        """
        require(scale == 0, f"method.init_scale={scale}: connections are drawn as 0 or 1; set it to 0")
        return torch.bernoulli(torch.full((num_edges, num_operations), self.density))


# Its class and, by name, the options that it takes.
RELAXATIONS = {
    "softmax": (Softmax, ()),
    "dirichlet": (Dirichlet, ("evaluation_draw", "ranking", "draws")),
    "scaling": (ScalingFactors, ()),
    "connections": (Connections, ("density",)),
}


def build_relaxation(
    name: str,
    evaluation_draw: str | None = None,
    ranking: str | None = None,
    density: float | None = None,
    draws: str | None = None,
) -> Relaxation:
    """Builds the relaxation of that name; None leaves an option at its default.

    Raises:
        ConfigError: there is none, or an option is unknown, missing or none of this relaxation.
    """
    require(
        name in RELAXATIONS,
        f"method.relaxation={name}: unknown relaxation; known are {', '.join(RELAXATIONS)}",
    )
    relaxation, options = RELAXATIONS[name]
    given = {"evaluation_draw": evaluation_draw, "ranking": ranking, "density": density, "draws": draws}
    given = {key: value for key, value in given.items() if value is not None}
    for key, value in given.items():
        owners = [other for other, (_, keys) in RELAXATIONS.items() if key in keys]
        require(
            key in options, f"method.{key}={value}: only for method.relaxation={owners[0]}, not for {name}"
        )
    require(
        "density" in given or name != "connections",
        "method.density=null: method.relaxation=connections needs the share of connections, above 0 and at "
        "most 1",
    )
    return relaxation(**given)
