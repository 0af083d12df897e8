"""One number of architectures against another."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nas.analysis.plots.names import LINE_COLOURS
from nas.analysis.plots.style import new_figure, numbers, save, styled
from nas.errors import require

# From this ratio of the largest to the smallest above 0 on, numbers are drawn by their logarithm.
WIDE = 1e3


def draw_scatter(
    x: Sequence[float | None],
    y: Sequence[float | None],
    path: str | Path,
    xlabel: str,
    ylabel: str,
    title: str | None = None,
    caption: str | None = None,
) -> Path:
    """Draws one dot per architecture; what is not known or not finite is left out and counted below the axis.

    Args:
        x: one per architecture.
        y: one per architecture.
        path: a .png, .pdf or .svg file.
        xlabel: what x is.
        ylabel: what y is, with its unit.
        title: text above the axes.
        caption: a line below all, such as the run's name, data and seed.

    Raises:
        ConfigError: the lengths differ, or the file cannot be written.
    """
    x_N, y_N = numbers(x, "x"), numbers(y, "y")
    require(len(x_N) == len(y_N), f"figure: {len(x_N)} and {len(y_N)} numbers")
    there_N = np.isfinite(x_N) & np.isfinite(y_N)
    left = len(x_N) - int(there_N.sum())
    with styled():
        figure = new_figure(720, 520)
        ax = figure.subplots()
        shown = x_N[there_N]
        ax.scatter(
            shown, y_N[there_N], s=26 if len(shown) <= 300 else 9, color=LINE_COLOURS[0], alpha=0.7, lw=0
        )
        above = shown[shown > 0]
        if len(above) and shown.min() >= 0 and shown.max() > WIDE * above.min():
            # Zeros have no logarithm, and a place all the same.
            ax.set_xscale("symlog", linthresh=float(above.min()))
        ax.margins(0.06)
        ax.set_xlabel(xlabel + (f" ({left:,} not finite or not known)" if left else ""))
        ax.set_ylabel(ylabel)
        if title:
            ax.set_title(title, loc="left", weight="bold")
        return save(figure, path, caption)
