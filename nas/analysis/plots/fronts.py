"""What several searches have found, accuracy against cost, beside the exact front of a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.analysis.plots.names import FAINT, LINE_COLOURS
from nas.analysis.plots.style import new_figure, numbers, save, styled
from nas.errors import require

Points = Sequence[tuple[float, float]]


def draw_fronts(
    found: Points,
    front: Sequence[bool],
    exact: Points,
    path: str | Path,
    xlabel: str,
    ylabel: str,
    caption: str | None = None,
) -> Path:
    """Draws one dot per search, their front as a line, and the exact front below it.

    Args:
        found: (cost, score) of what each search has found.
        front: which of them no other beats.
        exact: (cost, score) of the exact front; empty where it is not known.
        path: a .png, .pdf or .svg file.
        xlabel: quantity and unit of the costs.
        ylabel: quantity and unit of the scores.
        caption: a line below all, such as the run's name.

    Raises:
        ConfigError: lengths differ, there is nothing to draw, or the file cannot be written.
    """
    require(len(found) >= 1, "figure: no search to draw")
    require(len(found) == len(front), f"figure: {len(found)} points and {len(front)} front marks")
    x, y = numbers([one for one, _ in found], "costs"), numbers([one for _, one in found], "scores")
    on = np.asarray(front, dtype=bool)
    with styled():
        figure = new_figure(900, 560)
        ax = figure.subplots()
        step: dict[str, Any] = {"drawstyle": "steps-post", "lw": 1.6}
        lowest = float(y.min())
        if exact:
            # The part that lies where the searches are; its cheap end would flatten all else.
            ahead = [point for point in exact if point[1] >= lowest - 3] or list(exact)
            beyond = [*ahead, (max(float(x.max()), ahead[-1][0]), ahead[-1][1])]
            label = f"exact front ({len(exact):,})"
            ax.plot(*zip(*beyond, strict=True), color=FAINT, label=label, zorder=1, **step)
        order = np.lexsort((y[on], x[on]))
        label = f"front of the searches ({on.sum():,})"
        ax.plot(x[on][order], y[on][order], color=LINE_COLOURS[2], label=label, zorder=2, **step)
        look: dict[str, Any] = {"s": 40, "lw": 0, "alpha": 0.85, "zorder": 3}
        if (~on).any():
            ax.scatter(x[~on], y[~on], color=LINE_COLOURS[0], label=f"beaten ({(~on).sum():,})", **look)
        ax.scatter(x[on], y[on], color=LINE_COLOURS[2], **look)
        ax.margins(0.06)
        ax.set_xlabel(xlabel)
        ax.set_ylabel(ylabel)
        figure.legend(loc="outside lower center", ncols=3)
        return save(figure, path, caption)
