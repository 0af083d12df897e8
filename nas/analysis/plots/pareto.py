"""What architectures cost against how good they are held to be, with the front that nobody beats."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.analysis.plots.names import INK, LINE_COLOURS
from nas.analysis.plots.style import new_figure, numbers, save, styled
from nas.errors import require

INSIDE, FRONT, DERIVED, LIMIT = (LINE_COLOURS[i] for i in (0, 2, 1, 6))
OUTSIDE = "#b5b5b5"


def draw_pareto(
    costs: Sequence[float],
    scores: Sequence[float],
    front: Sequence[bool],
    inside: Sequence[bool],
    path: str | Path,
    xlabel: str,
    ylabel: str,
    derived: tuple[float, float] | None = None,
    limit: float | None = None,
    caption: str | None = None,
) -> Path:
    """Draws one dot per architecture; the front as a line, the budget dashed, the derived one as a star.

    Args:
        costs: one per architecture, less is better.
        scores: one per architecture, more is better.
        front: which lie on the Pareto front.
        inside: which keep the whole budget.
        path: a .png, .pdf or .svg file.
        xlabel: quantity and unit of the costs.
        ylabel: quantity and unit of the scores.
        derived: cost and score of the architecture that derivation gives.
        limit: the budget of this cost.
        caption: a line below all, such as the run's name, data and seed.

    Raises:
        ConfigError: lengths differ, there is nothing to draw, or the file cannot be written.
    """
    x, y = numbers(costs, "costs"), numbers(scores, "scores")
    on, kept = np.asarray(front, dtype=bool), np.asarray(inside, dtype=bool)
    require(len(x) >= 1, "figure: no architecture to draw")
    require(
        len(x) == len(y) == len(on) == len(kept),
        f"figure: {len(x)} costs, {len(y)} scores, {len(on)} front and {len(kept)} budget marks",
    )
    # Thousands of dots must let the front be seen.
    size = 26 if len(x) <= 300 else 9
    with styled():
        figure = new_figure(900, 560)
        ax = figure.subplots()
        for mask, colour, name in ((~kept, OUTSIDE, "over the budget"), (kept, INSIDE, "within the budget")):
            if mask.any():
                label = f"{name} ({mask.sum():,})"
                ax.scatter(x[mask], y[mask], s=size, color=colour, alpha=0.7, lw=0, label=label)
        if on.any():
            order = np.lexsort((y[on], x[on]))
            step: dict[str, Any] = {
                "drawstyle": "steps-post",
                "color": FRONT,
                "marker": "o",
                "markersize": 4.5,
            }
            ax.plot(x[on][order], y[on][order], **step, label=f"Pareto front ({on.sum():,})", zorder=3)
        if limit is not None:
            ax.axvline(limit, color=LIMIT, linestyle="--", lw=1.4, label=f"budget {limit:,.4g}")
        if derived is not None:
            look: dict[str, Any] = {
                "marker": "*",
                "s": 240,
                "color": DERIVED,
                "edgecolor": INK,
                "lw": 0.8,
                "zorder": 4,
            }
            ax.scatter(*derived, **look, label="derived without a draw")
        ax.margins(0.06)
        ax.set_xlabel(xlabel)
        ax.set_ylabel(ylabel)
        figure.legend(loc="outside lower center", ncols=3)
        return save(figure, path, caption)
