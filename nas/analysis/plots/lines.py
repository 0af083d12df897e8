"""Curves and comparisons of experiments: named series, and seeds as dots with their mean."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.analysis.plots.names import INK, LINE_COLOURS, LINE_DASHES
from nas.analysis.plots.style import markers, new_figure, numbers, save, styled
from nas.errors import require

Series = tuple[Sequence[float], Sequence[float]]


def draw_lines(
    series: Mapping[str, Series],
    path: str | Path,
    xlabel: str,
    ylabel: str,
    title: str,
    caption: str | None = None,
) -> Path:
    """Draws named curves.

    Args:
        series: name -> (x, y) of equal length; NaN breaks a curve.
        path: a .png, .pdf or .svg file.
        xlabel: quantity and unit along x.
        ylabel: quantity and unit along y.
        title: text above the axes.
        caption: a line below all, such as the run's name, data and seed.

    Raises:
        ConfigError: lengths differ, or the file cannot be written.
    """
    require(len(series) >= 1, "figure: no series to draw")
    with styled():
        figure = new_figure(900, 540)
        ax = figure.subplots()
        for index, (name, pair) in enumerate(series.items()):
            require(len(pair) == 2, f"figure: series {name!r} must be a pair (x, y)")
            x, y = numbers(pair[0], f"x of {name!r}"), numbers(pair[1], f"y of {name!r}")
            require(len(x) == len(y), f"figure: series {name!r} has {len(x)} x for {len(y)} y")
            look: dict[str, Any] = {
                "color": LINE_COLOURS[index % len(LINE_COLOURS)],
                "linestyle": LINE_DASHES[index // len(LINE_COLOURS) % len(LINE_DASHES)],
            }
            ax.plot(x, y, label=name, **look, **markers(len(x)))
        ax.set_xlabel(xlabel)
        ax.set_ylabel(ylabel)
        if len(series) > 1:
            figure.legend(loc="outside lower center", ncols=min(len(series), 4))
        ax.set_title(title, loc="left", weight="bold")
        return save(figure, path, caption)


def draw_comparison(
    groups: Mapping[str, Sequence[float]],
    path: str | Path,
    ylabel: str,
    title: str,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> Path:
    """Draws one dot per seed for every named group, with the mean and one standard deviation beside the dots.

    Args:
        groups: name -> values, one per seed; NaN (a failed run) is left out and the count says so.
        path: a .png, .pdf or .svg file.
        ylabel: quantity and unit.
        title: text above the axes.
        limits: least and greatest value that can be, such as 0 and 100 %: no bar leads beyond.

    Raises:
        ConfigError: a group holds something else than numbers or none at all, or the file cannot be written.
    """
    require(len(groups) >= 1, "figure: no group to draw")
    finite = {name: numbers(values, f"group {name!r}") for name, values in groups.items()}
    finite = {name: values[np.isfinite(values)] for name, values in finite.items()}
    for name, values in finite.items():
        require(len(values) >= 1, f"figure: group {name!r} has no value")
    with styled():
        figure = new_figure(max(420.0, 190.0 + 170.0 * len(finite)), 520)
        ax = figure.subplots()
        for index, values in enumerate(finite.values()):
            colour = LINE_COLOURS[index % len(LINE_COLOURS)]
            # Fixed, even steps aside instead of random ones: the same data must give the same picture.
            aside = index - 0.12 + (np.arange(len(values)) % 5 - 2) * 0.045
            ax.plot(aside, values, "o", color=colour, alpha=0.75, markersize=7, markeredgecolor="white")
            mean, spread = values.mean(), values.std(ddof=1) if len(values) > 1 else 0.0
            ends = np.clip((mean - spread, mean + spread), *limits)
            bar = np.abs(ends - mean).reshape(2, 1) if spread else None
            ax.errorbar(index + 0.17, mean, yerr=bar, fmt="D", color=INK, capsize=6, markersize=6, lw=1.6)
            note = f"{mean:.2f}" + (f" ± {spread:.2f}" if len(values) > 1 else "")
            ax.annotate(
                note, (index + 0.17, mean), (8, 0), textcoords="offset points", va="center", fontsize=9.5
            )
        ticks = [f"{name}\n(n = {len(values)})" for name, values in finite.items()]
        ax.set_xticks(range(len(ticks)), ticks, color=INK)
        ax.set_xlim(-0.5, len(finite) - 0.5 + 0.15)
        ax.grid(False, axis="x")
        ax.margins(y=0.15)
        ax.set_ylabel(ylabel)
        ax.set_title(title, loc="left", weight="bold")
        return save(figure, path)
