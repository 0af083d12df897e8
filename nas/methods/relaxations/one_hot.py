"""Op weights that are one-hot: one candidate per edge is drawn, and nothing else is run.

What they differ in is the gradient that alpha gets through a value that is 0 or 1.
"""

import torch
from torch import Tensor

from nas.errors import require, require_one_of
from nas.methods.relaxations.categorical import Categorical, gumbel
from nas.methods.relaxations.concrete import Concrete


class Path(Categorical):
    """One-hot draws; `evaluation_draw` says what evaluation uses: `argmax` or `sample`."""

    one_path = True
    evaluation_draw: str = "argmax"

    def evaluation_weights(self, alpha_EO: Tensor) -> Tensor:
        """The likeliest path, or a draw."""
        return largest(alpha_EO) if self.evaluation_draw == "argmax" else self.op_weights(alpha_EO)


class OneHot(Path):
    """A draw from softmax(alpha) on every edge.

    Args:
        gradient: how alpha learns through the draw z. `gates`: z changes as softmax(alpha) does, so that
            dL/dalpha_i = sum_j dL/dz_j p_j (delta_ij - p_i) (Cai et al. 2019, equation 4). `reward`: the
            score function with the drawn candidate's own dL/dz as the (negative) reward,
            dL/dz_k (z - p) (Hu et al. 2020, equation 10). `none`: it does not; what moves it knows the
            probability of the draw.
        evaluation_draw: `argmax` (the likeliest path) or `sample` in evaluation.
        gap: an edge whose largest probability leads the second by so much at the start of an epoch keeps
            that candidate from then on; None for never.
        mean: what alpha starts around, with a deviation of `method.init_scale`.
        draws: whether several processes have one draw per step (`shared`) or a draw each (`rank`).

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    name = "one_hot"

    def __init__(
        self,
        gradient: str = "gates",
        evaluation_draw: str = "argmax",
        gap: float | None = None,
        mean: float = 0.0,
        draws: str = "shared",
    ):
        require(
            gap is None or 0 < gap <= 1,
            f"method.relaxation.gap={gap}: a difference of probabilities above 0 and up to 1, or null",
        )
        require_one_of("method.relaxation.gradient", gradient, ("gates", "reward", "none"))
        require_one_of("method.relaxation.evaluation_draw", evaluation_draw, ("argmax", "sample"))
        require_one_of("method.relaxation.draws", draws, ("shared", "rank"))
        self.gap = gap
        self.gradient = gradient
        self.differentiable = gradient != "none"
        self.evaluation_draw = evaluation_draw
        self.mean = mean
        self.draws = draws

    def initial(self, num_edges: int, num_operations: int, scale: float) -> Tensor:
        """N(mean, scale^2), [E, O]."""
        return self.mean + super().initial(num_edges, num_operations, scale)

    def settled(self, alpha_EO: Tensor) -> Tensor | None:
        """Edges whose largest probability leads the second by `gap`."""
        if self.gap is None or alpha_EO.shape[-1] < 2:
            return None
        first_E, second_E = alpha_EO.softmax(-1).topk(2, dim=-1).values.unbind(-1)
        return first_E - second_E >= self.gap

    def op_weights(self, alpha_EO: Tensor) -> Tensor:
        """One draw; exactly 1 for what is drawn and 0 for the rest."""
        drawn_EO = largest(alpha_EO + gumbel(torch.empty_like(alpha_EO).exponential_()))
        if self.gradient == "none":
            return drawn_EO
        if self.gradient == "gates":
            return through(drawn_EO, alpha_EO.softmax(-1))
        log_EO = alpha_EO.log_softmax(-1)
        return drawn_EO * (1 + (log_EO - log_EO.detach()))


class HardConcrete(Path, Concrete):
    """One-hot at the largest of softmax((log softmax(alpha) + Gumbel noise) / temperature), whose gradient it
    has (Dong and Yang 2019, equations 4 and 5).

    Args:
        start, end: temperature of the first and of the last epoch, linear between them.
        mean, draws: see `Concrete`.
        evaluation_draw: `argmax` (the likeliest path) or `sample` in evaluation.
        carried: whether what is not run gets the gradient that a constant feature map of ones would have, as
            in the first release of the authors' code; else none, as in its later version.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    name = "hard_concrete"

    def __init__(
        self,
        start: float = 10.0,
        end: float = 0.1,
        mean: float = 0.0,
        evaluation_draw: str = "argmax",
        draws: str = "shared",
        carried: bool = True,
    ):
        require_one_of("method.relaxation.evaluation_draw", evaluation_draw, ("argmax", "sample"))
        super().__init__(start, end, mean, "sample", draws)
        self.evaluation_draw = evaluation_draw
        self.carried = carried

    def op_weights(self, alpha_EO: Tensor) -> Tensor:
        """One draw; exactly 1 for what is drawn and 0 for the rest."""
        noise_EO = gumbel(torch.empty_like(alpha_EO).exponential_())
        soft_EO = ((alpha_EO.log_softmax(-1) + noise_EO) / self.temperature).softmax(-1)
        return through(largest(soft_EO), soft_EO)


class WholeDraw(Categorical):
    """A draw of a whole architecture: what the space derives from softmax(alpha + Gumbel noise).

    At equal alphas it is uniform. Alpha has no gradient.

    Args:
        draws: whether several processes have one draw per step (`shared`) or a draw each (`rank`).

    Raises:
        ConfigError: a value is unknown.
    """

    name = "whole_draw"
    one_path = True
    whole = True
    differentiable = False

    def __init__(self, draws: str = "shared"):
        require_one_of("method.relaxation.draws", draws, ("shared", "rank"))
        self.draws = draws

    def op_weights(self, alpha_EO: Tensor) -> Tensor:
        """The scores of one draw, [E, O], from which the architecture is derived."""
        noise_EO = gumbel(torch.empty_like(alpha_EO).exponential_())
        return (alpha_EO.detach() + noise_EO).softmax(-1)


def pair(alpha_EO: Tensor) -> tuple[Tensor, Tensor]:
    """Two candidates per edge, drawn without replacement from softmax(alpha), one of which is active.

    Returns:
        Gates [E, O], 1 for the active one (drawn by the probabilities of the two) and 0 for the rest, with
        the gradient of these two probabilities (Cai et al. 2019, section 3.2), and the two, bool [E, O].
    """
    noise_EO = gumbel(torch.empty_like(alpha_EO).exponential_())
    two_E2 = (alpha_EO.detach() + noise_EO).topk(min(2, alpha_EO.shape[1]), dim=-1).indices
    chosen_E2 = alpha_EO.gather(-1, two_E2)
    active_E2 = largest(chosen_E2 + gumbel(torch.empty_like(chosen_E2).exponential_()))
    gates_EO = torch.zeros_like(alpha_EO).scatter(-1, two_E2, through(active_E2, chosen_E2.softmax(-1)))
    return gates_EO, torch.zeros_like(alpha_EO, dtype=torch.bool).scatter(-1, two_E2, True)


def largest(values_EO: Tensor) -> Tensor:
    """One-hot rows at the largest value, ties at the lower index; without a gradient."""
    places_E1 = values_EO.detach().argmax(-1, keepdim=True)
    return torch.zeros_like(values_EO).scatter(-1, places_E1, 1.0)


def through(drawn_EO: Tensor, soft_EO: Tensor) -> Tensor:
    """Exactly the values of the first, with the gradient of the second."""
    return drawn_EO + (soft_EO - soft_EO.detach())
