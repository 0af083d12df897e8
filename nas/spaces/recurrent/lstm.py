"""An LSTM as a language model: the baseline that a found recurrent cell is compared with.

All around it is `LanguageModel`, as around a searched cell, so that both networks differ in
what they do at a time step and in nothing else.

Shapes: T time steps, B columns of the batch, V words, H hidden units, X width of an embedding, S = 2H.
"""

import torch
from torch import Tensor, nn

from nas.genotype import Cell
from nas.spaces.recurrent.language_model import Extras, LanguageModel, Sizes

LSTM = "lstm"


def is_lstm(cell: Cell) -> bool:
    """Whether a cell stands for an LSTM: one node that carries `lstm`."""
    return len(cell.nodes) == 1 and cell.operations == {LSTM}


class LstmNetwork(LanguageModel):
    """torch's LSTM between the embedding and the decoder of the recurrent space.

    h is multiplied by one mask at all time steps before its matrix, as the states of a cell are. The LSTM
    starts as torch has it, uniform in +-1/sqrt(H). Its state is h and c side by side.
    """

    def __init__(self, sizes: Sizes):
        super().__init__(sizes)
        self.state_size = 2 * self.hidden_size
        self.lstm = nn.LSTM(self.embedding.shape[1], self.hidden_size)

    def forward(self, tokens_TB: Tensor, hidden_1BS: Tensor | None = None) -> tuple[Tensor, Tensor, Extras]:
        """Words -> logits [T, B, V], state [1, B, 2H], extras.

        Raises:
            ConfigError: the state has another shape.
        """
        columns = tokens_TB.shape[1]
        hidden_1BS = self._start(columns, hidden_1BS)
        masks = self.draw_masks(columns)
        x_TBX = self._embed(tokens_TB, masks)
        raw_TBH, last_1BS = self._over_time(x_TBX, hidden_1BS, masks.hidden_BH)
        return self._decode(raw_TBH, last_1BS, masks)

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
