"""Anytime curves: what runs would have given had they been stopped by then, as mean and band."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from nas.analysis.anytime import Band
from nas.analysis.plots.names import LINE_COLOURS
from nas.analysis.plots.style import markers, new_figure, save, styled, whole_numbers
from nas.errors import require

SERIES = len(LINE_COLOURS)


def draw_anytime(
    panels: Mapping[str, Mapping[str, Band]],
    path: str | Path,
    ylabel: str,
    caption: str | None = None,
    ylim: tuple[float, float] | None = None,
) -> Path:
    """Draws the mean of each group of runs and the interval of that mean, a panel per axis.

    Where fewer runs than a group has are left, its line is dotted.

    Args:
        panels: label of an axis -> name of a group -> its band; groups of one name have one colour.
        path: a .png, .pdf or .svg file.
        ylabel: quantity and unit.
        caption: a line below all.
        ylim: of the values; None for all that there are.

    Raises:
        ConfigError: there is nothing to draw, or more groups than colours.
    """
    names = list(dict.fromkeys(name for groups in panels.values() for name in groups))
    require(any(len(band.x) for groups in panels.values() for band in groups.values()), "figure: no curve")
    require(
        len(names) <= SERIES, f"figure: {len(names)} groups of curves; at most {SERIES} can be told apart"
    )
    with styled():
        figure = new_figure(560 * len(panels) + 40, 520)
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for ax, (xlabel, groups) in zip(axes, panels.items(), strict=True):
            for name, band in groups.items():
                _draw(ax, band, LINE_COLOURS[names.index(name)], f"{name} (n = {band.runs})")
            ax.set_xlabel(xlabel)
            ax.margins(x=0.01)
            if "epoch" in xlabel:
                whole_numbers(ax)
        axes[0].set_ylabel(ylabel)
        if ylim is not None:
            axes[0].set_ylim(*ylim)
        handles = {
            label: handle
            for ax in axes
            for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
        }
        longest = max(map(len, handles))
        columns = max(1, min(len(handles), 4, int(140 * len(panels) / 2 / (longest + 6))))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)
        return save(figure, path, caption)


def _draw(ax: Axes, band: Band, colour: str, label: str) -> None:
    if not len(band.x):
        return
    ax.fill_between(band.x, band.low, band.high, color=colour, alpha=0.18, lw=0)
    part = band.n < band.runs
    near = part.copy()
    near[:-1] |= part[1:]
    near[1:] |= part[:-1]
    look = {"color": colour, "lw": 2.2, **markers(len(band.x))}
    for kept, dash in ((~part, "-"), (near, ":")):
        if kept.any():
            ax.plot(band.x, np.where(kept, band.mean, np.nan), dash, **look)
    ax.plot([], [], "-", color=colour, lw=2.2, label=label)
