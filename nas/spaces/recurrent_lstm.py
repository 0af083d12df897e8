"""An LSTM as a language model: the baseline that a found recurrent cell is compared with.

All around it is as in `recurrent_parts.LanguageModel`, so that both networks differ in what they do at a time
step and in nothing else.

Shapes: T time steps, B columns of the batch, V words, H hidden units, X width of an embedding, S = 2H.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import require
from nas.genotype import Cell
from nas.spaces.recurrent_parts import INIT_RANGE, Dropouts, Extras, Masks, keep_mask, times

LSTM = "lstm"


def is_lstm(cell: Cell) -> bool:
    """Whether a cell stands for an LSTM: one node that carries `lstm`."""
    return len(cell.nodes) == 1 and cell.operations == {LSTM}


class LstmNetwork(nn.Module):
    """torch's LSTM between the embedding and the decoder of the recurrent space.

    The same masks as around a searched cell, drawn in the same order: h is multiplied by one mask at all time
    steps before its matrix, as the states of a cell are. Embedding and decoder start uniform in +-0.04 too,
    the LSTM as torch has it, uniform in +-1/sqrt(H).

    Args:
        vocabulary: V.
        hidden_size: H.
        dropouts: probabilities of dropping.
        embedding_size: X; None for H.
        tied: whether the decoder's matrix is the embedding's, which takes X = H.

    Raises:
        ConfigError: a size is not positive, or the matrices cannot be tied.
    """

    def __init__(
        self,
        vocabulary: int,
        hidden_size: int,
        dropouts: Dropouts,
        embedding_size: int | None = None,
        tied: bool = True,
    ):
        super().__init__()
        embedding_size = hidden_size if embedding_size is None else embedding_size
        sizes = {"vocabulary": vocabulary, "hidden_size": hidden_size, "embedding_size": embedding_size}
        for key, value in sizes.items():
            require(
                isinstance(value, int) and value >= 1,
                f"{key}={value}: must be a whole number of at least 1",
            )
        require(
            not tied or embedding_size == hidden_size,
            f"embedding_size={embedding_size}: a decoder that is tied to the embedding needs hidden_size="
            f"{hidden_size} of them; set embedding_size=null, or tied=false",
        )
        self.vocabulary = vocabulary
        self.hidden_size = hidden_size
        self.dropouts = dropouts
        self.tied = tied
        self.embedding = nn.Parameter(torch.empty(vocabulary, embedding_size))
        if not tied:
            self.decoder = nn.Parameter(torch.empty(vocabulary, hidden_size))
        for matrix in self.parameters():
            nn.init.uniform_(matrix, -INIT_RANGE, INIT_RANGE)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.lstm = nn.LSTM(embedding_size, hidden_size)

    def initial_hidden(self, columns: int) -> Tensor:
        """The state before the first word of a text, zeros [1, B, 2H]: h and c side by side."""
        return self.embedding.new_zeros(1, columns, 2 * self.hidden_size)

    def draw_masks(self, columns: int) -> Masks:
        """Masks for one sequence; none at all outside training."""
        if not self.training:
            return Masks()
        rates, like = self.dropouts, self.embedding
        wide, narrow = (columns, like.shape[1]), (columns, self.hidden_size)
        word_V = keep_mask((self.vocabulary,), rates.embed, like)
        input_BX, x_BX = keep_mask(wide, rates.input, like), keep_mask(wide, rates.x, like)
        return Masks(
            word_V,
            input_BX if x_BX is None else times(x_BX, input_BX),
            keep_mask(narrow, rates.hidden, like),
            keep_mask(narrow, rates.output, like),
        )

    def forward(self, tokens_TB: Tensor, hidden_1BS: Tensor | None = None) -> tuple[Tensor, Tensor, Extras]:
        """Words -> logits [T, B, V], state [1, B, 2H], extras.

        Raises:
            ConfigError: the state has another shape.
        """
        columns = tokens_TB.shape[1]
        if hidden_1BS is None:
            hidden_1BS = self.initial_hidden(columns)
        wanted = (1, columns, 2 * self.hidden_size)
        require(
            tuple(hidden_1BS.shape) == wanted,
            f"hidden state of shape {tuple(hidden_1BS.shape)}, not {wanted}: the batch size has changed, or "
            "the network",
        )
        masks = self.draw_masks(columns)
        x_TBX = F.embedding(tokens_TB, self.embedding)
        if masks.words_V is not None:
            x_TBX = x_TBX * masks.words_V[tokens_TB][..., None]
        raw_TBH, last_1BS = self._over_time(times(x_TBX, masks.input_BX), hidden_1BS, masks.hidden_BH)
        dropped_TBH = times(raw_TBH, masks.output_BH)
        logits_TBV = F.linear(dropped_TBH, self.embedding if self.tied else self.decoder, self.bias)
        return logits_TBV, last_1BS, Extras(dropped_TBH, raw_TBH)

    def _over_time(self, x_TBX: Tensor, hidden_1BS: Tensor, mask_BH: Tensor | None) -> tuple[Tensor, Tensor]:
        h_1BH, c_1BH = (part.contiguous() for part in hidden_1BS.chunk(2, dim=-1))
        if mask_BH is None:
            raw_TBH, state = self.lstm(x_TBX, (h_1BH, c_1BH))
            return raw_TBH, torch.cat(state, dim=-1)
        outputs = []
        # torch's LSTM lets nothing come between two time steps, and the mask has to.
        for x_1BX in x_TBX.split(1):
            h_1BH, (_, c_1BH) = self.lstm(x_1BX, (h_1BH * mask_BH, c_1BH))
            outputs.append(h_1BH)
        return torch.cat(outputs), torch.cat((h_1BH, c_1BH), dim=-1)
