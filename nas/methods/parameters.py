"""The architecture parameters: alpha of every edge group, what is kept of it, and what weights it gives."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from nas.errors import ConfigError, require
from nas.methods.hooks import Hooks
from nas.methods.layout import difference, digest
from nas.methods.masks import Alive, Kept
from nas.methods.relaxations import Relaxation

# Below every score of a kept candidate, so that derivation never picks a dropped one.
DROPPED = -1.0


class Parameters(Hooks, nn.Module):
    """Owns alpha and says how it becomes op weights.

    Candidates can be dropped (`prune`): their parameters rest at 0, their op weights are exactly 0, and the
    others share the edge as if the dropped had never been there. Which are kept is part of the checkpoint.

    Args:
        shapes: for each edge group its (E, O).
        relaxation: what alpha means.
        init_scale: standard deviation of alpha's start values.
        layout: what the rows and columns of alpha mean (edges and operations a group), as plain containers; a
            checkpoint holds it and refuses to load into another.

    Raises:
        ConfigError: `init_scale` is negative.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, int]],
        relaxation: Relaxation,
        init_scale: float,
        layout: Mapping | None,
    ):
        super().__init__()
        require(init_scale >= 0, f"method.init_scale={init_scale}: must be at least 0")
        self.layout = layout
        self.relaxation = relaxation
        self.alpha = nn.ParameterDict(
            {
                group: nn.Parameter(self.relaxation.initial(*shapes[group], init_scale))
                for group in sorted(shapes)
            }
        )
        self.candidates: Kept | Alive = self._candidates()

    def _candidates(self) -> "Kept | Alive":
        return Kept({group: alpha_EO.shape for group, alpha_EO in self.alpha.items()})

    def alphas(self) -> list[Tensor]:
        """The architecture parameters, in a fixed order."""
        return [self.alpha[group] for group in self.alpha]

    def op_weights(self) -> dict[str, Tensor]:
        """What the supernet uses in one forward pass: {group: [E, O]}.

        A random relaxation draws once a group and call, from torch's global generator. In evaluation mode
        (`eval()`) it does what `evaluation_draw` says.
        """
        relaxation = self.relaxation
        return self._of_kept(relaxation.op_weights if self.training else relaxation.evaluation_weights)

    @torch.no_grad()
    def strengths(self) -> dict[str, Tensor]:
        """The expected op weights: {group: [E, O]}, detached."""
        return self._of_kept(self.relaxation.strengths)

    @torch.no_grad()
    def scores(self) -> dict[str, Tensor]:
        """What derivation ranks: {group: [E, O]}, detached; a dropped candidate is below every kept one."""
        return self._of_kept(self.relaxation.scores, DROPPED)

    @torch.no_grad()
    def entropy(self) -> dict[str, float]:
        """Mean entropy of an edge's expected op weights in nats, a group; log(O) is undecided, 0 decided."""
        return {
            group: float(torch.special.entr(weights_EO.double()).sum(-1).mean())
            for group, weights_EO in self.strengths().items()
        }

    @torch.no_grad()
    def sample_strengths(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draws from the learnt distribution: {group: [count, E, O]}, float64, on the CPU.

        Dirichlet: theta. Softmax: softmax(alpha + Gumbel noise), whose argmax is categorical. The global
        generators stay where they are.
        """
        return self._of_kept(lambda alpha_EK: self.relaxation.sample(alpha_EK, count, generator))

    @torch.no_grad()
    def log_probability_table(self) -> dict[str, Tensor]:
        """Log probability that a candidate is its edge's argmax in such a draw: {group: [E, O]}, float64."""
        return self._of_kept(self.relaxation.argmax_log_probabilities, -torch.inf)

    def bases(self) -> dict[str, tuple[list[Tensor], Callable[[], dict[str, Tensor]]]]:
        """Coordinates for the curvature of a loss: label -> (parameters, function to op weights).

        The parameters are copies, one [E, K] a group, of the kept candidates alone; the function is
        deterministic and twice differentiable in them.
        """
        found: dict[str, tuple[dict[str, Tensor], dict[str, Callable]]] = {}
        for group in self.alpha:
            for label, (start_EK, function) in self.relaxation.bases(self._kept(group).detach()).items():
                parameters, functions = found.setdefault(label, ({}, {}))
                parameters[group] = start_EK.clone().requires_grad_()
                functions[group] = function

        def op_weights(parameters: dict[str, Tensor], functions: dict[str, Callable]) -> dict[str, Tensor]:
            return {g: self.candidates.spread(g, functions[g](parameters[g])) for g in parameters}

        return {
            label: (list(parameters.values()), partial(op_weights, parameters, functions))
            for label, (parameters, functions) in found.items()
        }

    def kept(self) -> dict[str, Tensor]:
        """Which candidates have not been dropped: {group: bool [E, O]}, a copy."""
        return self.candidates.masks()

    @torch.no_grad()
    def prune(self, keep: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Keeps the `keep` candidates with the largest alpha of every edge, ties by the lower index.

        Kept parameters keep their values, dropped ones are set to 0. An edge that has no more than `keep`
        stays as it is.

        Args:
            keep: candidates per edge, at least 1.
            optimizer: the architecture optimiser, which forgets its moments of dropped parameters alone.

        Raises:
            ConfigError: `keep` is less than 1.
        """
        require(keep >= 1, f"method.stages: keep={keep}: must be at least 1")
        assert isinstance(self.candidates, Kept)  # a sparse method has no stages, and drops by its zeros
        for group, alpha_EO in self.alpha.items():
            self._rest(alpha_EO, ~self.candidates.prune(group, alpha_EO, keep), optimizer)

    @staticmethod
    def _rest(alpha_EO: Tensor, gone_EO: Tensor, optimizer: torch.optim.Optimizer | None) -> None:
        """Sets what is gone to 0, and what the optimiser remembers of it, which would move it on."""
        alpha_EO.masked_fill_(gone_EO, 0.0)
        for moment in optimizer.state.get(alpha_EO, {}).values() if optimizer is not None else ():
            if isinstance(moment, Tensor) and moment.shape == alpha_EO.shape:
                moment.masked_fill_(gone_EO, 0.0)

    def _kept(self, group: str) -> Tensor:
        return self.candidates.take(group, self.alpha[group])

    def _of_kept(self, function: Callable[[Tensor], Tensor], fill: float = 0.0) -> dict[str, Tensor]:
        return {g: self.candidates.spread(g, function(self._kept(g)), fill) for g in self.alpha}

    def get_extra_state(self) -> dict:
        """The layout and its digest, stored with the parameters."""
        return {"layout": self.layout, "digest": digest(self.layout)}

    def set_extra_state(self, state: dict) -> None:
        """Refuses parameters whose rows and columns mean something else.

        Raises:
            ConfigError: edges or operations differ from this method's, or come in another order.
        """
        if state["digest"] != digest(self.layout):
            raise ConfigError(
                "checkpoint: its architecture parameters belong to other edges or operations, or to another "
                f"order of them: {difference(state['layout'], self.layout)}"
            )
