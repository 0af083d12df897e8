"""What a relaxation is: raw architecture parameters alpha [E, O] -> op weights [E, O].

The method owns alpha and hands in the columns that are kept, so nothing here knows of pruning.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nas.errors import ConfigError


class Relaxation:
    """Raw parameters -> op weights. Every function takes alpha [E, O] of one edge group.

    A subclass writes `op_weights` and `strengths`; everything else says what holds of any relaxation. It has
    no constructor that a subclass would have to call, and no function that stands for another one's name: a
    subclass that overrides `op_weights` gets no other's results.

    Attributes:
        normalised: whether the op weights of an edge sum to one, so that an only candidate has weight 1.
        rivals: whether a candidate needs others on its edge to be chosen against.
        prunable: whether the parameters of an edge still mean the same when some are dropped.
        scheduled: whether `begin_epoch` goes by the length of the search, which then cannot be changed.
        one_path: whether a pass runs only candidates whose op weight is not 0, mostly one per edge.
        whole: whether an architecture is derived from the op weights, which are then those of its candidates.
        differentiable: whether alpha has a gradient through its op weights.
        carried: whether the op weights of what is not run join the sums of their nodes as numbers.
        draws: what several processes do: have the same draws of torch's global generator (`shared`), or draws
            of their own (`rank`); None where nothing is drawn.
    """

    normalised: bool = False
    rivals: bool = False
    prunable: bool = True
    scheduled: bool = False
    one_path: bool = False
    whole: bool = False
    differentiable: bool = True
    carried: bool = False
    draws: str | None = "shared"

    def begin_epoch(self, epoch: int, max_epochs: int) -> None:
        """Called before the first step of every epoch, the first after a resume included.

        What is set here must follow from the epoch alone. What is measured before the first epoch (the
        memory of a step, its time) is measured as the constructor left the relaxation.

        Args:
            epoch: counted from 0.
            max_epochs: epochs of the whole search.
        """

    def settled(self, alpha_EO: Tensor) -> Tensor | None:
        """Which edges are fixed at their largest alpha from this epoch on, bool [E]; None for no edge."""
        return None

    def initial(self, num_edges: int, num_operations: int, scale: float) -> Tensor:
        """Start values [E, O], drawn from torch's global generator: N(0, scale^2)."""
        return scale * torch.randn(num_edges, num_operations)

    def optimizer(self, build: Callable[..., torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
        """Parameters -> the architecture optimiser; a relaxation may refuse what does not suit it."""
        return build

    def op_weights(self, alpha_EO: Tensor) -> Tensor:
        """What the supernet uses in one training pass, [E, O]; differentiable once in alpha."""
        raise NotImplementedError(f"{type(self).__name__} must say what its op_weights are")

    def strengths(self, alpha_EO: Tensor) -> Tensor:
        """The expected op weights, [E, O]; deterministic."""
        raise NotImplementedError(f"{type(self).__name__} must say what its strengths are")

    def concentration(self, alpha_EO: Tensor) -> Tensor | None:
        """The parameters of the Dirichlet that is drawn from, [E, O]; None where there is none."""
        return None

    def evaluation_weights(self, alpha_EO: Tensor) -> Tensor:
        """What it uses in one pass of evaluation, [E, O]: that of a training pass."""
        return self.op_weights(alpha_EO)

    def scores(self, alpha_EO: Tensor) -> Tensor:
        """What derivation ranks, [E, O]; deterministic and at least 0: the strengths."""
        return self.strengths(alpha_EO)

    @property
    def ranks_strengths(self) -> bool:
        """Whether derivation ranks the strengths, so that they alone say what is derived."""
        return type(self).scores is Relaxation.scores

    @property
    def distribution(self) -> bool:
        """Whether there is a distribution to `sample` architectures from."""
        return type(self).sample is not Relaxation.sample

    def sample(self, alpha_EO: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Independent draws of op weights from the learnt distribution, [count, E, O], float64 on the CPU.

        Raises:
            ConfigError: there is no such distribution.
        """
        raise self._no_distribution()

    def argmax_log_probabilities(self, alpha_EO: Tensor) -> Tensor:
        """Log probability that a candidate is the argmax of such a draw, [E, O], float64 on the CPU.

        Raises:
            ConfigError: there is no such distribution.
        """
        raise self._no_distribution()

    def log_probabilities(self, alpha_EO: Tensor) -> Tensor:
        """Log probability of every candidate where an edge draws one, [E, O]; differentiable in alpha.

        Raises:
            ConfigError: there is no such distribution.
        """
        raise self._no_distribution()

    def bases(self, alpha_EO: Tensor) -> dict[str, tuple[Tensor, Callable[[Tensor], Tensor]]]:
        """Coordinates for second derivatives: label -> (their present values, values -> op weights).

        The functions are deterministic and twice differentiable. Here `alpha`, at the strengths.
        """
        return {"alpha": (alpha_EO, self.strengths)}

    def _no_distribution(self) -> ConfigError:
        return ConfigError(
            f"method.relaxation={getattr(self, 'name', type(self).__name__)}: there is no distribution to "
            "draw candidates from (nas.derive, exploration, updates by probability)"
        )
