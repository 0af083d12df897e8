"""How a text becomes tokens: the words that blanks separate, or its characters.

Shapes: N tokens of a stream.
"""

from collections import Counter

import numpy as np
import torch
from torch import Tensor

from nas.errors import ConfigError

EOS, UNKNOWN = "<eos>", "<unk>"
WORDS, CHARACTERS = "words", "characters"
# By what `dataset.tokenizer` says: what messages call a token.
TOKENIZERS = {WORDS: "word", CHARACTERS: "character"}
# One more than the greatest code point of Unicode.
CODE_POINTS = 0x110000


def check_tokenizer(name: object, where: str) -> str:
    """A tokenizer by its name.

    Raises:
        ConfigError: there is none of this name; the message begins with `where`.
    """
    if not isinstance(name, str) or name not in TOKENIZERS:
        raise ConfigError(f"{where}={name!r}: must be one of {', '.join(TOKENIZERS)}")
    return name


def words_of(text: str) -> list[str]:
    """What blanks separate, with `<eos>` after every line."""
    text = without_mark(text)
    # The last line counts even if nothing ends it.
    if text and not text.endswith("\n"):
        text += "\n"
    return text.replace("\n", f" {EOS} ").split()


def tokens_of(text: str, tokenizer: str) -> list[str]:
    """The tokens of a whole text: words with `<eos>` after every line, or characters with line feeds."""
    return words_of(text) if tokenizer == WORDS else list(without_mark(text))


def without_mark(text: str) -> str:
    """A text without the mark that some editors begin a file with, which is no part of its first word."""
    return text.removeprefix("\ufeff")


def code_points(text: str) -> np.ndarray:
    """The characters of a text by number, uint32 [N]."""
    return np.frombuffer(text.encode("utf-32-le"), np.dtype("<u4"))


class Alphabet:
    """The different characters of a text, in the order of their code points, and `<unk>` for all others.

    `<unk>` is the last one. A text that the characters were taken from has none of it, so that networks learn
    nothing about it; it lets them read on.

    Args:
        text: that the characters are taken from.

    Attributes:
        words: the character of every index.
    """

    def __init__(self, text: str):
        present = np.zeros(CODE_POINTS, bool)
        present[code_points(text)] = True
        known = np.flatnonzero(present)
        self.words = (*map(chr, known.tolist()), UNKNOWN)
        self._places = np.full(CODE_POINTS, len(known), np.int64)
        self._places[known] = np.arange(len(known))

    def read(self, text: str) -> tuple[Tensor, Counter[str]]:
        """A text as indices int64 [N], and how often it has each character that is not known."""
        points = code_points(text)
        places = self._places[points]
        strange, counts = np.unique(points[places == len(self.words) - 1], return_counts=True)
        return torch.from_numpy(places), Counter(
            dict(zip(map(chr, strange.tolist()), counts.tolist(), strict=True))
        )
