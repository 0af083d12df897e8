"""Classes of pictures, with probabilities: a table of one, a file and a summary of many.

Shapes: B pictures, K classes, N pictures in all.
"""

import csv
import io
import logging
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nas.commands.predict_model import Model
from nas.commands.predict_pictures import Pictures, stacked
from nas.engine.progress import watch
from nas.errors import require
from nas.files import write_text
from nas.formats.description import Description
from nas.formats.pictures import normalise
from nas.printable import listed, shown

FILE = "predictions.csv"
# Pictures that cannot be read of which each is named on the screen; summary.json names a hundred.
NAMED, KEPT = 5, 100
# Of a batch: a gigabyte, whatever the model says of its pictures' size.
MOST_VALUES = 2**28
log = logging.getLogger(__name__)


def classify(session: Any, model: Model, pictures: Pictures, truths: Sequence[int] | None) -> None:
    """Classifies pictures and says what was found; `truths` are of `truths_of`.

    Raises:
        ConfigError: none of them can be read.
    """
    config, description = session.config, model.description
    assert isinstance(description, Description)
    names = class_names(description)
    top = min(config.top, len(names))
    shares_NK, kept, lost = probabilities(model, pictures, config.batch_size)
    _tell_lost(session, lost, len(pictures.names))
    best = shares_NK.topk(top, dim=1)
    write_text(session.folder / FILE, _table(pictures, kept, best, names))
    counts = Counter(names[index] for index in best.indices[:, 0].tolist())
    session.summary |= {"pictures": len(kept), "counts": dict(counts.most_common())}
    if pictures.single:
        _print_one(pictures.names[0], best.values[0], [names[one] for one in best.indices[0].tolist()])
    else:
        _print_counts(counts, len(kept), pictures.kind)
    if truths is not None:
        right = sum(
            truths[index] == found for index, found in zip(kept, best.indices[:, 0].tolist(), strict=True)
        )
        session.summary |= {"correct": right, "accuracy": right / len(kept)}
        print(f"accuracy {right / len(kept):.2%}: {right:,} of {len(kept):,} as labelled")
    print(f"predictions: {session.folder / FILE}", flush=True)


def class_names(description: Description) -> Sequence[str]:
    """The classes by name; by number where their names are not known."""
    return description.class_names or tuple(str(index) for index in range(description.num_classes))


def probabilities(model: Model, pictures: Pictures, batch_size: int) -> tuple[Tensor, list[int], list[str]]:
    """Of each class for each picture, in batches.

    Returns:
        Probabilities [N, K] of the pictures that can be read, their indices, and a line on each other one.

    Raises:
        ConfigError: none can be read.
    """
    assert isinstance(model.description, Description)
    found, kept, lost = [], [], []
    batch_size = max(1, min(batch_size, MOST_VALUES // math.prod(model.description.image_shape)))
    starts = range(0, len(pictures.names), batch_size)
    for start in watch("classifying", starts):
        indices = range(start, min(start + batch_size, len(pictures.names)))
        images_BCHW, read, unread = stacked(pictures, indices)
        kept += read
        lost += unread
        if images_BCHW is not None:
            steps = model.description.preprocessing
            # The preprocessing of numbers that are no pixels is part of the model.
            given_BCHW = images_BCHW if steps.floats else normalise(images_BCHW, steps)
            logits_BK = model.logits(given_BCHW)
            found.append(logits_BK.double().softmax(dim=1))
    require(len(found) > 0, f"input: none of {len(lost)} pictures can be read any more")
    return torch.cat(found), kept, lost


def truths_of(pictures: Pictures, description: Description, named: Any) -> list[int] | None:
    """Labels as places among the classes, None where there are none; `named` is what `input=` says.

    Raises:
        ConfigError: a label is no class of the network.
    """
    if pictures.truths is None:
        return None
    names, truths = class_names(description), pictures.truths
    places = {name: index for index, name in enumerate(names)}
    other = sorted({truth for truth in truths if truth not in places})
    require(
        not other,
        f"input={shown(str(named))}: labels that are no class of this network: {listed(other)}; it knows "
        f"{listed(names)}",
    )
    return [places[truth] for truth in truths]


def _tell_lost(session: Any, lost: Sequence[str], number: int) -> None:
    session.summary["skipped"] = len(lost)
    if lost:
        session.summary["skipped_files"] = list(lost[:KEPT])
        more = f"; and {len(lost) - NAMED} more (summary.json)" if len(lost) > NAMED else ""
        log.warning("%d of %d pictures skipped: %s%s", len(lost), number, "; ".join(lost[:NAMED]), more)


def _table(pictures: Pictures, kept: Sequence[int], best: Any, names: Sequence[str]) -> str:
    """The lines of `predictions.csv`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    top = best.values.shape[1]
    ranks = [f"{what}_{rank}" for rank in range(2, top + 1) for what in ("class", "probability")]
    truths = pictures.truths
    writer.writerow(["file", "class", "probability", *ranks, *([] if truths is None else ["label"])])
    for place, index in enumerate(kept):
        row: list[str] = [pictures.names[index]]
        pairs = zip(best.indices[place].tolist(), best.values[place].tolist(), strict=True)
        for found, share in pairs:
            row += [names[found], f"{share:.6g}"]
        writer.writerow(row + ([] if truths is None else [truths[index]]))
    return out.getvalue()


def _print_one(name: str, shares: Tensor, classes: Sequence[str]) -> None:
    rows = [(one, f"{share:.2%}") for one, share in zip(classes, shares.tolist(), strict=True)]
    _print(name, ("class", "probability"), rows)


def _print_counts(counts: Counter, number: int, kind: str) -> None:
    rows = [(name, f"{count:,}", f"{count / number:.1%}") for name, count in counts.most_common(20)]
    if len(counts) > len(rows):
        rest = sum(counts.values()) - sum(count for _, count in counts.most_common(20))
        rows.append((f"{len(counts) - len(rows)} other classes", f"{rest:,}", f"{rest / number:.1%}"))
    _print(f"{number:,} {kind}", ("class", kind, "share"), rows)


def _print(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    table, console = Table(), Console()
    for place, name in enumerate(heads):
        table.add_column(name, justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    # No title of the table, which a long path would be broken for.
    console.print(Text(title), soft_wrap=True)
    console.print(table)
