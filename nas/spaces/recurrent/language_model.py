"""What the language models of the recurrent space share: all around the cell, and the matrices of a cell.

Embedding, dropout with masks that are the same at every time step (Gal and Ghahramani 2016), and a decoder
whose matrix is the embedding's (Inan et al. 2017; Press and Wolf 2017), as in the authors' code for language
models.

Shapes: T time steps, B columns of the batch, V words, H hidden units, X width of an embedding, S width of a
state.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import require, require_whole

INIT_RANGE = 0.04
GATHERED_ROWS = 512
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda h: h,
}


@dataclass(frozen=True)
class Dropouts:
    """Probabilities of dropping, in training only; each mask is drawn once a sequence.

    Attributes:
        input: units of the embedded words, a mask per column.
        hidden: units of every state that a matrix of the cell multiplies, h of the step before among them;
            one mask per column for all of them.
        x: the same for the embedded words as the cell's input, after `input`.
        output: units of the cell's outputs before the decoder, a mask per column.
        embed: whole words, for all columns.

    Raises:
        ConfigError: a probability is not in [0, 1).
    """

    input: float = 0.0
    hidden: float = 0.0
    x: float = 0.0
    output: float = 0.0
    embed: float = 0.0

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            require(
                number and 0 <= value < 1,
                f"dropout_{field.name}={value}: must be a probability of at least 0 and below 1",
            )


class Masks(NamedTuple):
    """Masks of one sequence, divided by the probability of being kept; None where nothing is dropped."""

    words_V: Tensor | None = None
    input_BX: Tensor | None = None
    hidden_BH: Tensor | None = None
    output_BH: Tensor | None = None


class Extras(NamedTuple):
    """What regularisation of activations looks at (AR: `dropped_TBH`, TAR: `raw_TBH`; Merity et al. 2017)."""

    dropped_TBH: Tensor
    raw_TBH: Tensor


def keep_mask(shape: tuple[int, ...], dropout: float, like: Tensor) -> Tensor | None:
    """1 / (1 - dropout) with probability 1 - dropout, else 0; None without dropout."""
    if dropout == 0:
        return None
    return torch.empty(shape, dtype=like.dtype, device=like.device).bernoulli_(1 - dropout).div_(1 - dropout)


def times(value: Tensor, mask: Tensor | None) -> Tensor:
    """The product; the value itself without a mask."""
    return value if mask is None else value * mask


def add_times(total: Tensor, value: Tensor, mask: Tensor | None) -> None:
    """Adds the product to a total, in place; the value itself without a mask."""
    if mask is None:
        total.add_(value)
    else:
        total.addcmul_(value, mask)


def gathered_steps(steps: int, columns: int) -> int:
    """How many time steps one product gathers a matrix's gradient over; more would only take memory."""
    return max(1, min(steps, GATHERED_ROWS // columns))


@dataclass(frozen=True)
class Sizes:
    """What sizes a language model, and what it drops.

    Attributes:
        vocabulary: V.
        hidden_size: H.
        dropouts: probabilities of dropping.
        embedding_size: X; None for H.
        tied: whether the decoder's matrix is the embedding's, which takes X = H.

    Raises:
        ConfigError: a size is not positive, or the matrices cannot be tied.
    """

    vocabulary: int
    hidden_size: int
    dropouts: Dropouts
    embedding_size: int | None = None
    tied: bool = True

    @property
    def width(self) -> int:
        """X."""
        return self.hidden_size if self.embedding_size is None else self.embedding_size

    def __post_init__(self):
        sizes = {"vocabulary": self.vocabulary, "hidden_size": self.hidden_size, "embedding_size": self.width}
        for key, value in sizes.items():
            require_whole(key, value, 1)
        require(
            not self.tied or self.width == self.hidden_size,
            f"embedding_size={self.embedding_size}: a decoder that is tied to the embedding needs "
            f"hidden_size={self.hidden_size} of them; set embedding_size=null, or tied=false",
        )


class LanguageModel(nn.Module):
    """Embedding, dropout and decoder around something recurrent. A subclass says what that is.

    Embedding and decoder start uniform in +-0.04, the decoder's bias at 0.

    Attributes:
        state_size: S, width of what is passed on from step to step.
        embedding: [V, X].
        decoder: [V, H] where it is not tied.
        bias: of the decoder, [V].
    """

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.vocabulary = sizes.vocabulary
        self.hidden_size = self.state_size = sizes.hidden_size
        self.dropouts = sizes.dropouts
        self.embedding = _uniform(sizes.vocabulary, sizes.width)
        if not sizes.tied:
            self.decoder = _uniform(sizes.vocabulary, sizes.hidden_size)
        self.tied = sizes.tied
        self.bias = nn.Parameter(torch.zeros(sizes.vocabulary))

    def initial_hidden(self, columns: int) -> Tensor:
        """The state before the first word of a text, zeros [1, B, S]."""
        return self.embedding.new_zeros(1, columns, self.state_size)

    def draw_masks(self, columns: int) -> Masks:
        """Masks for one sequence; none at all outside training."""
        if not self.training:
            return Masks()
        rates, like = self.dropouts, self.embedding
        wide, narrow = (columns, like.shape[1]), (columns, self.hidden_size)
        word_V = keep_mask((self.vocabulary,), rates.embed, like)
        input_BX, x_BX = keep_mask(wide, rates.input, like), keep_mask(wide, rates.x, like)
        # Both multiply the same vectors and nothing else, so they are one.
        both_BX = input_BX if x_BX is None else times(x_BX, input_BX)
        return Masks(
            word_V,
            both_BX,
            keep_mask(narrow, rates.hidden, like),
            keep_mask(narrow, rates.output, like),
        )

    def _embed(self, tokens_TB: Tensor, masks: Masks) -> Tensor:
        """The embedded words as they enter the recurrent part, [T, B, X]."""
        x_TBX = F.embedding(tokens_TB, self.embedding)
        if masks.words_V is not None:
            x_TBX = x_TBX * masks.words_V[tokens_TB][..., None]
        return times(x_TBX, masks.input_BX)

    def _start(self, columns: int, hidden_1BS: Tensor | None) -> Tensor:
        """The hidden state that a sequence starts with, [1, B, S]."""
        if hidden_1BS is None:
            return self.initial_hidden(columns)
        wanted = (1, columns, self.state_size)
        require(
            tuple(hidden_1BS.shape) == wanted,
            f"hidden state of shape {tuple(hidden_1BS.shape)}, not {wanted}: the batch size has changed, or "
            "the network",
        )
        return hidden_1BS

    def _decode(self, raw_TBH: Tensor, last_1BS: Tensor, masks: Masks) -> tuple[Tensor, Tensor, Extras]:
        """Outputs at all steps and last state -> logits [T, B, V], last state [1, B, S], extras."""
        dropped_TBH = times(raw_TBH, masks.output_BH)
        logits_TBV = F.linear(dropped_TBH, self.embedding if self.tied else self.decoder, self.bias)
        return logits_TBV, last_1BS, Extras(dropped_TBH, raw_TBH)


class CellModel(LanguageModel):
    """A language model with the matrices of a recurrent cell. A subclass says what the cell does with them.

    Every weight starts uniform in +-0.04.

    Args:
        sizes: V, H, X and the dropouts.
        num_nodes: N, nodes of the cell after the first state.

    Attributes:
        first: what embedded word and previous output are multiplied by, one above the other, [X + H, 2H]:
            gate and candidate of the first state.
        weights: the same of every node, shared by all its possible predecessors, [N, H, 2H].
    """

    def __init__(self, sizes: Sizes, num_nodes: int):
        super().__init__(sizes)
        self.num_nodes = num_nodes
        self.first = _uniform(self.embedding.shape[1] + self.hidden_size, 2 * self.hidden_size)
        self.weights = _uniform(num_nodes, self.hidden_size, 2 * self.hidden_size)

    def _inputs(self, tokens_TB: Tensor, masks: Masks) -> Tensor:
        """What the words contribute to the first state's gate and candidate, at all steps, [T, B, 2H]."""
        return self._embed(tokens_TB, masks) @ self.first[: self.embedding.shape[1]]


def _uniform(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape).uniform_(-INIT_RANGE, INIT_RANGE))
