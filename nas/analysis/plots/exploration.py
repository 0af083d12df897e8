"""Exploration and exploitation of a search: the band of its samples' accuracies, and how many differ."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from nas.analysis.plots.names import FAINT, LINE_COLOURS
from nas.analysis.plots.style import markers, new_figure, numbers, save, styled, whole_numbers
from nas.errors import require

COLUMNS = ("epoch", "samples", "distinct", "min", "mean", "max", "derived", "best")
BAND, LINE = LINE_COLOURS[5], LINE_COLOURS[1]


def draw_exploration(
    rows: Sequence[Mapping[str, float | None]],
    path: str | Path,
    ylabel: str = "accuracy (%)",
    caption: str | None = None,
) -> Path:
    """Draws the range of the sampled architectures, their mean, and the derived one's line over the epochs.

    Args:
        rows: the rows of `exploration.csv`: accuracies as fractions; None or nothing where there is none.
        path: a .png, .pdf or .svg file.
        ylabel: which accuracy it is.
        caption: a line below all, such as the run's name, data and seed.

    Raises:
        ConfigError: there is no row, a value is no number, or the file cannot be written.
    """
    require(len(rows) >= 1, "figure: no exploration to draw")
    data = {name: numbers([row.get(name, math.nan) for row in rows], f"column {name!r}") for name in COLUMNS}
    with styled():
        figure = new_figure(900, 640)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _draw_accuracies(upper, data)
        upper.set_ylabel(ylabel)
        upper.set_title("Exploration and exploitation", loc="left", weight="bold")
        figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=4)
        epochs, most = data["epoch"], np.nanmax(data["samples"])
        lower.plot(epochs, data["distinct"], color=LINE_COLOURS[0], **markers(len(epochs)))
        lower.set_ylim(0, 1.06 * most)
        lower.set_ylabel(f"distinct of {most:.0f}")
        lower.set_xlabel("epoch")
        whole_numbers(lower)
        return save(figure, path, caption)


def draw_explorations(
    runs: Mapping[str, Sequence[Mapping[str, float | None]]],
    path: str | Path,
    ylabel: str = "accuracy (%)",
    caption: str | None = None,
) -> Path:
    """Draws the same range, mean and derived architecture of several searches, a panel each.

    Args:
        runs: title of a panel -> the rows of its `exploration.csv`.
        path: a .png, .pdf or .svg file.
        ylabel: which accuracy it is.
        caption: a line below all.

    Raises:
        ConfigError: there is no run, a value is no number, or the file cannot be written.
    """
    require(len(runs) >= 1, "figure: no exploration to draw")
    across = min(len(runs), 3)
    down = math.ceil(len(runs) / across)
    with styled():
        figure = new_figure(400 * across + 60, 340 * down + 90)
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for ax, (title, rows) in zip(axes, runs.items(), strict=False):
            data = {
                name: numbers([row.get(name, math.nan) for row in rows], f"column {name!r}")
                for name in COLUMNS
            }
            _draw_accuracies(ax, data, best="best of the table")
            ax.set_title(title, loc="left", fontsize=10)
            ax.set_xlabel("epoch")
            whole_numbers(ax)
        for ax in axes[len(runs) :]:
            ax.set_axis_off()
        for ax in axes[::across]:
            ax.set_ylabel(ylabel)
        labels = [ax.get_legend_handles_labels() for ax in axes]
        handles = {name: handle for pair in labels for handle, name in zip(*pair, strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
        return save(figure, path, caption)


def _draw_accuracies(ax: Axes, data: Mapping[str, np.ndarray], best: str | None = None) -> None:
    """One panel; `best` names the line of the table's best, None for its number too."""
    epochs, percent = data["epoch"], {name: 100 * values for name, values in data.items()}
    samples = np.nanmax(data["samples"])
    if len(epochs) == 1:
        # A band has no width at a single epoch.
        ax.vlines(epochs, percent["min"], percent["max"], color=BAND, alpha=0.6, lw=8, label="min to max")
    else:
        ax.fill_between(
            epochs, percent["min"], percent["max"], color=BAND, alpha=0.35, lw=0, label="min to max"
        )
    mean: dict[str, Any] = {
        "color": LINE_COLOURS[0],
        "linestyle": "--",
        "label": f"mean of {samples:.0f} samples",
    }
    ax.plot(epochs, percent["mean"], **mean, **markers(len(epochs)))
    ax.plot(
        epochs, percent["derived"], color=LINE, lw=2.4, label="derived architecture", **markers(len(epochs))
    )
    known = percent["best"][np.isfinite(percent["best"])]
    if len(known):
        label = best or f"best of the table ({known.max():.2f})"
        ax.axhline(known.max(), color=FAINT, linestyle=":", lw=1.6, label=label)
