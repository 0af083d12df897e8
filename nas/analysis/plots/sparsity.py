"""A sparse search along its epochs: what is alive, what it costs, how well it does, how fast it runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from nas.analysis.plots.names import LINE_COLOURS
from nas.analysis.plots.style import markers, new_figure, numbers, save, styled, whole_numbers
from nas.errors import require

Rows = Sequence[Mapping[str, object]]


@dataclass(frozen=True)
class Panel:
    """One column over the epochs.

    Attributes:
        column: in the rows.
        heading: what it is, with its unit.
        factor: from the column's unit to the heading's.
        from_zero: whether the axis begins at 0, as for what shrinks.
    """

    column: str
    heading: str
    factor: float = 1.0
    from_zero: bool = True


PANELS = (
    Panel("alive", "connections alive (%)", 100.0),
    Panel("macs_alive", "multiply-adds of the blocks (M)", 1e-6),
    Panel("architecture_accuracy", "accuracy on the architecture split (%)", 100.0, from_zero=False),
    Panel("seconds", "seconds per epoch"),
)


def draw_sparsity(rows: Rows, path: str | Path, caption: str | None = None) -> Path:
    """Draws a panel for each column that holds a number, one above the other on common epochs.

    Args:
        rows: one mapping per epoch with any of `epoch`, `alive` (share of the connections), `macs_alive`
            (multiply-adds), `architecture_accuracy` (fraction) and `seconds` (of that epoch). Missing, empty
            and NaN values are left out; rows without `epoch` count from 0.
        path: a .png, .pdf or .svg file; missing folders are made.
        caption: a line below all, such as the run's name, data and seed.

    Raises:
        ConfigError: no column holds a number, a value is not a number, or the file cannot be written.
    """
    columns = {panel: _column(rows, panel.column) * panel.factor for panel in PANELS}
    drawn = [panel for panel in PANELS if np.isfinite(columns[panel]).any()]
    names = ", ".join(panel.column for panel in PANELS)
    require(len(drawn) > 0, f"figure {path}: none of the columns {names} holds a number")
    epochs = _column(rows, "epoch")
    epochs = np.where(np.isfinite(epochs), epochs, np.arange(len(rows)))
    with styled():
        figure = new_figure(720, 40 + 150 * len(drawn))
        axes = figure.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
        for index, (ax, panel) in enumerate(zip(axes, drawn, strict=True)):
            _draw(ax, epochs, columns[panel], panel, LINE_COLOURS[index])
        axes[-1].set_xlabel("epoch")
        whole_numbers(axes[-1])
        room = 0.03 * (epochs.max() - epochs.min()) or 0.5
        axes[-1].set_xlim(epochs.min() - room, epochs.max() + 2 * room)
        figure.align_ylabels(axes)
        return save(figure, path, caption)


def _column(rows: Rows, name: str) -> np.ndarray:
    values = [row.get(name) for row in rows]
    return numbers([None if isinstance(v, str) and not v.strip() else v for v in values], f"column {name!r}")


def _draw(ax: Axes, epochs: np.ndarray, values: np.ndarray, panel: Panel, colour: str) -> None:
    there = np.isfinite(values)
    ax.plot(epochs[there], values[there], color=colour, **markers(int(there.sum())))
    ax.set_title(panel.heading, loc="left", weight="bold")
    ax.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    if panel.from_zero:
        ax.set_ylim(0, 1.08 * values[there].max() or 1.0)
    last = np.flatnonzero(there)[-1]
    ax.annotate(
        f"{values[last]:.3g}",
        (epochs[last], values[last]),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        color=colour,
        fontsize=9.5,
        annotation_clip=False,
    )
