"""The Penn Treebank as Mikolov prepared it for language models; its licence forbids shipping it."""

from pathlib import Path

from nas.data.text import TextFolder, TextLayout

LAYOUT = TextLayout(
    title="the Penn Treebank in Mikolov's format",
    # As in Mikolov's archive, the DARTS code and torchtext.
    folders=("simple-examples/data", "penn", "ptb", "penn-treebank", "PennTreebank", "datasets/PennTreebank"),
    patterns=("ptb.{part}.txt", "{part}.txt"),
    num_tokens=(929_589, 73_760, 82_430),
    vocabulary_size=10_000,
    remedy="the licence of the Penn Treebank (LDC99T42, https://catalog.ldc.upenn.edu/LDC99T42) forbids "
    "shipping it here: with a licence, take ptb.train.txt, ptb.valid.txt and ptb.test.txt from "
    "simple-examples/data of Mikolov's simple-examples.tgz "
    "(http://www.fit.vutbr.cz/~imikolov/rnnlm/simple-examples.tgz), not the ptb.char files, and set "
    "dataset.root to the folder that holds them; dataset=wikitext_mini needs no files",
)


class PennTreebank(TextFolder):
    """929,589 / 73,760 / 82,430 tokens of newspaper text, 10,000 words (Marcus et al., 1993; Mikolov, 2010).

    Lower case, without punctuation, numbers as `N`, rare words as `<unk>`.

    Args:
        root: the folder that holds `ptb.train.txt` or `train.txt` and its two siblings, or one above it
        layout: names and sizes of the files; those of the published text unless told otherwise
    """

    def __init__(self, root: str | Path = "data", layout: TextLayout = LAYOUT):
        super().__init__("ptb", root, layout)
