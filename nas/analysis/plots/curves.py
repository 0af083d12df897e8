"""A run's metrics over its epochs: one panel for each kind of quantity that was recorded."""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from nas.analysis.metrics import ASKED, EIGENVALUE, LOSS, OF_TASKS, RATE, SKIPS, Metric, metric_of
from nas.analysis.plots.names import LINE_COLOURS
from nas.analysis.plots.style import markers, new_figure, save, styled, whole_numbers
from nas.errors import ConfigError, require

Rows = Sequence[Mapping[str, object]]


# Of other tables than a run's: they have no words.
ENTROPY = Metric("entropy", title="entropy of the op weights", unit="nats")
CONCENTRATION = Metric("concentration", title="Dirichlet concentration of an edge")
COSINE = Metric("cosine", title="cosine of the gradients")
LEFT = Metric("num_operations", title="operations left")


def columns_of(metric: Metric, names: Sequence[str]) -> list[str]:
    """The columns of a metric's panel: those that end in its name, and eigenvalues in further bases."""
    return [n for n in names if f"_{n}".endswith(f"_{metric.name}") or metric_of(n)[1] is metric]


def label_of(metric: Metric, column: str) -> str:
    """What a curve in a metric's panel is of."""
    return column.replace(metric.name, "", 1).strip("_").replace("_", " ") or "first basis"


def panels() -> list[Metric]:
    """What curves are drawn of, a panel each, in their order."""
    tasks = [metric for metric in (LOSS, *chain(*OF_TASKS.values())) if metric.word]
    return [*tasks, *ASKED, ENTROPY, CONCENTRATION, SKIPS, RATE, EIGENVALUE, COSINE, LEFT]


def _number(value: Any, column: str) -> float:
    if value is None or (isinstance(value, str) and not value.strip()):
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"figure: column {column!r} holds {value!r}, which is not a number") from error
    return number if math.isfinite(number) else math.nan


def _column(rows: Rows, name: str) -> np.ndarray:
    return np.array([_number(row.get(name), name) for row in rows])


def _epochs(rows: Rows) -> np.ndarray:
    """The `epoch` column, or the row's place where it is missing."""
    epochs = _column(rows, "epoch")
    return np.where(np.isnan(epochs), np.arange(len(rows)), epochs)


def _draw_panel(ax: Axes, rows: Rows, metric: Metric, columns: list[str]) -> None:
    epochs = _epochs(rows)
    for index, column in enumerate(columns):
        values = _column(rows, column) * metric.factor
        # Loggers write the parts of an epoch in separate rows, so a gap is no reason to break the curve.
        there = np.isfinite(values)
        label = label_of(metric, column)
        colour = LINE_COLOURS[index % len(LINE_COLOURS)]
        ax.plot(epochs[there], values[there], color=colour, label=label, **markers(int(there.sum())))
    # An exponential falls by powers.
    if metric.of_loss is not None:
        _spread(ax, np.concatenate([_column(rows, column) * metric.factor for column in columns]))
    unit = f" ({metric.axis})" if metric.axis else ""
    ax.set_title((metric.title or metric.name) + unit, loc="left", weight="bold")
    ax.set_xlabel("epoch")
    whole_numbers(ax)
    first, last = epochs.min(), epochs.max()
    room = 0.03 * (last - first) or 0.5
    ax.set_xlim(first - room, last + room)
    if first == last:
        ax.set_xticks([first])
    if len(columns) > 1:
        ax.legend(fontsize=9.5)


def _spread(ax: Axes, values: np.ndarray) -> None:
    """Makes the y axis logarithmic, with plain numbers at it, if the positive values span over a decade."""
    positive = values[np.isfinite(values) & (values > 0)]
    if len(positive) == 0 or positive.max() <= 10 * positive.min():
        return
    ax.set_yscale("log", nonpositive="mask")
    few = positive.max() < 1000 * positive.min()
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=12))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def draw_curves(rows: Rows, path: str | Path, title: str | None = None, caption: str | None = None) -> Path:
    """Draws all that `metrics.csv` recorded, with a panel only for what exists.

    Args:
        rows: a mapping per row, as `csv.DictReader` yields them; missing, empty and NaN values are left out.
            Columns ending in `_accuracy` are fractions and are shown in percent; those ending in
            `_perplexity` get a logarithmic axis where they span more than a decade.
        path: a .png, .pdf or .svg file.
        title: text above the panels.
        caption: a line below all, such as the run's name, data and seed.

    Raises:
        ConfigError: no known column has a number, a value is not a number, or the file cannot be written.
    """
    names = list(dict.fromkeys(name for row in rows for name in row if isinstance(name, str)))
    by_metric = {
        metric: [c for c in columns_of(metric, names) if np.isfinite(_column(rows, c)).any()]
        for metric in panels()
    }
    shown = [(metric, columns) for metric, columns in by_metric.items() if columns]
    endings = ", ".join(metric.name for metric in by_metric)
    require(bool(shown), f"figure: no column to draw among {names}; known endings are {endings}")
    across = min(len(shown), 3)
    down = math.ceil(len(shown) / across)
    with styled():
        figure = new_figure(460 * across, 320 * down + (40 if title else 0))
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for ax, (metric, columns) in zip(axes, shown, strict=False):
            _draw_panel(ax, rows, metric, columns)
        for ax in axes[len(shown) :]:
            ax.set_visible(False)
        if title:
            figure.suptitle(title, weight="bold", x=0.01, ha="left")
        return save(figure, path, caption)
