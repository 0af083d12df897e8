"""Which tokens a search or an evaluation of a language model uses, decided once and independent of the seed.

Shapes: N tokens of a stream.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nas.data.checks import read_tokens
from nas.data.split import hash_indices, share_of
from nas.data.text import TextSource
from nas.errors import require

MODES = ("valid", "ordered")


@dataclass(frozen=True, eq=False)
class TextPart:
    """A run of consecutive tokens of one part of a text.

    Args:
        part: `train` or `valid`
        start: index of the first token in that part
        tokens_N: the tokens, int64 [N]
    """

    part: str
    start: int
    tokens_N: Tensor

    def to_dict(self) -> dict:
        """Returns the name of the part and [start, stop), for JSON."""
        return {"part": self.part, "tokens": [self.start, self.start + len(self.tokens_N)]}

    def told(self) -> str:
        """The number of tokens, and of which part, in words."""
        return f"{len(self.tokens_N):,} tokens of {self.part}"


@dataclass(frozen=True, eq=False)
class TextSplit:
    """The two streams of a search: `weight` trains the network, `architecture` the architecture."""

    weight: TextPart
    architecture: TextPart

    def joined(self) -> "TextSplit":
        """No split: the stream of the weights in either part."""
        return TextSplit(self.weight, self.weight)

    @property
    def hash(self) -> str:
        """Sha256 in hex of both streams: another text or another cut has another one."""
        return hash_indices(self.weight.tokens_N, self.architecture.tokens_N)

    def to_dict(self) -> dict:
        """Returns where the streams were cut and their hash, for JSON; not the tokens."""
        return {
            "weight": self.weight.to_dict(),
            "architecture": self.architecture.to_dict(),
            "hash": self.hash,
        }


def text_split(source: Any, mode: str = "valid", ratio: float = 0.5, fraction: float = 1.0) -> TextSplit:
    """Returns the two streams of a search.

    Args:
        source: the text, or what has its `train`, `valid` and `vocabulary_size`
        mode: `valid`: weights on the training part, architecture on the validation part, as DARTS does on
            the Penn Treebank; `ordered`: both on the training part, first and last piece of it
        ratio: share of the weight stream where the training part is divided, strictly between 0 and 1; of
            no effect on `valid`
        fraction: share of the training part to use, in (0, 1]: the first tokens of the stream, or, where it
            is divided, of each of its two streams; the validation part is never cut

    Raises:
        ConfigError: an argument is out of range, or a stream would be empty.
    """
    require(mode in MODES, f"dataset.split: must be one of {', '.join(MODES)} for a text, not {mode!r}")
    require(0 < ratio < 1, f"dataset.split_ratio: must be between 0 and 1, both excluded, not {ratio}")
    train_N = read_tokens(source, "train")
    if mode == "valid":
        weight = TextPart("train", 0, head(train_N, fraction))
        architecture = TextPart("valid", 0, read_tokens(source, "valid"))
    else:
        cut = share_of(len(train_N), ratio)
        weight = TextPart("train", 0, head(train_N[:cut], fraction))
        architecture = TextPart("train", cut, head(train_N[cut:], fraction))
    return TextSplit(weight, architecture)


def text_subset(source: TextSource, fraction: float = 1.0) -> tuple[tuple[TextPart, TextPart], str]:
    """Returns the training and validation streams of an evaluation and their hash.

    Args:
        source: the text
        fraction: share of the training part to use, in (0, 1]: its first tokens

    Raises:
        ConfigError: `fraction` is out of range or leaves no token.
    """
    train = TextPart("train", 0, head(read_tokens(source, "train"), fraction))
    valid = TextPart("valid", 0, read_tokens(source, "valid"))
    return (train, valid), hash_indices(train.tokens_N, valid.tokens_N)


def head(stream_N: Tensor, fraction: float) -> Tensor:
    """Returns the first `fraction` of a stream, rounded down.

    Raises:
        ConfigError: `fraction` is not above 0 and at most 1, or leaves no token.
    """
    require(0 < fraction <= 1, f"dataset.fraction: must be above 0 and at most 1, not {fraction}")
    kept_N = stream_N[: share_of(len(stream_N), fraction)]
    require(len(kept_N) > 0, f"dataset.fraction={fraction} leaves no token of {len(stream_N)}")
    return kept_N
