"""The controller of ENAS, an LSTM that draws an architecture choice by choice (Pham et al. 2018, 2.2).

Shapes: N draws, E edges and O operations of a group, A answers of a choice, H hidden units.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.errors import require, require_whole
from nas.methods.standing import Derive, in_edges, standing


@dataclass(frozen=True)
class Choice:
    """One choice on the way: an in-edge of a node, or the operation of an edge.

    Attributes:
        group: of edges.
        rows: the in-edges among which the choice is, in order, or the one whose operation it is.
        slot: which of the node's in-edges this is about, from 0.
        slots: in-edges that the node keeps.
        edge: whether an in-edge is chosen; else the operation of the one that was, or of the only row.
    """

    group: str
    rows: tuple[int, ...]
    slot: int
    slots: int
    edge: bool


def plan_of(layout: Mapping, derive: Derive) -> tuple[list[Choice], dict[str, Tensor]]:
    """The choices that make an architecture of a space, and which candidates it may have.

    Args:
        layout: the edges and operations of a space, see `nas.methods.standing.standing`.
        derive: scores to what stands in an architecture, see there.

    Returns:
        The choices in order, and the candidates that may stand, {group: bool [E, O]}.
    """
    kept, allowed = standing(layout, derive)
    choices = []
    for group, nodes in in_edges(layout).items():
        for rows in nodes.values():
            slots = int(kept[group][rows].sum())
            for slot in range(slots):
                if slots == len(rows):
                    choices.append(Choice(group, (rows[slot],), slot, slots, edge=False))
                else:
                    choices += [Choice(group, tuple(rows), slot, slots, edge) for edge in (True, False)]
    return choices, allowed


@dataclass
class Walk:
    """What a walk through all choices has come to.

    Attributes:
        drawn: {group: [N, E, O]}, one-hot rows, zero for an edge that was not chosen.
        conditional: {group: [N, E, O]}, the probabilities of what was chosen among, given what came before.
        log_probability: of each architecture [N].
        entropy: of the choices on the way, summed, in nats [N].
    """

    drawn: dict[str, Tensor]
    conditional: dict[str, Tensor]
    log_probability: Tensor
    entropy: Tensor


class Controller(nn.Module):
    """Draws operations, and in-edges where a node keeps but some of them.

    One LSTM step a choice; what was chosen is the input of the next step, a learnt vector that of the first.
    Operations are known by name, in-edges by their source. The in-edges of a node are drawn in ascending
    order, so that a set of them comes about in one way; with equal logits all sets are as likely.

    Args:
        layout: see `plan_of`.
        hidden: units of each layer.
        layers: of the LSTM.
        tanh: c in the logits c tanh(x / temperature).
        temperature: see `tanh`.
        init: parameters start uniform in [-init, init]: those of the first layer's matrices, of the
            embeddings and of what predicts.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self, layout: Mapping, hidden: int, layers: int, tanh: float, temperature: float, init: float
    ):
        super().__init__()
        require_whole("method.hidden", hidden, 1)
        require_whole("method.layers", layers, 1)
        for key, value in {"tanh": tanh, "temperature": temperature, "init": init}.items():
            require(value > 0, f"method.{key}={value}: must be positive")
        self.tanh, self.temperature = tanh, temperature
        words = sorted({name for group in layout.values() for row in group["operations"] for name in row})
        sources = sorted({source for group in layout.values() for source, _ in group["edges"]})
        self._words = {
            group: torch.tensor([[words.index(name) for name in row] for row in layout[group]["operations"]])
            for group in layout
        }
        self._sources = {
            group: torch.tensor([sources.index(source) for source, _ in layout[group]["edges"]])
            for group in layout
        }
        self.start = nn.Parameter(torch.empty(hidden))
        self.lstm = nn.LSTM(hidden, hidden, layers)
        self.operations = nn.Embedding(len(words), hidden)
        self.edges = nn.Embedding(len(sources), hidden)
        self.predict_operation = nn.Linear(hidden, len(words))
        self.predict_edge = nn.Linear(hidden, len(sources))
        first = (self.lstm.get_parameter(f"weight_{which}_l0") for which in ("ih", "hh"))
        tables = (self.operations, self.edges, self.predict_operation, self.predict_edge)
        for parameter in (self.start, *first, *(table.weight for table in tables)):
            nn.init.uniform_(parameter, -init, init)

    def draw(
        self,
        plan: Sequence[Choice],
        allowed: Mapping[str, Tensor],
        count: int,
        noise: Callable[[int, int], Tensor],
    ) -> Walk:
        """Draws architectures.

        Args:
            plan: the choices.
            allowed: the candidates, {group: bool [E, O]}.
            count: N.
            noise: N, A -> standard Gumbel noise [N, A].
        """

        def pick(choice: Choice, logs_NA: Tensor) -> Tensor:
            return (logs_NA.detach() + noise(*logs_NA.shape).to(logs_NA)).argmax(-1)

        return self._walk(plan, allowed, count, pick)

    def follow(
        self, plan: Sequence[Choice], allowed: Mapping[str, Tensor], op_weights: Mapping[str, Tensor]
    ) -> Walk:
        """The way to an architecture that is given as one-hot op weights, N = 1; differentiable."""

        def pick(choice: Choice, logs_NA: Tensor) -> Tensor:
            weights_EO = op_weights[choice.group].detach()[list(choice.rows)]
            slot = choice.slot if len(choice.rows) > 1 else 0
            row = weights_EO.any(-1).nonzero()[slot]
            return row if choice.edge else weights_EO[row].argmax(-1)

        return self._walk(plan, allowed, 1, pick)

    def _walk(
        self,
        plan: Sequence[Choice],
        allowed: Mapping[str, Tensor],
        count: int,
        pick: Callable[[Choice, Tensor], Tensor],
    ) -> Walk:
        new, each_N = self.start.new_zeros, torch.arange(count, device=self.start.device)
        allowed = {group: mask_EO.to(each_N.device) for group, mask_EO in allowed.items()}
        drawn = {group: new((count, *mask_EO.shape)) for group, mask_EO in allowed.items()}
        conditional = {group: new((count, *mask_EO.shape)) for group, mask_EO in allowed.items()}
        logs_N, entropy_N = new(count), new(count)
        x_NH, state, edge_N = self.start.expand(count, -1), None, torch.zeros_like(each_N)
        for choice in plan:
            hidden_1NH, state = self.lstm(x_NH[None], state)
            rows_A = torch.tensor(choice.rows, device=each_N.device)
            if choice.edge:
                codes_NA = self._sources[choice.group].to(each_N.device)[rows_A].expand(count, -1)
                logits_NA = self._logits(self.predict_edge, hidden_1NH[0]).gather(1, codes_NA)
                before_N = edge_N if choice.slot else torch.full_like(each_N, -1)
                logs_NA = (logits_NA + _ways(choice, before_N).to(logits_NA)).log_softmax(-1)
            else:
                rows_N = rows_A[edge_N] if len(rows_A) > 1 else rows_A.expand(count)
                codes_NA = self._words[choice.group].to(each_N.device)[rows_N]
                logits_NA = self._logits(self.predict_operation, hidden_1NH[0]).gather(1, codes_NA)
                logs_NA = logits_NA.masked_fill(~allowed[choice.group][rows_N], -torch.inf).log_softmax(-1)
            chosen_N = pick(choice, logs_NA)
            logs_N = logs_N + logs_NA[each_N, chosen_N]
            # What is impossible adds 0, and no gradient that is not a number.
            entropy_N = entropy_N - (logs_NA.exp() * logs_NA.masked_fill(logs_NA.isinf(), 0.0)).sum(-1)
            code_N = codes_NA[each_N, chosen_N]
            if choice.edge:
                edge_N, x_NH = chosen_N, self.edges(code_N)
            else:
                drawn[choice.group][each_N, rows_N, chosen_N] = 1.0
                conditional[choice.group][each_N, rows_N] = logs_NA.detach().exp()
                x_NH = self.operations(code_N)
        return Walk(drawn, conditional, logs_N, entropy_N)

    def _logits(self, predict: nn.Linear, hidden_NH: Tensor) -> Tensor:
        return self.tanh * (predict(hidden_NH) / self.temperature).tanh()


def _ways(choice: Choice, before_N: Tensor) -> Tensor:
    """Log of the number of sets of in-edges that go on with each of a node's, [N, A]; -inf for none."""
    total, left = len(choice.rows), choice.slots - choice.slot - 1
    ways = [math.comb(total - 1 - index, left) for index in range(total)]
    logs_A = torch.tensor([math.log(n) if n else -math.inf for n in ways], device=before_N.device)
    index_A = torch.arange(total, device=before_N.device)
    return torch.where(index_A > before_N[:, None], logs_A, -torch.inf)
