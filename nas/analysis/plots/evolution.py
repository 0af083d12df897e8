"""Op weights over the epochs of a search: one small panel per edge, one line per operation."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from nas.analysis.plots.names import FAINT, INK, line_style, short_name
from nas.analysis.plots.style import markers, new_figure, numbers, save, styled, whole_numbers
from nas.analysis.plots.weights import Operations, edge_names, per_edge
from nas.errors import require

ACROSS = 7
PANEL_WIDTH, PANEL_HEIGHT = 190.0, 170.0


def _draw_edge(
    ax: Axes, curves_TO: np.ndarray, names: list[str], looks: Mapping[str, dict], edge: str
) -> None:
    few = markers(len(curves_TO))
    for name, curve in zip(names, curves_TO.T, strict=False):
        ax.plot(np.arange(len(curve)), curve, **looks[name], **few, lw=1.5)
    final = curves_TO[-1, : len(names)]
    winner = names[int(np.nanargmax(final))] if np.isfinite(final).any() else ""
    ax.set_title(edge, loc="left", fontsize=10, weight="bold")
    colour = looks[winner]["color"] if winner else FAINT
    ax.set_title(short_name(winner) if winner else "pruned", loc="right", fontsize=10, color=colour)
    ax.tick_params(labelsize=8)
    whole_numbers(ax)


def draw_weight_evolution(
    history: Mapping[str, Sequence[Sequence[Sequence[float]]]],
    operations_by_group: Mapping[str, Operations],
    edges_by_group: Mapping[str, Sequence[tuple[int, int]]],
    path: str | Path,
    caption: str | None = None,
) -> Path:
    """Draws how the weights of every edge moved; above each panel stands the edge and its winner at the end.

    Args:
        history: group -> [epochs, E, O]; NaN for operations that were pruned or do not exist on an edge.
        operations_by_group: group -> O names, or E lists of names where edges differ.
        edges_by_group: group -> E pairs (source, target), for the headings.
        path: a .png, .pdf or .svg file.
        caption: a line below all, such as the run's name, data and seed.

    Raises:
        ConfigError: shapes or names do not fit each other, or the file cannot be written.
    """
    require(len(history) >= 1, "figure: no edge group to draw")
    arrays, names, edges = {}, {}, {}
    for group, values in history.items():
        known = group in operations_by_group and group in edges_by_group
        require(known, f"figure: group {group!r} lacks its operations or edges")
        array = numbers(values, f"history of {group!r}", ndim=3)
        require(min(array.shape) >= 1, f"figure: history of {group!r} is empty (shape {array.shape})")
        names[group] = per_edge(operations_by_group[group], array.shape[1], group)
        longest = max(len(row) for row in names[group])
        require(
            longest <= array.shape[2],
            f"figure: {group} names {longest} operations but its history holds {array.shape[2]}",
        )
        arrays[group] = np.where(np.isfinite(array), array, np.nan)
        edges[group] = edge_names(edges_by_group[group])
        require(
            len(edges[group]) == array.shape[1], f"figure: {group} has {array.shape[1]} edges, not as named"
        )
    every = list(dict.fromkeys(name for rows in names.values() for row in rows for name in row))
    looks = {name: line_style(index, name) for index, name in enumerate(every)}
    most = max(array.shape[1] for array in arrays.values())
    # As few rows as can be, all as full as can be.
    across = math.ceil(most / math.ceil(most / ACROSS))
    downs = [math.ceil(array.shape[1] / across) for array in arrays.values()]
    width = max(across * PANEL_WIDTH, 620.0)
    legend_rows = math.ceil(len(every) * 120 / width)
    height = sum(downs) * PANEL_HEIGHT + 34 * len(downs) + 24 * legend_rows + 40
    with styled():
        figure = new_figure(width, height)
        parts = figure.subfigures(len(arrays), 1, squeeze=False, height_ratios=[d + 0.25 for d in downs])[
            :, 0
        ]
        for part, down, group in zip(parts, downs, arrays, strict=True):
            part.suptitle(f"{group} (op weight over epochs)", weight="bold", x=0.01, ha="left", fontsize=12)
            axes = part.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
            for index, ax in enumerate(axes):
                if index >= len(edges[group]):
                    ax.set_visible(False)
                    continue
                _draw_edge(ax, arrays[group][:, index], names[group][index], looks, edges[group][index])
        handles = [Line2D([], [], label=short_name(name), **looks[name]) for name in every]
        columns = math.ceil(len(every) / legend_rows)
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, labelcolor=INK)
        return save(figure, path, caption)
