"""A trained language model: text in, the next words with probabilities out.

Shapes: B columns of a batch, V words, S numbers of a state, T words of a text.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.api.exporting import export
from nas.errors import require
from nas.formats.comparison import predict_text
from nas.formats.description import TextDescription
from nas.printable import listed

EOS, UNKNOWN = "<eos>", "<unk>"
CHECKED_ON = (8, 3)  # words in columns


@dataclass(frozen=True)
class NextWords:
    """What a network expects after a word of a text.

    Attributes:
        after: the word, as the vocabulary has it.
        probabilities: the likeliest next words -> probability, the likeliest first.
    """

    after: str
    probabilities: Mapping[str, float]


class LanguageModel(nn.Module):
    """A network of text, read word by word: what blanks separate, and `<eos>` for the end of a line.

    Attributes:
        network: one step, (words int64 [B], state [B, S]) -> (logits of the next word [B, V], state [B, S]).
        description: its cell, sizes and words, as exported files carry them.
        words: the word of every output; their numbers as texts where no words are known.
    """

    def __init__(self, network: nn.Module, description: TextDescription):
        super().__init__()
        self.network, self.description = network, description
        self.words = description.words or tuple(str(number) for number in range(description.vocabulary))
        self.eval()

    def forward(self, tokens_B: Tensor, state_BS: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One word for each column, and the state before it (None: of a beginning) -> logits, state."""
        if state_BS is None:
            like = next(self.network.parameters())
            state_BS = like.new_zeros(len(tokens_B), self.description.state_size)
        return self.network(tokens_B, state_BS)

    def tokens(self, text: str) -> Tensor:
        """The numbers of the words of a text, int64 [T]; a word that is not known is `<unk>`.

        Raises:
            ConfigError: the text holds no word, or one that is not known where the vocabulary has no `<unk>`.
        """
        found = text.replace("\n", f" {EOS} ").split()
        require(len(found) > 0, "text: holds no word")
        other = UNKNOWN if UNKNOWN in self._index else None
        strange = [one for one in dict.fromkeys(found) if one not in self._index]
        require(
            not strange or other is not None,
            f"text: {listed(strange)} is not among the {len(self.words):,} words of this network, which has "
            "no "
            f"{UNKNOWN} for others",
        )
        return torch.tensor([self._index.get(one, self._index.get(UNKNOWN, 0)) for one in found])

    @cached_property
    def _index(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def predict(self, text: str, count: int = 5) -> list[NextWords]:
        """The likeliest next words after each word of a text.

        Args:
            text: words with blanks between them; lines end with `<eos>`.
            count: how many next words.

        Raises:
            ConfigError: as `tokens`.
        """
        require(count >= 1, f"count={count}: must be at least 1")
        tokens_T = self.tokens(text)
        best = self._read(tokens_T).topk(min(count, len(self.words)), dim=1)
        rows = zip(tokens_T.tolist(), best.values.exp().tolist(), best.indices.tolist(), strict=True)
        return [
            NextWords(
                self.words[token],
                {self.words[index]: share for index, share in zip(indices, shares, strict=True)},
            )
            for token, shares, indices in rows
        ]

    def perplexity(self, text: str) -> float:
        """Exp of the mean cross-entropy in nats of each word but the first, after those before it.

        Raises:
            ConfigError: as `tokens`, or there is one word alone.
        """
        tokens_T = self.tokens(text)
        require(len(tokens_T) > 1, "text: holds one word, after which nothing comes")
        return math.exp(float(F.nll_loss(self._read(tokens_T)[:-1], tokens_T[1:])))

    @torch.no_grad()
    def _read(self, tokens_T: Tensor) -> Tensor:
        """Log probabilities of the next word after each of a text [T, V], on the CPU."""
        training, state_1S, found = self.training, None, []
        self.eval()
        try:
            for token in tokens_T.to(next(self.network.parameters()).device):
                logits_1V, state_1S = self(token[None], state_1S)
                found.append(logits_1V.log_softmax(dim=1).cpu())
        finally:
            self.train(training)
        return torch.cat(found)

    def export(self, path: str | Path, format: str | None = None, opset: int = 18) -> Path:
        """Writes the step for other programs; the words are in the file. See `nas.Model.export`."""
        size, state_size = CHECKED_ON, self.description.state_size
        tokens_TB = torch.randint(len(self.words), size, generator=torch.Generator().manual_seed(0))
        return export(
            self.network, self.description, path, format, opset,
            lambda step: predict_text(step, tokens_TB, state_size),
        )  # fmt: skip
