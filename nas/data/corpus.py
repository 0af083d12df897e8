"""Text of one's own: three files of any length, read as words or as characters."""

import logging
from pathlib import Path

from nas.data.found import Found
from nas.data.text import PARTS, TextFolder, TextLayout, TextStreams, find_parts, read_part
from nas.data.tokens import CHARACTERS, UNKNOWN, WORDS, Alphabet, check_tokenizer, without_mark
from nas.errors import ConfigError, require
from nas.printable import listed, printable

log = logging.getLogger(__name__)
LAYOUT = TextLayout(
    title="text in three parts",
    folders=(),
    # Names of one's own, and those that published texts have.
    patterns=("{part}.txt", "wiki.{part}.tokens", "ptb.{part}.txt"),
    num_tokens=None,
    vocabulary_size=None,
    remedy="put train.txt, valid.txt and test.txt, UTF-8, into dataset.root",
)


class Corpus(TextFolder):
    """The text of `root/train.txt`, `valid.txt` and `test.txt`; its length and vocabulary are counted.

    Words are what blanks separate, a line ends with `<eos>`, and the vocabulary is that of all three files,
    as for the published texts. Characters are Unicode's code points, blanks and line feeds among them; the
    vocabulary is that of the training file and `<unk>`, which stands for all that this file lacks.

    Args:
        root: the folder of the three files; a relative one is relative to the current working directory
        name: what the data set is called in reports
        tokenizer: what a token is, `words` or `characters`

    Raises:
        ConfigError: there is no root, or no such tokenizer. From the methods: as of `TextFolder`.
    """

    def __init__(self, root: str | Path | None, name: str = "corpus", tokenizer: str = WORDS):
        if root is None:
            raise ConfigError("dataset.root=null: name the folder of your text, such as dataset.root=stories")
        self.tokenizer = check_tokenizer(tokenizer, "dataset.tokenizer")
        super().__init__(name, root, LAYOUT)

    def _load(self) -> TextStreams:
        if self._streams is not None:
            return self._streams
        found = self._characters() if self.tokenizer == CHARACTERS else super()._load()
        self._streams = found
        return found

    def found(self) -> Found:
        """What lies there: the length of the parts, the size of the vocabulary and how it is read."""
        streams = self._load()
        paths = find_parts(self.root, self.layout)
        texts = (("training", streams.train), ("validation", streams.valid), ("test", streams.test))
        rows = [
            (f"{part} text", f"{len(tokens_N):,} tokens, in {path.name}")
            for (part, tokens_N), path in zip(texts, paths, strict=True)
        ]
        words = self.tokenizer == WORDS
        also = "all three files" if words else f"the training text, and {UNKNOWN} for others"
        rows.append(("vocabulary", f"{len(streams.words):,} {self.tokenizer} of {also}"))
        rows.append(("read as", "words, <eos> at the end of a line" if words else "code points of Unicode"))
        return Found(f"dataset {self.name}: {paths[0].parent}", tuple(rows))

    def _characters(self) -> TextStreams:
        paths = find_parts(self.root, self.layout)
        texts = [without_mark(read_part(path, self.layout)) for path in paths]
        for path, text in zip(paths, texts, strict=True):
            require(len(text) > 0, f"dataset.root: {path} holds no character; {self.layout.remedy}")
        alphabet, streams = Alphabet(texts[0]), []
        for part, path, text in zip(PARTS, paths, texts, strict=True):
            tokens_N, strange = alphabet.read(text)
            streams.append(tokens_N)
            if strange:
                most = [f"'{printable(one)}' ({count})" for one, count in strange.most_common()]
                log.warning(
                    "warning: %s: %s of %s characters (%s different) are not in the training text and read "
                    "as %s: %s",
                    path.name if path.stem == part else path, f"{strange.total():,}", f"{len(text):,}",
                    f"{len(strange):,}", UNKNOWN, listed(most),
                )  # fmt: skip
        train_N, valid_N, test_N = streams
        return TextStreams(train_N, valid_N, test_N, alphabet.words)
