"""Rank correlations of devices as a map."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps

from nas.analysis.plots.names import INK
from nas.analysis.plots.style import new_figure, save, styled

EMPTY = "#e9e9e9"


def draw_transfer(
    names: Sequence[str],
    spearman: Mapping[tuple[str, str], float | None],
    path: str | Path,
    caption: str | None = None,
) -> Path:
    """Draws a field for each pair of devices with its rank correlation in hundredths.

    Args:
        names: the devices, in the order of rows and columns.
        spearman: of each pair; a field of None is grey.
        path: a .png, .pdf or .svg file.
        caption: a line below.

    Raises:
        ConfigError: the file cannot be written.
    """
    rows = [[1.0 if a == b else spearman.get((a, b)) for b in names] for a in names]
    values_DD = np.array(rows, dtype=float)
    count, beside = len(names), 8 * max(map(len, names))
    # Pixels of a field: of few devices as wide as the title needs.
    side = max(34, 420 // count)
    with styled():
        figure = new_figure(side * count + beside + 210, side * count + beside + 90)
        ax = figure.subplots()
        lowest = float(np.nanmin(values_DD))
        colours = colormaps["Blues"].with_extremes(bad=EMPTY)
        image = ax.imshow(np.ma.masked_invalid(values_DD), cmap=colours, vmin=lowest, vmax=1, aspect="equal")
        places = range(count)
        ax.set_xticks(places, names, parse_math=False, fontsize=9, rotation=90)
        ax.set_yticks(places, names, parse_math=False, fontsize=9)
        ax.tick_params(length=0)
        ax.grid(False)
        for row, column in np.ndindex(count, count):
            value = values_DD[row, column]
            if np.isfinite(value) and row != column:
                dark = value > lowest + 0.6 * (1 - lowest)
                ink = "white" if dark else INK
                ax.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=ink, fontsize=8)
        ax.set_title("Spearman's rank correlation of costs, in hundredths", loc="left", weight="bold")
        bar = figure.colorbar(image, ax=ax, shrink=min(1.0, 320 / (side * count)))
        bar.outline.set_visible(False)
        return save(figure, path, caption)
