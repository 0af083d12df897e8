"""Which classes a network takes for which: counts, as a table that any program opens, and read back.

Shapes: K classes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.errors import require
from nas.printable import shown
from nas.reading.csv_text import csv_lines, parse_csv
from nas.reading.files import MEBIBYTE, read_text

FILE = "confusion.csv"
# Classes of which pairs are counted: a million numbers, and a file of a few MB.
MOST = 1000
# Classes of which a picture is drawn.
DRAWN = 200
# Characters of a name in the table.
LONGEST = 200
CORNER = ": true in rows, predicted in columns"
# What a spreadsheet takes for the beginning of a formula.
FORMULA = "=+-@"


@dataclass(frozen=True)
class Pair:
    """Images of one class that were taken for another.

    Attributes:
        true: place of their class.
        predicted: place of the other.
        count: how many.
        share: of the images of their class, 0 to 1.
    """

    true: int
    predicted: int
    count: int
    share: float


@dataclass(frozen=True)
class Confusion:
    """How many images of each class were taken for which.

    Attributes:
        part: of the data: `test` or `valid`.
        names: of the classes, fit for a table (`safe_names`).
        counts: [K][K], a row for each true class.
    """

    part: str
    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    def text(self) -> str:
        """The table as CSV: a row for each true class, a column for each that was predicted."""
        header = [f"{self.part}{CORNER}", *self.names]
        return csv_lines([header, *([name, *row] for name, row in zip(self.names, self.counts, strict=True))])

    def shares(self) -> list[list[float | None]]:
        """The counts as shares of their row; None where a class has no image."""
        return [[count / sum(row) if sum(row) else None for count in row] for row in self.counts]

    def mistakes(self, most: int) -> list[Pair]:
        """The pairs of different classes with the most images, at most so many."""
        pairs = [
            Pair(true, predicted, count, count / sum(row))
            for true, row in enumerate(self.counts)
            for predicted, count in enumerate(row)
            if count and predicted != true
        ]
        return sorted(pairs, key=lambda pair: (-pair.count, -pair.share, pair.true, pair.predicted))[:most]


def confusion(part: str, names: Sequence[str] | None, counts: Sequence[Sequence[int]]) -> Confusion:
    """The counts of a part of the data, under names that a table can hold.

    Args:
        part: `test` or `valid`.
        names: of the classes, whatever they are; None for their numbers, from 0.
        counts: [K][K], a row for each true class.
    """
    named = [str(index) for index in range(len(counts))] if names is None else names
    return Confusion(part, safe_names(named), tuple(tuple(map(int, row)) for row in counts))


def safe_names(names: Sequence[str], longest: int = LONGEST) -> tuple[str, ...]:
    """Names of classes as the headings of a table can be: each on one line, no formula, each another.

    What a terminal would act on is written as an escape. A name that a spreadsheet would compute gets an
    apostrophe before it, and one that is empty or not the only one of its kind its number, from 0.
    """
    written = [_no_formula(shown(str(name), longest)) for name in names]
    often = Counter(written)
    single = [
        name if name.strip() and often[name] == 1 and not name.endswith(CORNER) else f"{index}: {name}"
        for index, name in enumerate(written)
    ]
    if len(set(single)) == len(single):
        return tuple(single)
    # One is called what another has become.
    return tuple(f"{index}: {name}" for index, name in enumerate(written))


def _no_formula(name: str) -> str:
    if name.lstrip()[:1] not in tuple(FORMULA):
        return name
    try:
        float(name)
    except ValueError:
        return f"'{name}"
    return name


def read_confusion(path: Path) -> Confusion:
    """What `Confusion.text` wrote, from a file that may be a stranger's.

    Raises:
        ConfigError: it is no regular file, too large, or holds something else.
    """
    header, rows = parse_csv(read_text(path, at_most=16 * MEBIBYTE), str(path), MOST + 1)
    part = header[0].removesuffix(CORNER) if header else ""
    require(
        part in ("test", "valid") and header[0] == f"{part}{CORNER}",
        f"{path}: damaged (it must begin with test{CORNER}, or valid{CORNER})",
    )
    names = tuple(header[1:])
    require(
        tuple(fields[0] for _, fields in rows) == names,
        f"{path}: damaged (rows must bear the names of the columns, in their order)",
    )
    for line, fields in rows:
        fits = len(fields) == len(header) and all(
            one.isascii() and one.isdecimal() and len(one) < 16 for one in fields[1:]
        )
        require(fits, f"{path}: line {line}: must have {len(names)} whole numbers")
    return Confusion(part, names, tuple(tuple(map(int, fields[1:])) for _, fields in rows))
