"""What a source of text is, and how three files of words become streams of indices.

Shapes: N tokens of a stream.
"""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from nas.data.tokens import EOS, words_of
from nas.errors import ConfigError, require
from nas.reading import files as reading

PARTS = ("train", "valid", "test")
# Bytes of a file of words; the longest of WikiText-103 has 540 MB.
LONGEST = 2048 * reading.MEBIBYTE


class TextSource(Protocol):
    """A text in three parts that is known without being read.

    The attributes never touch the disk, so that a plan or a cost can be computed without the text. A stream
    is int64 [N], one index into the vocabulary a word, with `<eos>` after every line. The vocabulary is that
    of all three parts, so no part holds an index outside it. One that knows how many tokens its parts have
    says so in `num_tokens` (train, valid, test); otherwise a plan reads the text.
    """

    name: str
    vocabulary_size: int

    def train(self) -> Tensor:
        """Returns the training stream."""
        ...

    def valid(self) -> Tensor:
        """Returns the validation stream: what a search may learn the architecture from."""
        ...

    def test(self) -> Tensor:
        """Returns the test stream."""
        ...

    def words(self) -> tuple[str, ...]:
        """Returns the word of every index, in the order of first appearance."""
        ...


@dataclass(frozen=True)
class TextLayout:
    """Where the three files of a text may lie, what they must hold, and how to come by them.

    Args:
        title: what messages call the text
        folders: folders below the root that are looked into before the root itself
        patterns: names of the files, with {part} for train, valid and test; the first is the original one
        num_tokens: tokens of train, valid and test, one `<eos>` per line included; None for any number
        vocabulary_size: different words of the three together, `<eos>` included; None for any number
        remedy: how to get the right files, the end of every message
    """

    title: str
    folders: tuple[str, ...]
    patterns: tuple[str, ...]
    num_tokens: tuple[int, int, int] | None
    vocabulary_size: int | None
    remedy: str


@dataclass(frozen=True, eq=False)
class TextStreams:
    """The three streams, each int64 [N], and the word of every index."""

    train: Tensor
    valid: Tensor
    test: Tensor
    words: tuple[str, ...]


class TextFolder:
    """A text source that reads all three files on first use and keeps them.

    All three are read even where one is asked for, because the vocabulary is that of all of them.

    Args:
        name: what reports call the text
        root: folder of the text; a relative one is relative to the current working directory
        layout: where the files are below `root`, and what they must hold

    Attributes:
        num_tokens: of train, valid and test; files that hold another number are refused, None for any

    Raises:
        ConfigError: there is no root. From the methods: a file is missing, is not UTF-8 or holds another
            number of tokens or words than the published text.
    """

    def __init__(self, name: str, root: str | Path, layout: TextLayout):
        require(root is not None, "dataset.root: must name the folder that holds the text, not null")
        self.name = name
        self.root = Path(root)
        self.layout = layout
        self.num_tokens = layout.num_tokens
        self._streams: TextStreams | None = None

    @property
    def vocabulary_size(self) -> int:
        """As published, or counted."""
        known = self.layout.vocabulary_size
        return len(self.words()) if known is None else known

    def train(self) -> Tensor:
        """Returns the training stream [N]."""
        return self._load().train

    def valid(self) -> Tensor:
        """Returns the validation stream [N]."""
        return self._load().valid

    def test(self) -> Tensor:
        """Returns the test stream [N]."""
        return self._load().test

    def words(self) -> tuple[str, ...]:
        """Returns the word of every index."""
        return self._load().words

    def example(self) -> str | None:
        """The file of the test part; None where it is not there any more."""
        try:
            return str(find_parts(self.root, self.layout)[PARTS.index("test")])
        except ConfigError:
            return None

    def _load(self) -> TextStreams:
        if self._streams is None:
            self._streams = read_text(self.root, self.layout)
        return self._streams


def read_text(root: Path, layout: TextLayout) -> TextStreams:
    """Finds, reads and checks the three files of a text.

    Words are what blanks separate. They are numbered as they first appear in train, valid and test, as in
    the DARTS code.

    Raises:
        ConfigError: as for `TextFolder`.
    """
    paths = find_parts(root, layout)
    index: dict[str, int] = {}
    streams = []
    for path, expected in zip(paths, layout.num_tokens or (None,) * len(PARTS), strict=True):
        words = words_of(read_part(path, layout))
        require(
            expected in (None, len(words)),
            f"dataset.root: {path} holds {len(words):,} tokens (one {EOS} a line included) instead of the "
            f"{expected or 0:,} of {layout.title}; {layout.remedy}",
        )
        for word in dict.fromkeys(words):
            index.setdefault(word, len(index))
        indices = np.fromiter(map(index.__getitem__, words), np.int64, len(words))
        streams.append(torch.from_numpy(indices))
    require(
        layout.vocabulary_size in (None, len(index)),
        f"dataset.root: the three files in {paths[0].parent} hold {len(index):,} different words ({EOS} "
        f"included) instead of the {layout.vocabulary_size or 0:,} of {layout.title}; {layout.remedy}",
    )
    train, valid, test = streams
    return TextStreams(train, valid, test, tuple(index))


def find_parts(root: Path, layout: TextLayout) -> list[Path]:
    """Returns the three files of a text, of the first folder and pattern of which any is there.

    Raises:
        ConfigError: one is missing, or all are.
    """
    root = root.expanduser().resolve()
    # Specific names and folders come first: a train.txt in the root may be another text's.
    for pattern, folder in product(layout.patterns, (*layout.folders, ".")):
        paths = [root / folder / pattern.format(part=part) for part in PARTS]
        if any(path.is_file() for path in paths):
            for path in paths:
                where = f"{path.name} is missing from {path.parent}"
                require(path.is_file(), f"dataset.root: {where}; {layout.remedy}")
            return paths
    names = " or ".join(pattern.format(part="train") for pattern in layout.patterns)
    below = f" or in its folders {', '.join(layout.folders)}" if layout.folders else ""
    raise ConfigError(
        f"dataset.root: there is no {layout.title} in {root}: no {names} there{below}; {layout.remedy}"
    )


def read_part(path: Path, layout: TextLayout) -> str:
    """Returns one of the files, with line feeds as ends of lines.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8.
    """
    try:
        return reading.read_text(path, f"dataset.root: {path}", LONGEST)
    except ConfigError as error:
        raise ConfigError(f"{error}; {layout.remedy}") from error
