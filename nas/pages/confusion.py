"""Which classes an evaluation takes for which: a map, and the pairs that it mistakes most often."""

from collections.abc import Mapping, Sequence
from typing import Any

from nas.analysis.confusion import FILE, Confusion, safe_names
from nas.pages import charts
from nas.pages.blocks import Charts, Column, Note, Table, number, words
from nas.pages.folder import Folder
from nas.pages.forms import digits

# Classes of which the page has a map, and characters of their names.
MAPPED, LONGEST = 40, 60
# Pairs of classes in the table.
PAIRS = 20
PARTS = {"test": "test images", "valid": "images that are held out"}


def confusion(folder: Folder, summary: Mapping[str, Any]) -> list[Any]:
    """What `confusion.csv` says; nothing where an evaluation has none, as one of a text."""
    found = folder.confusion()
    if found is None:
        damaged = FILE in folder.problems
        return [Note(folder.missing(FILE, "No table of mistakes"), "warn")] if damaged else []
    names = safe_names(found.names, LONGEST)
    blocks: list[Any] = []
    if len(names) <= MAPPED:
        images = sum(map(sum, found.counts))
        title = f"Which classes are taken for which, of {images:,} {PARTS[found.part]}"
        table = _counts(title, names, found.counts)
        blocks.append(Charts([charts.pairs(title, names, found.counts, found.shares(), table)]))
    return [*blocks, _mistakes(found, names)]


def _counts(title: str, names: Sequence[str], counts: Sequence[Sequence[int]]) -> Table:
    columns = [Column("true class"), *(Column(name, True) for name in names)]
    rows = [
        [words(name), *(number(count, f"{count:,}") for count in row)]
        for name, row in zip(names, counts, strict=True)
    ]
    return Table(title, columns, rows, folded=True)


def _mistakes(found: Confusion, names: tuple[str, ...]) -> Any:
    pairs = found.mistakes(PAIRS)
    if not pairs:
        return Note(f"No mistake among the {PARTS[found.part]}.")
    rows = [
        [
            words(names[pair.true]),
            words(names[pair.predicted]),
            number(pair.count, f"{pair.count:,}"),
            number(pair.share, digits(100 * pair.share)),
        ]
        for pair in pairs
    ]
    columns = [
        Column("class"),
        Column("taken for"),
        Column("images", True),
        Column("% of the class", True),
    ]
    more = f" The counts of all {len(names):,} classes are in {FILE}." if len(names) > MAPPED else ""
    kept = f"The {len(pairs)} most frequent pairs." if len(pairs) == PAIRS else ""
    return Table(f"Mistakes among the {PARTS[found.part]}", columns, rows, f"{kept}{more}".strip())
