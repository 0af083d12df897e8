"""The Dirichlet draws of DrNAS."""

from collections.abc import Callable

import torch
from torch import Tensor, distributions

from nas.errors import require_one_of
from nas.methods.probabilities import dirichlet_argmax_log_probabilities
from nas.methods.relaxations.base import Relaxation

# Below it torch's float32 sampler returns a corner or the uniform point and its gradient overflows to NaN.
SMALLEST_CONCENTRATION = 1e-6


class Dirichlet(Relaxation):
    """DrNAS: theta ~ Dirichlet(beta), beta = ELU(eta) + 1 (Chen et al. 2021, 2.2 and 4.1); alpha is eta.

    Gradients are pathwise (their equation 3): the first derivative of a draw exists, the second
    does not, so curvature is taken at the mean (`bases`).

    Args:
        evaluation_draw: `mean` (deterministic) or `sample` (authors' code) in evaluation.
        ranking: what derivation ranks: `softmax` of eta (authors' code) or the Dirichlet `mean`. The best
            candidate of an edge is the same in both, the order of edges may not be.
        draws: whether several processes have one draw per step (`shared`: N processes are one with N times
            the batch) or a draw each (`rank`: the averaged gradient is that of N draws, with less variance).
            Who draws sees to it.

    Raises:
        ConfigError: a value is unknown.
    """

    name = "dirichlet"
    normalised = True

    def __init__(self, evaluation_draw: str = "mean", ranking: str = "softmax", draws: str = "shared"):
        require_one_of("method.evaluation_draw", evaluation_draw, ("mean", "sample"))
        require_one_of("method.ranking", ranking, ("softmax", "mean"))
        require_one_of("method.draws", draws, ("shared", "rank"))
        self.evaluation_draw = evaluation_draw
        self.ranking = ranking
        self.draws = draws

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

    @property
    def ranks_strengths(self) -> bool:
        """Unless `ranking` is the softmax."""
        return self.ranking != "softmax"

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
