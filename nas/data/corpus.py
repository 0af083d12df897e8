"""Text of one's own: three files of words, of any length."""

import logging
from pathlib import Path

from nas.data.text import TextFolder, TextLayout, TextStreams
from nas.errors import ConfigError

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
    """Words of `root/train.txt`, `valid.txt` and `test.txt`; their number and the vocabulary are counted.

    Words are what blanks separate, a line ends with `<eos>`, and the vocabulary is that of all three files,
    as for the published texts.

    Args:
        root: the folder of the three files; a relative one is relative to the current working directory
        name: what the data set is called in reports
    """

    def __init__(self, root: str | Path | None, name: str = "corpus"):
        if root is None:
            raise ConfigError("dataset.root=null: name the folder of your text, such as dataset.root=stories")
        super().__init__(name, root, LAYOUT)

    def _load(self) -> TextStreams:
        new, found = self._streams is None, super()._load()
        if new:
            sizes = tuple(len(part) for part in (found.train, found.valid, found.test))
            log.info(
                "%s: %d / %d / %d tokens of train, valid and test, %d words",
                self.root,
                *sizes,
                len(found.words),
            )
        return found
