"""A trained language model: text in, the next words or characters with probabilities out.

Shapes: B columns of a batch, V tokens of the vocabulary, S numbers of a state, T tokens of a text.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.analysis.metrics import bits_of
from nas.api.exporting import export
from nas.data.tokens import CHARACTERS, EOS, TOKENIZERS, UNKNOWN, without_mark
from nas.errors import require
from nas.formats.comparison import predict_text
from nas.formats.description import TextDescription
from nas.printable import listed, printable

CHECKED_ON = (8, 3)  # tokens in columns


@dataclass(frozen=True)
class NextWords:
    """What a network expects after a word, or a character, of a text.

    Attributes:
        after: the word, as the vocabulary has it.
        probabilities: the likeliest next words -> probability, the likeliest first.
    """

    after: str
    probabilities: Mapping[str, float]


class LanguageModel(nn.Module):
    """A network of text, read token by token.

    A token is a word (what blanks separate, and `<eos>` for the end of a line) or a character (line feeds and
    blanks too), as `description.tokenizer` says.

    Attributes:
        network: one step, (tokens int64 [B], state [B, S]) -> (logits of the next one [B, V], state [B, S]).
        description: its cell, sizes and words, as exported files carry them.
        words: the token of every output; their numbers as texts where none are known.
    """

    def __init__(self, network: nn.Module, description: TextDescription):
        super().__init__()
        self.network, self.description = network, description
        self.words = description.words or tuple(str(number) for number in range(description.vocabulary))
        self.eval()

    def forward(self, tokens_B: Tensor, state_BS: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One token for each column, and the state before it (None: of a beginning) -> logits, state."""
        if state_BS is None:
            like = next(self.network.parameters())
            state_BS = like.new_zeros(len(tokens_B), self.description.state_size)
        return self.network(tokens_B, state_BS)

    def tokens(self, text: str) -> Tensor:
        """The numbers of the tokens of a text, int64 [T]; one that is not known is `<unk>`.

        Raises:
            ConfigError: the text holds no token, or a strange one where the vocabulary has no `<unk>`.
        """
        text = without_mark(text).replace("\r\n", "\n").replace("\r", "\n")
        characters = self.description.tokenizer == CHARACTERS
        found = list(text) if characters else text.replace("\n", f" {EOS} ").split()
        require(len(found) > 0, f"text: holds no {self._token}")
        other = UNKNOWN if UNKNOWN in self._index else None
        strange = [one for one in dict.fromkeys(found) if one not in self._index]
        require(
            not strange or other is not None,
            f"text: {listed([printable(one) for one in strange])} is not among the {len(self.words):,} "
            f"{self.description.unit} of this network, which has no {UNKNOWN} for others",
        )
        return torch.tensor([self._index.get(one, self._index.get(UNKNOWN, 0)) for one in found])

    @property
    def _token(self) -> str:
        return TOKENIZERS[self.description.tokenizer]

    @cached_property
    def _index(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def predict(self, text: str, count: int = 5) -> list[NextWords]:
        """The likeliest next tokens after each token of a text.

        Args:
            text: words with blanks between them, whose lines end with `<eos>`; or any characters.
            count: how many next tokens.

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
        """Exp of the mean cross-entropy in nats of each token but the first, after those before it.

        Raises:
            ConfigError: as `tokens`, or there is one token alone.
        """
        return math.exp(self._loss(text))

    def bits(self, text: str) -> float:
        """The same cross-entropy in bits: of a network of characters the bits per character.

        Raises:
            ConfigError: as `perplexity`.
        """
        return bits_of(self._loss(text))

    def _loss(self, text: str) -> float:
        tokens_T = self.tokens(text)
        require(len(tokens_T) > 1, f"text: holds one {self._token}, after which nothing comes")
        return float(F.nll_loss(self._read(tokens_T)[:-1], tokens_T[1:]))

    @torch.no_grad()
    def _read(self, tokens_T: Tensor) -> Tensor:
        """Log probabilities of the next token after each of a text [T, V], on the CPU."""
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
