"""What black-box searches have found so far, against what they have spent."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nas.analysis.plots.names import FAINT, LINE_COLOURS
from nas.analysis.plots.style import markers, new_figure, numbers, save, styled
from nas.errors import require


def draw_incumbents(
    rows: Sequence[Mapping[str, float | int | None]],
    figure_name: str,
    best: float | None,
    path: str | Path,
    title: str,
    caption: str | None = None,
) -> Path:
    """Draws mean ± standard deviation of a figure of the incumbents, and the best that there is.

    The axis of what was spent is logarithmic; what lies far below a tenth of the way is cut off.

    Args:
        rows: of `nas.analysis.blackbox.curve`.
        figure_name: the column that is drawn, in percent.
        best: the highest of all architectures, in percent; None where nobody knows.
        path: a .png, .pdf or .svg file.
        title: text above the axes.
        caption: a line below all.

    Raises:
        ConfigError: there is no row, or the file cannot be written.
    """
    require(len(rows) >= 1, "figure: no incumbents to draw")
    along = "seconds" if "seconds" in rows[0] else "queries"
    x = numbers([row[along] for row in rows], along)
    mean = numbers([row[figure_name] for row in rows], figure_name)
    spread = numbers([row[f"{figure_name}_std"] or math.nan for row in rows], f"{figure_name}_std")
    with styled():
        figure = new_figure(900, 540)
        ax = figure.subplots()
        ax.fill_between(
            x, mean - spread, mean + spread, color=LINE_COLOURS[0], alpha=0.25, lw=0, label="one deviation"
        )
        ax.plot(x, mean, color=LINE_COLOURS[0], label=f"mean of {rows[-1]['n']} seeds", **markers(len(rows)))
        if best is not None:
            ax.axhline(best, color=FAINT, linestyle=":", lw=1.6, label=f"best of the table ({best:.2f})")
        ax.set_xscale("log")
        early = len(rows) // 10
        lowest, reach = (
            mean[early] - 2 * np.nan_to_num(spread[early]),
            mean[-1] if best is None else max(best, mean[-1]),
        )
        ax.set_ylim(lowest - 0.05 * (reach - lowest) - 1e-3, reach + 0.1 * (reach - lowest) + 1e-3)
        ax.set_xlabel("queries" if along == "queries" else "seconds of training, looked up")
        ax.set_ylabel(f"{figure_name} of the incumbent (%)")
        ax.set_title(title, loc="left", weight="bold")
        figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return save(figure, path, caption)
