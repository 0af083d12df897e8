"""73 articles of Wikipedia that come with the project: text without a download.

No package that the project needs carries running prose of this length under one stable version: what there
is (change logs, licences, docstrings, lists of ImageNet's categories) differs from release to release, and so
would every result. Hence a part of WikiText-2 is shipped, small and under its own licence, CC BY-SA 3.0;
`texts/wikitext_mini/CREDITS.md` names authors, articles and changes.
"""

from pathlib import Path

from nas.data.text import TextFolder, TextLayout

FOLDER = Path(__file__).parent / "texts" / "wikitext_mini"
LAYOUT = TextLayout(
    title="wikitext_mini",
    folders=(),
    patterns=("{part}.txt",),
    num_tokens=(111_024, 8_239, 8_032),
    vocabulary_size=3_867,
    remedy="the installation is damaged; install the project again",
)


class WikiTextMini(TextFolder):
    """111,024 / 8,239 / 8,032 tokens of 62 / 6 / 5 articles from WikiText-2's training part, 3,867 words.

    They are on tropical storms, warships, roads and species: few subjects, so that so short a text still
    teaches something. Words that occur fewer than three times in the training part are `<unk>`: 7 % of the
    training tokens, 12 % and 16 % of the others, so perplexities compare with no other text's. The articles
    are training text of WikiText-2, whose validation and test parts hold none of them.
    """

    def __init__(self):
        super().__init__("wikitext_mini", FOLDER, LAYOUT)
