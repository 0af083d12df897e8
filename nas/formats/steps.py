"""Language models as others use them: one step, with the state as input and output.

Each class is its evaluation network with the same names of parameters, so weights pass from one to the other.
A text is read word by word: `logits, state = step(tokens, state)`, from a state of zeros.

Shapes: B columns of the batch, V words, H hidden units, X width of an embedding, S numbers of a state.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import require
from nas.formats.description import TextDescription
from nas.genotype import Genotype, check_operations
from nas.spaces.recurrent.language_model import FUNCTIONS, Dropouts, LanguageModel, Sizes
from nas.spaces.recurrent.lstm import LSTM, LstmNetwork, is_lstm
from nas.spaces.recurrent.network import RecurrentNetwork

FAMILY = "darts_rnn"
CELL = "recurrent"


class CellStep(RecurrentNetwork):
    """One step of the network of a recurrent cell (Liu et al. 2019, section 3.1.2)."""

    def forward(self, tokens_B: Tensor, state_BS: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Words int64 [B] and state [B, H] -> logits of the next word [B, V] and the state after it."""
        x_BX = F.embedding(tokens_B, self.embedding)
        states = [_highway("tanh", state_BS, torch.cat((x_BX, state_BS), dim=-1) @ self.first)]
        for node, (edge,) in enumerate(self.genotype[CELL].nodes):
            source_BH = states[edge.source]
            states.append(_highway(edge.operation, source_BH, source_BH @ self.weights[node]))
        raw_BH = torch.stack([states[node] for node in self.genotype[CELL].output]).mean(dim=0)
        return _decoded(self, raw_BH), raw_BH


class LstmStep(LstmNetwork):
    """One step of the baseline LSTM; its state is h and c side by side."""

    def forward(self, tokens_B: Tensor, state_BS: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Words int64 [B] and state [B, 2H] -> logits of the next word [B, V] and the state after it."""
        h_BH, c_BH = state_BS.chunk(2, dim=-1)
        x_BX = F.embedding(tokens_B, self.embedding)
        lstm: Any = self.lstm  # torch declares no types for its matrices
        from_word = F.linear(x_BX, lstm.weight_ih_l0, lstm.bias_ih_l0)
        gates = from_word + F.linear(h_BH, lstm.weight_hh_l0, lstm.bias_hh_l0)
        input_BH, forget_BH, cell_BH, output_BH = gates.chunk(4, dim=-1)
        c_BH = forget_BH.sigmoid() * c_BH + input_BH.sigmoid() * cell_BH.tanh()
        h_BH = output_BH.sigmoid() * c_BH.tanh()
        return _decoded(self, h_BH), torch.cat((h_BH, c_BH), dim=-1)


def _highway(operation: str, state_BH: Tensor, product_B2H: Tensor) -> Tensor:
    """One highway step: state + sigmoid(gate) * (operation(candidate) - state)."""
    gate_BH, candidate_BH = product_B2H.chunk(2, dim=-1)
    return state_BH + gate_BH.sigmoid() * (FUNCTIONS[operation](candidate_BH) - state_BH)


def _decoded(network: LanguageModel, raw_BH: Tensor) -> Tensor:
    return F.linear(raw_BH, network.embedding if network.tied else network.decoder, network.bias)


def state_size_of(genotype: Genotype, hidden_size: int) -> int:
    """S of a network: h alone, or h and c of an LSTM."""
    return 2 * hidden_size if is_lstm(genotype[CELL]) else hidden_size


def build_step(description: TextDescription) -> nn.Module:
    """The described step with random weights, in evaluation mode.

    Raises:
        ConfigError: the genotype is of another space, or a size does not fit.
    """
    genotype, hidden = description.genotype, description.hidden_size
    require(
        genotype.space == FAMILY and CELL in genotype,
        f"genotype: it belongs to space {genotype.space!r}, and of networks of text {FAMILY!r} is exported",
    )
    cell = genotype[CELL]
    check_operations(genotype, (LSTM,) if is_lstm(cell) else FUNCTIONS)
    require(
        cell.inputs == 1 and all(len(edges) == 1 for edges in cell.nodes),
        "genotype: a recurrent cell has one input, and every node one predecessor",
    )
    require(
        description.state_size == state_size_of(genotype, hidden),
        f"state_size={description.state_size}: this cell of hidden_size={hidden} has another",
    )
    embedding = None if description.embedding_size == hidden else description.embedding_size
    sizes = Sizes(description.vocabulary, hidden, Dropouts(), embedding, description.tied)
    network = LstmStep(sizes) if is_lstm(cell) else CellStep(sizes, genotype)
    return network.eval()
