"""Which classes are taken for which, as a map.

Shapes: K classes.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.font_manager import findfont, get_font

from nas.analysis.confusion import Confusion
from nas.analysis.plots.names import INK
from nas.analysis.plots.style import new_figure, save, styled

# Classes of which each field has its number.
NUMBERED = 30
# Characters of a name, the last of which says that there are more.
LONGEST = 24
# For a sign that the font lacks; it is in the font.
UNKNOWN = "□"
EMPTY = "#e9e9e9"


@cache
def _signs() -> frozenset[int]:
    """The signs that the pictures' font has."""
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def label_of(index: int, name: str) -> str:
    """A class as a picture names it: what the font lacks is a box, and the number, from 0, stands before."""
    drawn = "".join(sign if ord(sign) in _signs() else UNKNOWN for sign in name)
    drawn = drawn if drawn == name else f"{index}: {drawn}"
    return drawn if len(drawn) <= LONGEST else f"{drawn[: LONGEST - 1]}…"


def _brief(count: int) -> str:
    """A number of at most four signs."""
    for factor, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= 10 * factor:
            return f"{count // factor}{unit}"
    return str(count)


def draw_confusion(found: Confusion, path: str | Path, caption: str | None = None) -> Path:
    """Draws a field for each pair of classes, coloured by its share of the images of the true class.

    Up to 30 classes fields have their counts, where there are any. A class without an image has a grey row.

    Args:
        found: the counts.
        path: a .png, .pdf or .svg file.
        caption: a line below, such as the run's name, data and seed.

    Raises:
        ConfigError: the file cannot be written.
    """
    shares_KK = np.array(found.shares(), dtype=float)
    labels = [label_of(index, name) for index, name in enumerate(found.names)]
    count, numbered = len(labels), len(labels) <= NUMBERED
    # Pixels of a field: of few classes as wide as the title and the scale beside need.
    side = max(38, 46 if count <= 12 else 0, 300 // count) if numbered else max(10, 20 - count // 12)
    size = 9.0 if numbered else min(8.0, 0.6 * side)
    # Pixels: a letter is 0.6 of its size wide, and a point is 100 / 72 pixels.
    beside = max(map(len, labels)) * 0.6 * size * 100 / 72
    turned = max(map(len, labels)) > (4 if numbered else 0)
    with styled():
        below = beside if turned else 20
        figure = new_figure(side * count + beside + 190, side * count + below + 110)
        ax = figure.subplots()
        colours = colormaps["Blues"].with_extremes(bad=EMPTY)
        image = ax.imshow(np.ma.masked_invalid(shares_KK), cmap=colours, vmin=0, vmax=1, aspect="equal")
        places = range(count)
        # A name with dollar signs is no formula.
        ax.set_xticks(places, labels, parse_math=False, fontsize=size, rotation=90 if turned else 0)
        ax.set_yticks(places, labels, parse_math=False, fontsize=size)
        ax.tick_params(length=0)
        ax.grid(False)
        ax.set_xlabel("predicted")
        ax.set_ylabel("true")
        images = sum(map(sum, found.counts))
        part = {"valid": "Validation"}.get(found.part, found.part.capitalize())
        ax.set_title(f"{part}: {images:,} images, {count} classes", loc="left", weight="bold")
        if numbered:
            _write_counts(ax, found.counts, shares_KK)
        bar = figure.colorbar(image, ax=ax, shrink=min(1.0, 320 / (side * count)), label="share of the row")
        bar.outline.set_visible(False)
        return save(figure, path, caption)


def _write_counts(ax: Axes, counts: Sequence[Sequence[int]], shares_KK: np.ndarray) -> None:
    """The counts in their fields, with white lines between these."""
    edges = np.arange(len(counts) + 1) - 0.5
    ax.set_xticks(edges, minor=True)
    ax.set_yticks(edges, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.0)
    ax.tick_params(which="minor", length=0)
    # Below the lines else, as grids are here.
    ax.set_axisbelow(False)
    for row, numbers in enumerate(counts):
        for column, number in enumerate(numbers):
            if number:
                ink = "white" if shares_KK[row, column] > 0.55 else INK
                ax.text(column, row, _brief(number), ha="center", va="center", color=ink, fontsize=9)
