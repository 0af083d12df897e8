"""The recurrent networks of DARTS written down literally: one product per edge and time step, zeros computed.

Slow on purpose. `nas.spaces.recurrent.supernet` and `nas.spaces.recurrent.network` must agree with it in
float64. Parameters carry the same names in both, but for `weights`, which is a list here. Masks are arguments
here, so that both can be given the same ones: `masks` holds `rows` [V], `input` and `x` [B, H], `hidden` and
`output` [B, H], each already divided by the probability of being kept; one that is missing drops nothing.
"""

import torch
from torch import nn
from torch.nn import functional as F

FUNCTIONS = {
    "tanh": torch.tanh,
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda h: h,
}


def highway(s, ch, function):
    """s + sigmoid(c) * (f(h) - s), where c and h are the two halves of `ch`."""
    c, h = ch.chunk(2, dim=-1)
    return s + torch.sigmoid(c) * (function(h) - s)


class LiteralModel(nn.Module):
    """Embedding, cell over time, tied decoder; `cell(h, masks, op_weights)` is the subclass's."""

    def __init__(self, vocabulary, hidden_size, num_nodes):
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(vocabulary, hidden_size).uniform_(-0.04, 0.04))
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.first = nn.Parameter(torch.empty(2 * hidden_size, 2 * hidden_size).uniform_(-0.04, 0.04))
        self.weights = nn.ParameterList(
            torch.empty(hidden_size, 2 * hidden_size).uniform_(-0.04, 0.04) for _ in range(num_nodes)
        )

    def forward(self, tokens, op_weights=None, hidden=None, masks=None):
        masks = masks or {}
        columns, size = tokens.shape[1], len(self.first) // 2
        h = self.embedding.new_zeros(columns, size) if hidden is None else hidden[0]
        embedded = F.embedding(tokens, self.embedding) * masks.get("input", 1) * masks.get("x", 1)
        if "rows" in masks:
            embedded = embedded * masks["rows"][tokens][..., None]
        raw = []
        for x in embedded:
            ch = torch.cat([x, h * masks.get("hidden", 1)], dim=-1) @ self.first
            h = self.cell(highway(h, ch, torch.tanh), masks.get("hidden", 1), op_weights)
            raw.append(h)
        raw = torch.stack(raw)
        dropped = raw * masks.get("output", 1)
        return F.linear(dropped, self.embedding, self.bias), raw[-1:], dropped, raw


class LiteralSupernet(LiteralModel):
    """Every candidate of every edge on its own; one batch norm for all states."""

    def __init__(self, operations, vocabulary, hidden_size, num_nodes=8):
        super().__init__(vocabulary, hidden_size, num_nodes)
        self.operations = operations
        self.norm = nn.BatchNorm1d(hidden_size, affine=False)

    def cell(self, s0, mask, op_weights):
        states = [self.norm(s0)]
        row = 0
        for weight in self.weights:
            total = torch.zeros_like(s0)
            for state in states:
                ch = (state * mask) @ weight
                for column, name in enumerate(self.operations):
                    if name != "none":
                        total = total + op_weights[row, column] * highway(state, ch, FUNCTIONS[name])
                row += 1
            states.append(self.norm(total))
        return sum(states[1:]) / len(self.weights)


class LiteralNetwork(LiteralModel):
    """The cell of a genotype: one predecessor and one operation a node, no batch norm."""

    def __init__(self, genotype, vocabulary, hidden_size):
        cell = genotype["recurrent"]
        super().__init__(vocabulary, hidden_size, len(cell.nodes))
        self.genotype_cell = cell

    def cell(self, s0, mask, op_weights):
        states = [s0]
        for (edge,), weight in zip(self.genotype_cell.nodes, self.weights, strict=True):
            state = states[edge.source]
            states.append(highway(state, (state * mask) @ weight, FUNCTIONS[edge.operation]))
        return sum(states[node] for node in self.genotype_cell.output) / len(self.genotype_cell.output)


def load_literal(fast, literal):
    """Gives the fast network the parameters and statistics of the literal one."""
    with torch.no_grad():
        for name, target in fast.state_dict(keep_vars=True).items():
            value = torch.stack(list(literal.weights)) if name == "weights" else literal.state_dict()[name]
            target.copy_(value)
