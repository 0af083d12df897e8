"""What was found in data of one's own, as rows of a table that a run prints before anything runs.

Shapes: N pictures.
"""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from torch import Tensor

from nas.data.pixel_moments import LOOKED_AT, spread
from nas.data.readable import each_of
from nas.printable import shown
from nas.reading.pictures import header

# Classes that have a row of their own.
MOST_CLASSES = 10
# Characters of a name.
LONGEST = 60


@dataclass(frozen=True)
class Found:
    """A table of two columns.

    Attributes:
        title: of what.
        rows: (what, found), in the order in which they are shown; what belongs to the row above is indented.
    """

    title: str
    rows: tuple[tuple[str, str], ...]

    def with_rows(self, *rows: tuple[str, str]) -> "Found":
        """The same with further rows at its end."""
        return Found(self.title, (*self.rows, *rows))

    def text(self) -> str:
        """The table as plain lines, the last one ended."""
        # As wide as a terminal shows them: some letters take two places.
        width = max((cell_len(what) for what, _ in self.rows), default=0)
        lines = [f"  {what}{' ' * (width - cell_len(what))}  {found}" for what, found in self.rows]
        return "\n".join([self.title, *lines]) + "\n"


def class_rows(
    names: Sequence[str] | None, train_N: Tensor, test_N: Tensor, count: int | None = None
) -> list[tuple[str, str]]:
    """How many pictures of each class there are; of many classes the first, and all others together.

    Args:
        names: of the classes, in the order of the labels; None if they are not known.
        train_N: labels of the training part.
        test_N: labels of the test part.
        count: number of classes where `names` is None.
    """
    known = [str(i) for i in range(count or 0)] if names is None else list(names)
    train, test = (labels_N.bincount(minlength=len(known)).tolist() for labels_N in (train_N, test_N))
    least, most = min(train, default=0), max(train, default=0)
    sizes = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    rows = [("classes", f"{len(known):,}, with {sizes} training items each")]
    # One more would take as many lines as the row that stands for it.
    own = len(known) if len(known) <= MOST_CLASSES + 1 else MOST_CLASSES
    rows += [
        (f"  {shown(known[i], LONGEST)}", f"{train[i]:,} training, {test[i]:,} test") for i in range(own)
    ]
    if own < len(known):
        more = f"{sum(train[own:]):,} training, {sum(test[own:]):,} test"
        rows.append((f"  {len(known) - own:,} more", more))
    absent = [known[i] for i in range(len(known)) if not test[i]]
    if absent:
        first = ", ".join(shown(one, LONGEST) for one in absent[:5])
        rows.append(("  not in the test part", first + (", ..." if len(absent) > 5 else "")))
    return rows


def look_rows(paths: Sequence[str], key: str) -> list[tuple[str, str]]:
    """Sizes and colours of picture files, by their headers; of very many of 2,048, evenly spread."""
    picked = [paths[i] for i in spread(len(paths))]
    headers = [one for one, _ in each_of(picked, lambda path: header(path, key)) if one is not None]
    if not headers:
        return []
    of = "" if len(paths) <= LOOKED_AT else f" (of {len(headers):,} files)"
    sides = [
        f"{word} {min(sizes):,} / {statistics.median_low(sizes):,} / {max(sizes):,}"
        for word, sizes in zip(
            ("width", "height"), zip(*(one.size for one in headers), strict=True), strict=True
        )
    ]
    modes = Counter(one.mode for one in headers).most_common()
    return [
        (f"stored sizes{of}", f"{', '.join(sides)} pixels (least, median, greatest)"),
        (f"stored as{of}", ", ".join(f"{mode} {count:,}" for mode, count in modes)),
    ]
