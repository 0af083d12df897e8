"""How long operations take by shape, and whole networks against the sums of their pieces."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.analysis.plots.names import INK, LINE_COLOURS, short_name
from nas.analysis.plots.style import new_figure, numbers, save, styled
from nas.errors import require


def draw_operation_times(
    times: Mapping[str, Mapping[str, tuple[float, float]]],
    path: str | Path,
    title: str | None = None,
    caption: str | None = None,
) -> Path:
    """Draws one bar per operation and shape, with its interquartile range; a group of bars per operation.

    Args:
        times: {operation: {shape: (median, interquartile range)}} in milliseconds; shapes may be missing.
        path: a .png, .pdf or .svg file.
        title: text above the axes.
        caption: a line below all, such as the run's name, data and seed.

    Raises:
        ConfigError: there is nothing to draw, or the file cannot be written.
    """
    require(any(times.values()), "figure: no operation to draw")
    shapes = list(dict.fromkeys(shape for row in times.values() for shape in row))
    height = 0.8 / len(shapes)
    with styled():
        figure = new_figure(900, max(320, 120 + len(times) * (14 + 13 * len(shapes))))
        ax = figure.subplots()
        for index, shape in enumerate(shapes):
            rows = [(row, *timed[shape]) for row, timed in enumerate(times.values()) if shape in timed]
            places, medians, spreads = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
            ax.barh(
                places + (index - (len(shapes) - 1) / 2) * height,
                medians,
                0.9 * height,
                xerr=spreads / 2,
                color=LINE_COLOURS[index % len(LINE_COLOURS)],
                alpha=1.0 if index < len(LINE_COLOURS) else 0.5,
                error_kw={"ecolor": INK, "elinewidth": 0.9},
                label=shape,
            )
        ax.set_yticks(range(len(times)), [short_name(name) for name in times])
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.set_xlim(left=0)
        ax.set_xlabel("milliseconds of a batch: median, bar of the interquartile range")
        figure.legend(
            loc="outside lower center", ncols=min(4, len(shapes)), title="channels x height x width / stride"
        )
        if title:
            ax.set_title(title, loc="left", weight="bold")
        return save(figure, path, caption)


def draw_predictions(
    sums: Sequence[float],
    measured: Sequence[float],
    spreads: Sequence[float],
    path: str | Path,
    line: tuple[float, float] | None = None,
    named: tuple[float, float] | None = None,
    title: str | None = None,
    caption: str | None = None,
) -> Path:
    """Draws measured networks against the sums of their pieces; the diagonal is a perfect prediction.

    Args:
        sums: milliseconds, one per network.
        measured: the same.
        spreads: interquartile ranges of the measurements.
        path: a .png, .pdf or .svg file.
        line: slope and intercept of a fit.
        named: sum and measurement of a network that was asked for.
        title: text above the axes.
        caption: a line below all, such as the run's name, data and seed.

    Raises:
        ConfigError: lengths differ, there is nothing to draw, or the file cannot be written.
    """
    x, y, bars = numbers(sums, "sums"), numbers(measured, "measured"), numbers(spreads, "spreads")
    require(
        len(x) == len(y) == len(bars) and len(x) + (named is not None) >= 1,
        f"figure: {len(x)} sums, {len(y)} measurements, {len(bars)} spreads",
    )
    every = np.concatenate([x, y, *([named] if named else [])])
    low, high = every.min() - 0.05 * np.ptp(every), every.max() + 0.05 * np.ptp(every)
    with styled():
        figure = new_figure(640, 600)
        ax = figure.subplots()
        ax.plot([low, high], [low, high], color="#888888", ls="--", lw=1.2, label="measured = sum")
        if line is not None:
            ends = np.array([x.min(), x.max()])
            ax.plot(
                ends,
                line[1] + line[0] * ends,
                color=LINE_COLOURS[2],
                label=f"measured = {line[1]:.3g} ms + {line[0]:.3g} sum",
            )
        if len(x):
            look: dict[str, Any] = {
                "fmt": "o",
                "color": LINE_COLOURS[0],
                "ecolor": "#9cc4dd",
                "markersize": 5,
            }
            ax.errorbar(x, y, bars / 2, **look, label=f"random networks ({len(x)})")
        if named is not None:
            ax.scatter(
                *named, marker="*", s=240, color=LINE_COLOURS[1], edgecolor=INK, zorder=4, label="genotype"
            )
        ax.set_xlabel("sum over the table (ms)")
        ax.set_ylabel("measured whole (ms): median, bar of the interquartile range")
        figure.legend(loc="outside lower center", ncols=2)
        if title:
            ax.set_title(title, loc="left", weight="bold")
        return save(figure, path, caption)
