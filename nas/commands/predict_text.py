"""How a text goes on: of each token (word or character) the next one's probabilities, and the perplexity.

Shapes: N tokens, K tokens of the vocabulary.
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

from nas.analysis.metrics import BITS, bits_of
from nas.commands.predict_model import Model
from nas.data.text import LONGEST
from nas.data.tokens import CHARACTERS, TOKENIZERS, UNKNOWN, tokens_of
from nas.engine.progress import watch
from nas.errors import ConfigError, require
from nas.files import write_text
from nas.formats.description import TextDescription
from nas.printable import listed, printable, shown
from nas.reading.files import read_text

FILE = "predictions.csv"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tokens:
    """A text that was read.

    Attributes:
        written: words, with `<eos>` after every line, or characters [N].
        indices: of each its place in the vocabulary [N].
        unknown: tokens that the vocabulary lacks and how often each occurs.
    """

    written: Sequence[str]
    indices: Sequence[int]
    unknown: Counter


def read_input(named: Any, description: TextDescription) -> Tokens:
    """The tokens of the text file that `input=` names, as the network's training read its own.

    Raises:
        ConfigError: there is no such text, it has fewer than two tokens, or some that the vocabulary lacks
            and has no `<unk>` for.
    """
    where, unit = f"input={shown(str(named))}", description.unit
    if description.words is None:
        raise ConfigError(f"model: it does not say which {unit} it was trained on; train or export it anew")
    place = Path(str(named)).expanduser().absolute()
    require(place.is_file(), f"{where}: this network reads a text file, and there is none")
    written = tokens_of(read_text(place, where, LONGEST), description.tokenizer)
    one = TOKENIZERS[description.tokenizer]
    require(len(written) >= 2, f"{where}: {len(written)} {unit}; a next {one} needs at least 2")
    index = {token: number for number, token in enumerate(description.words)}
    unknown = Counter(token for token in written if token not in index)
    # Blanks among characters would not be seen without quotes.
    mark = "'" if description.tokenizer == CHARACTERS else ""
    told = listed([f"{mark}{printable(token)}{mark} ({count})" for token, count in unknown.most_common()])
    require(
        not unknown or UNKNOWN in index,
        f"{where}: {unknown.total():,} {unit} ({len(unknown):,} different) are not in the vocabulary of "
        f"{len(index):,}, which has no {UNKNOWN}: {told}",
    )
    if unknown:
        log.warning(
            "%s: %s %s (%s different) are not in the vocabulary and read as %s: %s",
            where, f"{unknown.total():,}", unit, f"{len(unknown):,}", UNKNOWN, told,
        )  # fmt: skip
    return Tokens(written, [index[token if token in index else UNKNOWN] for token in written], unknown)


def read_on(session: Any, model: Model, tokens: Tokens) -> None:
    """Reads a text token by token and writes what the network expects after each."""
    description, top = model.description, session.config.top
    assert isinstance(description, TextDescription) and description.words is not None
    unit, one = description.unit, TOKENIZERS[description.tokenizer]
    top = min(top, description.vocabulary)
    # A line feed is a token like any other, and would end a row.
    named, written = ([printable(one) for one in words] for words in (description.words, tokens.written))
    indices = torch.tensor(tokens.indices)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    ranks = [f"{what}_{rank}" for rank in range(1, top + 1) for what in ("next", "probability")]
    writer.writerow(["index", one, "following", "probability", *ranks])
    state, nats = torch.zeros(1, description.state_size), 0.0
    for place in watch("reading", range(len(indices))):
        logits, state = model.logits(indices[place : place + 1], state)
        logs = logits[0].double().log_softmax(dim=0)
        following = ["", ""]
        if place + 1 < len(indices):
            loss = -float(logs[indices[place + 1]])
            nats += loss
            following = [written[place + 1], f"{math.exp(-loss):.6g}"]
        best = logs.topk(top)
        row = [str(place), written[place], *following]
        for found, share in zip(best.indices.tolist(), best.values.exp().tolist(), strict=True):
            row += [named[found], f"{share:.6g}"]
        writer.writerow(row)
    write_text(session.folder / FILE, out.getvalue())
    loss = nats / (len(indices) - 1)
    perplexity = math.exp(loss) if loss < 700 else math.inf
    session.summary |= {
        unit: len(indices),
        f"unknown_{unit}": tokens.unknown.total(),
        "loss": loss,
        "perplexity": perplexity,
    }
    bits = ""
    if description.tokenizer == CHARACTERS:
        session.summary[BITS.name] = bits_of(loss)
        bits = f", {bits_of(loss):.3f} bits"
    print(f"perplexity {perplexity:.2f} ({loss:.4f} nats{bits} a {one}) of {len(indices):,} {unit}")
    print(f"predictions: {session.folder / FILE}", flush=True)
