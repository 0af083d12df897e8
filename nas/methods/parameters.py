"""The architecture parameters: alpha of every edge group, what is kept of it, and what weights it gives."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nas.errors import ConfigError, require
from nas.methods.decided import Decided
from nas.methods.edges import EdgeWeights
from nas.methods.hooks import Hooks
from nas.methods.layout import difference, digest
from nas.methods.masks import Alive, Kept
from nas.methods.relaxations import Relaxation
from nas.methods.relaxations.one_hot import largest, pair
from nas.op_weights import OpWeights

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
        layout: what the rows and columns of alpha mean (edges and operations per group), as plain containers;
            a checkpoint holds it and refuses to load into another.
        edges: what the parameters of edge weights mean, a row per node with an entry per in-edge; None for no
            edge weights.

    Attributes:
        derived: what stands in an architecture that is derived from scores: {group: [E, O]} to one-hot rows,
            zero for an edge that is left out. Set by `attach`.

    Raises:
        ConfigError: `init_scale` is negative, or there is no layout to tell a node's in-edges by.
    """

    derived: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] | None = None

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, int]],
        relaxation: Relaxation,
        init_scale: float,
        layout: Mapping | None,
        edges: Relaxation | None = None,
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
        self.decided = Decided()
        self.edges = None if edges is None else EdgeWeights(edges, layout, init_scale)

    def _candidates(self) -> "Kept | Alive":
        return Kept({group: alpha_EO.shape for group, alpha_EO in self.alpha.items()})

    def alphas(self) -> list[Tensor]:
        """The architecture parameters, in a fixed order: a group's candidates, then edge weights."""
        edges = [] if self.edges is None else list(self.edges.beta.values())
        return [*(self.alpha[group] for group in self.alpha), *edges]

    def op_weights(self, paths: str = "own") -> OpWeights:
        """What the supernet uses in one forward pass.

        A random relaxation draws once a group and call, from torch's global generator. In evaluation mode
        (`eval()`) it does what `evaluation_draw` says.

        Args:
            paths: what is run: `own` (what the relaxation has drawn, or all), `all`, or `two` candidates per
                edge, of which one is active.
        """
        if paths == "two":
            pairs = {group: pair(self._kept(group)) for group in self.alpha}
            gates = {group: self.candidates.spread(group, gate_EK) for group, (gate_EK, _) in pairs.items()}
            applied = self.decided.applied(gates)
            run = {}
            for group, (_, two_EK) in pairs.items():
                two_EO = self.candidates.spread(group, two_EK, False)
                fixed_E1 = self.decided.rows(group, two_EO)[:, None]
                run[group] = torch.where(fixed_E1, applied[group] != 0, two_EO)
            return self.weighed(applied, run)
        own = self.candidate_weights()
        drawn = self.relaxation.one_path and paths == "own"
        return self.weighed(own, {group: own[group] != 0 for group in own if drawn})

    @property
    def draws_architectures(self) -> bool:
        """Whether there is a distribution to `draw` architectures from."""
        return self.relaxation.distribution

    @property
    def supernet_options(self) -> dict[str, Any]:
        """What `Space.supernet` is to be called with for this method, beside its sizes."""
        return {"separate": True} if self.relaxation.one_path else {}

    def candidate_weights(self) -> dict[str, Tensor]:
        """Op weights of one pass without edge weights: {group: [E, O]}."""
        relaxation = self.relaxation
        own = self._of_kept(relaxation.op_weights if self.training else relaxation.evaluation_weights)
        if relaxation.whole:
            assert self.derived is not None  # `attach` comes before the first pass
            own = {group: choices_EO.to(own[group]) for group, choices_EO in self.derived(own).items()}
        return self.decided.applied(own)

    def weighed(
        self,
        own: Mapping[str, Tensor],
        run: Mapping[str, Tensor] | None = None,
        edges: Mapping[str, Tensor] | None = None,
    ) -> OpWeights:
        """Op weights of one pass from those without edge weights.

        Args:
            own: {group: [E, O]}.
            run: what is run of them, {group: bool [E, O]}; None for all.
            edges: {group: [E]}; None for those of this pass.
        """
        edges = self.edge_weights() if edges is None else edges
        weights = {g: own[g] * edges[g][:, None] if g in edges else own[g] for g in own}
        return OpWeights(weights, run, edges, self.relaxation.carried)

    def edge_weights(self) -> dict[str, Tensor]:
        """Edge weights of one pass, {group: [E]}; empty for a method without any."""
        if self.edges is None:
            return {}
        relaxation = self.edges.relaxation
        return self.edges.weights(relaxation.op_weights if self.training else relaxation.evaluation_weights)

    @torch.no_grad()
    def strengths(self) -> dict[str, Tensor]:
        """The expected op weights, edge weights in them: {group: [E, O]}, detached."""
        return self._times_edges(self._expected())

    @torch.no_grad()
    def scores(self) -> dict[str, Tensor]:
        """What derivation ranks: {group: [E, O]}, detached; a dropped candidate is below every kept one."""
        values = self._times_edges(self.decided.applied(self._of_kept(self.relaxation.scores)))
        kept = self.kept()
        return {group: value_EO.masked_fill(~kept[group], DROPPED) for group, value_EO in values.items()}

    @torch.no_grad()
    def draw(self) -> OpWeights:
        """A random architecture by what alpha has learnt, from torch's global generator of alpha's device.

        One-hot op weights in which nothing else is run, whatever the relaxation.
        """
        assert self.derived is not None  # `attach` comes before the first draw
        device = next(iter(self.alpha.values())).device
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, (), device=device)))
        drawn = {group: value[0] for group, value in self.sample_strengths(1, generator).items()}
        own = {group: choices_EO.to(self.alpha[group]) for group, choices_EO in self.derived(drawn).items()}
        return self.weighed(own, {group: choices_EO != 0 for group, choices_EO in own.items()})

    def _expected(self) -> dict[str, Tensor]:
        return self.decided.applied(self._of_kept(self.relaxation.strengths))

    def _times_edges(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.edges is None:
            return dict(values)
        edges = self.edges.weights(self.edges.relaxation.strengths)
        return {group: value_EO * edges[group][:, None] for group, value_EO in values.items()}

    def log_probability(self, op_weights: Mapping[str, Tensor]) -> Tensor:
        """Log probability of one-hot op weights, a scalar that is differentiable in alpha.

        Raises:
            ConfigError: the relaxation is no distribution over candidates.
        """
        terms = []
        for group in self.alpha:
            logs_EO = self.candidates.spread(group, self.relaxation.log_probabilities(self._kept(group)))
            undecided_EO = op_weights[group].detach() * ~self.decided.rows(group, logs_EO)[:, None]
            terms.append((logs_EO * undecided_EO.bool()).sum())
        return torch.stack(terms).sum()

    def path_entropy(self, op_weights: Mapping[str, Tensor]) -> Tensor:
        """Entropies of the choices on the way to one-hot op weights, summed, in nats; a scalar.

        Here that of every undecided edge, whatever the others have drawn.

        Raises:
            ConfigError: the relaxation is no distribution over candidates.
        """
        terms = []
        for group in self.alpha:
            logs_EK = self.relaxation.log_probabilities(self._kept(group))
            entropy_E = torch.special.entr(logs_EK.exp()).sum(-1)
            terms.append((entropy_E * ~self.decided.rows(group, logs_EK)).sum())
        return torch.stack(terms).sum()

    @torch.no_grad()
    def entropy(self) -> dict[str, float]:
        """Mean entropy of an edge's expected op weights in nats, by group; log(O) is undecided, 0 decided."""
        return {
            group: float(torch.special.entr(weights_EO.double()).sum(-1).mean())
            for group, weights_EO in self._expected().items()
        }

    @torch.no_grad()
    def concentrations(self) -> dict[str, float]:
        """Mean over a group's edges of the sum of their Dirichlet concentrations; {} of other relaxations.

        As many as there are candidates is a flat Dirichlet; the larger the sum, the less its draws vary.
        """
        betas = {group: self.relaxation.concentration(self._kept(group)) for group in self.alpha}
        return {
            group: float(beta_EK.double().sum(-1).mean())
            for group, beta_EK in betas.items()
            if beta_EK is not None
        }

    @torch.no_grad()
    def sample_strengths(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draws from the learnt distribution: {group: [count, E, O]}, float64, on the CPU.

        Dirichlet: theta. Softmax: softmax(alpha + Gumbel noise), whose argmax is categorical. Decided edges
        are as decided, and edge weights, which are not drawn, are multiplied in. The global generators stay
        where they are.
        """
        drawn = self._of_kept(lambda alpha_EK: self.relaxation.sample(alpha_EK, count, generator))
        edges = {} if self.edges is None else self.edges.weights(self.edges.relaxation.strengths)
        values = self.decided.applied(drawn)
        return {
            group: value_NEO * edges[group][:, None].cpu().double() if group in edges else value_NEO
            for group, value_NEO in values.items()
        }

    @torch.no_grad()
    def log_probability_table(self) -> dict[str, Tensor]:
        """Log probability that a candidate is its edge's argmax in such a draw: {group: [E, O]}, float64."""
        logs = self._of_kept(self.relaxation.argmax_log_probabilities, -torch.inf)
        fixed = self.decided.applied({group: torch.zeros_like(value_EO) for group, value_EO in logs.items()})
        return {
            group: torch.where(self.decided.rows(group, value_EO)[:, None], fixed[group].log(), value_EO)
            for group, value_EO in logs.items()
        }

    def bases(self) -> dict[str, tuple[list[Tensor], Callable[[], dict[str, Tensor]]]]:
        """Coordinates for the curvature of a loss: label -> (parameters, function to op weights).

        The parameters are copies, one [E, K] a group, of the kept candidates alone; the function is
        deterministic and twice differentiable in them.
        """
        bases: dict[str, tuple[dict[str, Tensor], dict[str, Callable]]] = {}
        for group in self.alpha:
            for label, (start_EK, function) in self.relaxation.bases(self._kept(group).detach()).items():
                parameters, functions = bases.setdefault(label, ({}, {}))
                parameters[group] = start_EK.clone().requires_grad_()
                functions[group] = function

        def op_weights(parameters: dict[str, Tensor], functions: dict[str, Callable]) -> dict[str, Tensor]:
            own = {g: self.candidates.spread(g, functions[g](parameters[g])) for g in parameters}
            return self._times_edges(self.decided.applied(own))

        return {
            label: (list(parameters.values()), partial(op_weights, parameters, functions))
            for label, (parameters, functions) in bases.items()
        }

    @property
    def selected(self) -> bool:
        """Whether every edge has been decided, so that alpha says nothing any more."""
        return all(bool(self.decided.rows(group, self.alpha[group]).all()) for group in self.alpha)

    @torch.no_grad()
    def settle(self) -> None:
        """Decides the edges of which the relaxation says that nothing is left to learn."""
        for group in self.alpha:
            alpha_EK = self._kept(group)
            settled_E = self.relaxation.settled(alpha_EK)
            if settled_E is not None and settled_E.any():
                self.decided.decide(group, settled_E, self.candidates.spread(group, largest(alpha_EK)))

    def kept(self) -> dict[str, Tensor]:
        """Which candidates have not been dropped: {group: bool [E, O]}, a copy."""
        return self.candidates.masks()

    @torch.no_grad()
    def prune(self, keep: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Keeps the `keep` candidates with the largest alpha of every edge, ties by the lower index.

        What has been decided for stays before all others.

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
            chosen_EO = self.decided.applied({group: torch.zeros_like(alpha_EO)})[group] != 0
            ranked_EO = alpha_EO.masked_fill(chosen_EO, torch.inf)
            self._rest(alpha_EO, ~self.candidates.prune(group, ranked_EO, keep), optimizer)

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
        """The layout and its digest, stored with the parameters, and what has been decided."""
        decided = self.decided.state()
        return {"layout": self.layout, "digest": digest(self.layout)} | (
            {"decided": decided} if decided else {}
        )

    def set_extra_state(self, state: dict) -> None:
        """Takes what has been decided; refuses parameters whose rows and columns mean something else.

        Raises:
            ConfigError: edges or operations differ from this method's, or come in another order.
        """
        if state["digest"] != digest(self.layout):
            raise ConfigError(
                "checkpoint: its architecture parameters belong to other edges or operations, or to another "
                f"order of them: {difference(state['layout'], self.layout)}"
            )
        self.decided.load(state.get("decided", {}))
