"""WikiText-2, version 1 (words, not the raw characters)."""

from pathlib import Path

from nas.data.text import TextFolder, TextLayout

LAYOUT = TextLayout(
    title="WikiText-2 v1",
    # As in the authors' archive (with and without a folder around it), the DARTS code and torchtext.
    folders=(
        "wikitext-2",
        "wikitext-2-v1",
        "wikitext-2-v1/wikitext-2",
        "wikitext2",
        "datasets/WikiText2/wikitext-2",
    ),
    patterns=("wiki.{part}.tokens", "{part}.txt"),
    num_tokens=(2_088_628, 217_646, 245_569),
    vocabulary_size=33_278,
    remedy="unpack wikitext-2-v1.zip (not wikitext-2-raw-v1.zip, whose files end in .raw) from "
    "https://wikitext.smerity.com/wikitext-2-v1.zip and set dataset.root to the folder that holds "
    "wiki.train.tokens, wiki.valid.tokens and wiki.test.tokens; dataset=wikitext_mini needs no files",
)


class WikiText2(TextFolder):
    """2,088,628 / 217,646 / 245,569 tokens of Wikipedia articles, 33,278 words (Merity et al., 2016).

    With case, punctuation and numbers; words that occur fewer than three times are `<unk>`. A blank line is
    one `<eos>`, as in the DARTS code.

    Args:
        root: the folder that holds `wiki.train.tokens` or `train.txt` and its two siblings, or one above it
        layout: names and sizes of the files; those of the published text unless told otherwise
    """

    def __init__(self, root: str | Path = "data", layout: TextLayout = LAYOUT):
        super().__init__("wikitext2", root, layout)
