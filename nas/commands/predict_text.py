"""How a text goes on: of each word the next word's probabilities, and the perplexity of the whole.

Shapes: N words, K words of the vocabulary.
"""

import csv
import io
import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas.commands.predict_model import Model
from nas.data.text import LONGEST, words_of
from nas.engine.progress import watch
from nas.errors import ConfigError, require
from nas.files import write_text
from nas.formats.description import TextDescription
from nas.printable import listed, shown
from nas.reading.files import read_text

FILE = "predictions.csv"
UNKNOWN = "<unk>"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tokens:
    """A text that was read.

    Attributes:
        words: as written, with `<eos>` after every line [N].
        indices: of each its place in the vocabulary [N].
        unknown: words that the vocabulary lacks and how often each occurs.
    """

    words: Sequence[str]
    indices: Sequence[int]
    unknown: Counter


def tokens_of(named: Any, description: TextDescription) -> Tokens:
    """The words of the text file that `input=` names, as the network's training read its own.

    Raises:
        ConfigError: there is no such text, it has fewer than two words, or words that the vocabulary lacks
            and has no word for.
    """
    where = f"input={shown(str(named))}"
    if description.words is None:
        raise ConfigError("model: it does not say which words it was trained on; train or export it anew")
    place = Path(str(named)).expanduser().absolute()
    require(place.is_file(), f"{where}: this network reads a text file, and there is none")
    words = words_of(read_text(place, where, LONGEST))
    require(len(words) >= 2, f"{where}: {len(words)} words; a next word needs at least 2")
    index = {word: number for number, word in enumerate(description.words)}
    unknown = Counter(word for word in words if word not in index)
    told = listed([f"{word} ({count})" for word, count in unknown.most_common()])
    require(
        not unknown or UNKNOWN in index,
        f"{where}: {unknown.total():,} words ({len(unknown):,} different) are not in the vocabulary of "
        f"{len(index):,}, which has no {UNKNOWN}: {told}",
    )
    if unknown:
        log.warning(
            "%s: %s words (%s different) are not in the vocabulary and read as %s: %s",
            where, f"{unknown.total():,}", f"{len(unknown):,}", UNKNOWN, told,
        )  # fmt: skip
    return Tokens(words, [index[word if word in index else UNKNOWN] for word in words], unknown)


def read_on(session: Any, model: Model, tokens: Tokens) -> None:
    """Reads a text word by word and writes what the network expects after each."""
    description, top = model.description, session.config.top
    assert isinstance(description, TextDescription) and description.words is not None
    top = min(top, description.vocabulary)
    vocabulary, indices = description.words, torch.tensor(tokens.indices)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    ranks = [f"{what}_{rank}" for rank in range(1, top + 1) for what in ("next", "probability")]
    writer.writerow(["index", "word", "following", "probability", *ranks])
    state, nats = torch.zeros(1, description.state_size), 0.0
    for place in watch("reading", range(len(indices))):
        logits, state = model.logits(indices[place : place + 1], state)
        logs = logits[0].double().log_softmax(dim=0)
        following = ["", ""]
        if place + 1 < len(indices):
            loss = -float(logs[indices[place + 1]])
            nats += loss
            following = [tokens.words[place + 1], f"{math.exp(-loss):.6g}"]
        best = logs.topk(top)
        row = [str(place), tokens.words[place], *following]
        for found, share in zip(best.indices.tolist(), best.values.exp().tolist(), strict=True):
            row += [vocabulary[found], f"{share:.6g}"]
        writer.writerow(row)
    write_text(session.folder / FILE, out.getvalue())
    loss = nats / (len(indices) - 1)
    perplexity = math.exp(loss) if loss < 700 else math.inf
    session.summary |= {
        "words": len(indices),
        "unknown_words": tokens.unknown.total(),
        "loss": loss,
        "perplexity": perplexity,
    }
    print(f"perplexity {perplexity:.2f} ({loss:.4f} nats a word) of {len(indices):,} words")
    print(f"predictions: {session.folder / FILE}", flush=True)
