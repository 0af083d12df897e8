"""A sweep as a picture: mean and standard deviation of one figure against the setting that varies."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Transform, offset_copy

from nas.analysis.plots.names import INK, LINE_COLOURS, LINE_DASHES
from nas.analysis.plots.style import new_figure, numbers, save, styled
from nas.errors import require

Points = Sequence[tuple[str, Sequence[float]]]
# From here on a linear axis would press most values against its end.
DECADES = 1.5
# Pixels that a tick label needs for itself.
LABEL_WIDTH = 46.0
# Series that can be told apart, labels that can be read, and a number that matplotlib can scale.
SERIES, LABELS, LARGEST = 24, 60, 1e100


def _numeric(ticks: Sequence[str]) -> list[float] | None:
    try:
        values = [float(tick) for tick in ticks]
    except ValueError:
        return None
    return values if all(math.isfinite(value) for value in values) else None


def _scale(ax: Axes, values: Sequence[float]) -> str:
    """Picks and sets the scale of x: `log`, `symlog` where a 0 stands beside decades, or `linear`."""
    positive = [value for value in values if value > 0]
    wide = len(positive) > 1 and math.log10(max(positive) / min(positive)) >= DECADES
    if not wide or min(values) < 0:
        return "linear"
    if min(values) > 0:
        ax.set_xscale("log")
        return "log"
    # 0 comes to lie as far before the smallest positive value as a half decade is wide.
    ax.set_xscale("symlog", linthresh=min(positive), linscale=0.5)
    return "symlog"


def _shortened(names: Sequence[str]) -> list[str]:
    """Folders by their last part where that tells them apart; long names by their ends."""
    last = [name.rstrip("/").rpartition("/")[2] for name in names]
    short = last if len(set(last)) == len(names) else list(names)
    return [name if len(name) <= 40 else f"…{name[-39:]}" for name in short]


def _label(value: float) -> str:
    """A number as short as it can be: 0.0005 is 5e-4, 1000 is 1000."""
    plain = f"{value:g}"
    mantissa, _, power = f"{value:e}".partition("e")
    short = f"{float(mantissa):g}e{int(power)}"
    return short if len(short) < len(plain) else plain


def _label_categories(ax: Axes, names: Sequence[str], crowded: bool) -> None:
    """A tick for each category, or each so manyth; at an angle where they are crowded."""
    every = -(-len(names) // LABELS)
    ax.set_xticks(range(0, len(names), every), names[::every])
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.grid(False, axis="x")
    if crowded:
        ax.tick_params(axis="x", rotation=30)
        for text in ax.get_xticklabels():
            text.set_horizontalalignment("right")


def _label_values(ax: Axes, values: Sequence[float], scale: str) -> None:
    """Ticks at the values of the sweep, as many as can stand side by side; 0 of a `symlog` is set apart."""
    ax.margins(x=0.06, y=0.1)
    ax.autoscale_view()
    assert isinstance(ax.figure, Figure)
    ax.figure.draw_without_rendering()
    transform = ax.transData
    kept, last = [], -math.inf
    for value in sorted(values):
        at = transform.transform((value, 0.0))[0]
        if at - last >= LABEL_WIDTH:
            kept.append(value)
            last = at
    ax.set_xticks(kept, [_label(value) for value in kept])
    ax.set_xticks([value for value in values if value not in kept], minor=True)
    ax.tick_params(axis="x", which="minor", labelbottom=False)
    if scale == "symlog":
        _break_mark(ax, min(value for value in values if value > 0))


def draw_sweep(
    series: Mapping[str, Points],
    path: str | Path,
    xlabel: str,
    ylabel: str,
    caption: str | None = None,
) -> Path:
    """Draws mean ± sample standard deviation for every setting, and each run as a faint point.

    Numbers that span decades get a logarithmic axis, with 0 set apart at its left; other numbers a linear
    one; anything else is a category. More series than can be told apart are drawn as points alone, without
    names; of many categories some are labelled.

    Args:
        series: name -> pairs (value along x as text, figures of its runs); a setting without a run is a gap.
        path: a .png, .pdf or .svg file.
        xlabel: what varies.
        ylabel: quantity and unit.
        caption: a line below all, such as the run's name, data and seed.

    Raises:
        ConfigError: there is nothing to draw, a figure is no number, or the file cannot be written.
    """
    series = {name: [(tick, _drawable(values)) for tick, values in points] for name, points in series.items()}
    joined = len(series) <= SERIES
    if not joined:
        xlabel = f"{xlabel} ({len(series):,} settings of other keys)"
        series = {"": [point for points in series.values() for point in points]}
    drawn = list(dict.fromkeys(tick for points in series.values() for tick, values in points if len(values)))
    require(len(drawn) > 0, "figure: no run to draw")
    ticks = list(dict.fromkeys(tick for points in series.values() for tick, _ in points))
    known = _numeric(drawn)
    # A single number has no scale.
    along = known if known is not None and len(set(known)) > 1 else None
    if along is not None:
        # A value of which every run failed is often an absurd one: it must not stretch the axis.
        series = {name: [point for point in points if point[0] in drawn] for name, points in series.items()}
        series = {name: points for name, points in series.items() if points}
        ticks = drawn
    place = dict(zip(ticks, range(len(ticks)) if along is None else along, strict=True))
    shown = _shortened(ticks)
    longest = max(len(tick) for tick in shown)
    crowded = along is None and longest * 7.5 * min(len(ticks), LABELS) > 760
    with styled():
        figure = new_figure(900, 560 + (longest * 4 if crowded else 0))
        ax = figure.subplots()
        scale = "category" if along is None else _scale(ax, along)
        for index, (name, points) in enumerate(series.items()):
            _draw_points(ax, index, len(series), points, place)
            if joined:
                _draw_means(ax, index, len(series), name, points, place, scale != "category")
        if scale == "category":
            _label_categories(ax, shown, crowded)
        else:
            _label_values(ax, list(place.values()), scale)
        ax.margins(y=0.1)
        ax.autoscale_view(scalex=scale != "category")
        ax.set_xlabel(xlabel)
        ax.set_ylabel(ylabel)
        if len(series) > 1:
            figure.legend(loc="outside lower center", ncols=2 if len(series) > 3 else len(series))
        return save(figure, path, caption)


def _drawable(values: Sequence[float]) -> list[float]:
    return [value for value in numbers(list(values), "figures").tolist() if abs(value) < LARGEST]


def _beside(ax: Axes, index: int, count: int) -> Transform:
    """Series stand beside each other, by pixels, so that no error bar hides another on any scale."""
    step = min(9.0, 40.0 / count)
    assert isinstance(ax.figure, Figure)
    return offset_copy(ax.transData, ax.figure, x=(index - (count - 1) / 2) * step, units="points")


def _draw_points(ax: Axes, index: int, count: int, points: Points, place: Mapping[str, float]) -> None:
    every = [(place[tick], value) for tick, values in points for value in values]
    ax.plot(
        [x for x, _ in every],
        [value for _, value in every],
        "o",
        color=LINE_COLOURS[index % len(LINE_COLOURS)],
        alpha=0.35,
        markersize=6,
        markeredgewidth=0,
        transform=_beside(ax, index, count),
    )
    # Limits follow what is drawn in data coordinates only, which `beside` is not.
    if every:
        ax.update_datalim(every)


def _draw_means(
    ax: Axes, index: int, count: int, name: str, points: Points, place: Mapping[str, float], joined: bool
) -> None:
    colour = LINE_COLOURS[index % len(LINE_COLOURS)] if count > 1 else INK
    dash = LINE_DASHES[index // len(LINE_COLOURS) % len(LINE_DASHES)]
    beside = _beside(ax, index, count)
    points = sorted(points, key=lambda point: place[point[0]])
    x, means, spreads = [], [], []
    for tick, values in points:
        figures = np.asarray(values, dtype=float)
        x.append(place[tick])
        means.append(figures.mean() if len(figures) else math.nan)
        spreads.append(figures.std(ddof=1) if len(figures) > 1 else 0.0)
    if joined:
        ax.plot(x, means, dash, color=colour, lw=1.0, alpha=0.5, transform=beside)
    ax.errorbar(
        x,
        means,
        yerr=spreads,
        fmt="D",
        color=colour,
        capsize=5,
        markersize=5,
        lw=1.6,
        label=name or None,
        transform=beside,
    )
    low, high = np.subtract(means, spreads), np.add(means, spreads)
    limits = np.array([*zip(x, low, strict=True), *zip(x, high, strict=True)])
    ax.update_datalim(limits[np.isfinite(limits).all(axis=1)])


def _break_mark(ax: Axes, smallest: float) -> None:
    """Two strokes on the axis between 0 and the smallest positive value: the distance there means nothing."""
    for share in (0.46, 0.54):
        ax.annotate(
            "/",
            (share * smallest, 0),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="center",
            fontsize=11,
            color="#888888",
        )
