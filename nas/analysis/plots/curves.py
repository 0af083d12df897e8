"""A run's metrics over its epochs: one panel for each kind of quantity that was recorded."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from nas.analysis.plots.names import LINE_COLOURS
from nas.analysis.plots.style import markers, new_figure, save, styled, whole_numbers
from nas.errors import ConfigError, require

Rows = Sequence[Mapping[str, object]]


@dataclass(frozen=True)
class Panel:
    """Columns that share an axis: those that end in `suffix`, and that alone if `suffix` is a whole name.

    With `decades` the axis is logarithmic where the values span more than one.
    """

    heading: str
    suffix: str
    unit: str = ""
    factor: float = 1.0
    decades: bool = False

    def columns(self, names: Sequence[str]) -> list[str]:
        """The columns of this panel, in the order of `names`."""
        return [name for name in names if f"_{name}".endswith("_" + self.suffix) or self._further(name)]

    def _further(self, name: str) -> bool:
        """Whether it is an eigenvalue in a further basis, `hessian_eigenvalue_eta` for one."""
        return self.suffix == "hessian_eigenvalue" and name.startswith(f"{self.suffix}_")


PANELS = (
    Panel("loss", "loss", "nats"),
    Panel("accuracy", "accuracy", "%", 100.0),
    Panel("perplexity", "perplexity", "lower is better", decades=True),
    Panel("entropy of the op weights", "entropy", "nats"),
    Panel("skip connections", "num_skip", "edges"),
    Panel("learning rate", "learning_rate"),
    Panel("Hessian: largest eigenvalue", "hessian_eigenvalue"),
    Panel("cosine of the gradients", "cosine"),
    Panel("operations left", "num_operations"),
)


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


def _draw_panel(ax: Axes, rows: Rows, panel: Panel, columns: list[str]) -> None:
    epochs = _epochs(rows)
    for index, column in enumerate(columns):
        values = _column(rows, column) * panel.factor
        # Loggers write the parts of an epoch in separate rows, so a gap is no reason to break the curve.
        there = np.isfinite(values)
        label = column.replace(panel.suffix, "", 1).strip("_").replace("_", " ") or "first basis"
        colour = LINE_COLOURS[index % len(LINE_COLOURS)]
        ax.plot(epochs[there], values[there], color=colour, label=label, **markers(int(there.sum())))
    if panel.decades:
        _spread(ax, np.concatenate([_column(rows, column) * panel.factor for column in columns]))
    unit = f" ({panel.unit})" if panel.unit else ""
    ax.set_title(panel.heading + unit, loc="left", weight="bold")
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


def draw_curves(rows: Rows, path: str | Path, title: str | None = None) -> Path:
    """Draws all that `metrics.csv` recorded, with a panel only for what exists.

    Args:
        rows: one mapping a row, as `csv.DictReader` yields them; missing, empty and NaN values are left out.
            Columns ending in `_accuracy` are fractions and are shown in percent; those ending in
            `_perplexity` get a logarithmic axis where they span more than a decade.
        path: a .png, .pdf or .svg file.
        title: text above the panels.

    Raises:
        ConfigError: no known column has a number, a value is not a number, or the file cannot be written.
    """
    names = list(dict.fromkeys(name for row in rows for name in row if isinstance(name, str)))
    panels = []
    for panel in PANELS:
        columns = [c for c in panel.columns(names) if np.isfinite(_column(rows, c)).any()]
        if columns:
            panels.append((panel, columns))
    known = ", ".join(panel.suffix for panel in PANELS)
    require(bool(panels), f"figure: no column to draw among {names}; known endings are {known}")
    across = min(len(panels), 3)
    down = math.ceil(len(panels) / across)
    with styled():
        figure = new_figure(460 * across, 320 * down + (40 if title else 0))
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for ax, (panel, columns) in zip(axes, panels, strict=False):
            _draw_panel(ax, rows, panel, columns)
        for ax in axes[len(panels) :]:
            ax.set_visible(False)
        if title:
            figure.suptitle(title, weight="bold", x=0.01, ha="left")
        return save(figure, path)
