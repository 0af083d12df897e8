"""Op weights as heat maps: which operation leads on which edge, and by how much."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle

from nas.analysis.plots.names import INK, short_name
from nas.analysis.plots.style import new_figure, numbers, save, styled
from nas.errors import require
from nas.genotype import Cell, Genotype

Operations = Sequence[str] | Sequence[Sequence[str]]
CELL_WIDTH, CELL_HEIGHT = 66.0, 36.0
# A map of more rows than this is cut in two, between the edges of one node and those of the next.
TALLEST = 24
# Ends of the colours around uniform, in powers of 2: noise stays pale, below 1/16 and above 16 all is one.
NARROWEST_WIDEST = (0.1, 4.0)
FRAME: dict[str, Any] = {"fill": False, "edgecolor": INK, "linewidth": 2.4}
BARRED: dict[str, Any] = {"fill": False, "edgecolor": "#9a9a9a", "linewidth": 0.0, "hatch": "///"}


def per_edge(operations: Operations, edges: int, what: str) -> list[list[str]]:
    """The operation names of every edge, from one list for all edges or from one list per edge.

    Raises:
        ConfigError: a list is empty, or there are not as many as `edges`.
    """
    require(len(operations) >= 1, f"figure: {what} has no operations")
    words = [name for name in operations if isinstance(name, str)]
    if len(words) == len(operations):
        return [words] * edges
    require(
        len(operations) == edges and not words,
        f"figure: {what} has {edges} edges but lists operations for {len(operations)}",
    )
    require(all(len(names) >= 1 for names in operations), f"figure: an edge of {what} has no operation")
    return [list(names) for names in operations]


def edge_names(edges: Sequence[tuple[int, int]]) -> list[str]:
    """`(0, 2)` becomes `0→2`."""
    return [f"{source}→{target}" for source, target in edges]


def _matrix(rows: Sequence[Sequence[float]], names: list[list[str]], what: str) -> np.ndarray:
    """Rows of unequal length as one [E, O] array, padded with NaN."""
    weights_EO = np.full((len(rows), max((len(n) for n in names), default=0)), np.nan)
    for index, (row, operations) in enumerate(zip(rows, names, strict=True)):
        values = numbers(row, f"{what} row {index}")
        require(
            len(values) >= len(operations),
            f"figure: {what} row {index} has {len(values)} weights for {len(operations)} operations",
        )
        weights_EO[index, : len(operations)] = values[: len(operations)]
    weights_EO[~np.isfinite(weights_EO)] = np.nan
    return weights_EO


@dataclass(frozen=True)
class _Colours:
    """One colour map for all groups.

    Attributes:
        name: of the map.
        norm: of what is coloured.
        uniform: whether that is log2 of the op weight as a multiple of the uniform one, which is one over the
            number of candidates of the edge; else the op weight itself.
        digits: of the op weights as text.
    """

    name: str
    norm: Normalize
    uniform: bool
    digits: int

    def coloured(self, weights_EO: np.ndarray) -> np.ndarray:
        """What the colours of op weights stand for, [E, O]."""
        if not self.uniform:
            return weights_EO
        with np.errstate(divide="ignore"):
            logs_EO = np.log2(weights_EO * np.isfinite(weights_EO).sum(1, keepdims=True))
        return np.clip(logs_EO, self.norm.vmin, self.norm.vmax)

    def explain(self, figure: Figure, image: AxesImage, axes: Sequence[Axes]) -> None:
        """Draws the scale beside the maps."""
        label = "op weight\n(uniform = 1)" if self.uniform else "op weight"
        bar = figure.colorbar(image, ax=axes, label=label, pad=0.01, aspect=35)
        bar.outline.set_visible(False)
        if self.uniform:
            end = float(self.norm.vmax or 0)
            ticks = np.arange(-int(end), int(end) + 1) if end >= 2 else np.linspace(-end, end, 5)
            bar.set_ticks(ticks.tolist(), labels=[f"{2.0**tick:.3g}" for tick in ticks])


def _colours(matrices: Sequence[np.ndarray]) -> _Colours:
    """Diverging from uniform where the op weights of every edge sum to 1, or from 0 where one is negative."""
    finite = np.concatenate([m[np.isfinite(m)] for m in matrices] or [np.zeros(0)])
    sums = np.concatenate([np.nansum(m, 1)[np.isfinite(m).any(1)] for m in matrices])
    if finite.min(initial=0.0) >= 0 and np.allclose(sums, 1.0, atol=1e-3):
        ratios = np.concatenate([(m * np.isfinite(m).sum(1, keepdims=True)).ravel() for m in matrices])
        logs = np.abs(np.log2(ratios[ratios > 0]))
        end = float(np.clip(logs.max(initial=0.0), *NARROWEST_WIDEST))
        return _Colours("RdBu_r", Normalize(-end, end), True, 3 if end < 0.5 else 2)
    largest = float(np.abs(finite).max(initial=0.0)) or 1.0
    if finite.min(initial=0.0) < 0:
        return _Colours("PuOr", Normalize(-largest, largest), False, 2)
    return _Colours("YlGnBu", Normalize(0.0, largest), False, 2)


def _luminance(rgba: Sequence[float]) -> float:
    """How bright a colour looks, 0 to 1, with the sRGB gamma undone."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgba[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _cut(edges: Sequence[tuple[int, int]]) -> list[slice]:
    """The rows of a map in one piece, or in two where they are many: about as long, of whole nodes."""
    targets = [target for _, target in edges]
    places = [row for row in range(1, len(edges)) if targets[row] != targets[row - 1]]
    if len(edges) <= TALLEST or not places or targets != sorted(targets):
        return [slice(0, len(edges))]
    middle = min(places, key=lambda row: (max(row, len(edges) - row), row))
    return [slice(0, middle), slice(middle, len(edges))]


def _draw_group(
    ax: Axes,
    weights_EO: np.ndarray,
    names: list[list[str]],
    edges: list[str],
    colours: _Colours,
    barred: Collection[str],
) -> AxesImage:
    coloured_EO = colours.coloured(weights_EO)
    image = ax.imshow(coloured_EO, aspect="auto", cmap=colours.name, norm=colours.norm)
    ax.set_yticks(range(len(edges)), edges)
    ax.tick_params(length=0, colors=INK)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    alike = all(row == names[0] for row in names)
    ax.set_xticks(range(weights_EO.shape[1]) if alike else [])
    if alike:
        ax.set_xticklabels(
            [short_name(name) for name in names[0]], rotation=35, ha="right", rotation_mode="anchor"
        )
    for edge, row in enumerate(weights_EO):
        best = np.nanargmax(row) if np.isfinite(row).any() else -1
        for place, value in enumerate(row[: len(names[edge])]):
            name = names[edge][place]
            if np.isnan(value) or name in barred:
                ax.add_patch(Rectangle((place - 0.5, edge - 0.5), 1, 1, **BARRED))
            if np.isnan(value):
                continue
            colour = matplotlib.colormaps[colours.name](colours.norm(coloured_EO[edge, place]))
            number = f"{value:.{colours.digits}f}"
            ax.text(
                place,
                edge,
                number if alike else f"{short_name(name)}\n{number}",
                ha="center",
                va="center",
                color="white" if _luminance(colour) < 0.24 else INK,
                weight="bold" if place == best else "normal",
                fontsize=9.5 if alike else 8.5,
            )
    return image


def _frame(ax: Axes, cell: Cell, edges: Sequence[tuple[int, int]], names: list[list[str]]) -> None:
    """A frame around every candidate that the derived cell has."""
    for target, edge in cell.edges:
        if (edge.source, target) in edges:
            row = list(edges).index((edge.source, target))
            if edge.operation in names[row]:
                ax.add_patch(Rectangle((names[row].index(edge.operation) - 0.5, row - 0.5), 1, 1, **FRAME))


def _separate_nodes(ax: Axes, edges: Sequence[tuple[int, int]]) -> None:
    """White lines between the edges to one node and those to the next."""
    for row in range(1, len(edges)):
        if edges[row][1] != edges[row - 1][1]:
            ax.axhline(row - 0.5, color="white", lw=4)


def draw_op_weights(
    weights_by_group: Mapping[str, Sequence[Sequence[float]]],
    operations_by_group: Mapping[str, Operations],
    edges_by_group: Mapping[str, Sequence[tuple[int, int]]],
    path: str | Path,
    title: str | None = None,
    genotype: Genotype | None = None,
    barred: Collection[str] = (),
    caption: str | None = None,
) -> Path:
    """Draws one heat map per group, side by side on a common colour scale; the leader of an edge is bold.

    Where the op weights of every edge sum to 1, white is the uniform one. A group of very many edges takes
    two maps, each of whole nodes.

    Args:
        weights_by_group: group -> [E, O]; rows may differ in length, NaN is a candidate that was dropped.
        operations_by_group: group -> O names, or E lists of names where edges differ; then every cell of the
            map carries its own name.
        edges_by_group: group -> E pairs (source, target).
        path: a .png, .pdf or .svg file.
        title: text above the maps.
        genotype: what is derived; its candidates are framed.
        barred: operations that derivation never takes; they are hatched, as dropped candidates are.
        caption: a line below all, such as the run's name, data and seed.

    Raises:
        ConfigError: shapes or names do not fit each other, or the file cannot be written.
    """
    names, matrices = _checked(weights_by_group, operations_by_group, edges_by_group)
    mixed = any(row != rows[0] for rows in names.values() for row in rows)
    parts = [(group, rows) for group in matrices for rows in _cut(edges_by_group[group])]
    columns = [max(matrices[group].shape[1], 2) for group, _ in parts]
    tallest = max(rows.stop - rows.start for _, rows in parts)
    width = sum(columns) * CELL_WIDTH * (1.2 if mixed else 1.0) + 90 * len(columns) + 70
    height = max(tallest, 3) * CELL_HEIGHT * (1.15 if mixed else 1.0) + 140 + (30 if title else 0)
    with styled():
        figure = new_figure(width, height)
        axes = figure.subplots(1, len(parts), squeeze=False, width_ratios=columns)[0]
        colours = _colours(list(matrices.values()))
        for ax, (group, part) in zip(axes, parts, strict=True):
            edges = edges_by_group[group][part]
            weights_EO, rows = matrices[group][part], names[group][part]
            image = _draw_group(ax, weights_EO, rows, edge_names(edges), colours, barred)
            if genotype is not None and group in genotype:
                _frame(ax, genotype[group], edges, rows)
            whole = len(edges) == len(edges_by_group[group])
            nodes = f"nodes {edges[0][1]} to {edges[-1][1]}"
            ax.set_title(group if whole else f"{group}, {nodes}", loc="left", weight="bold")
            if not whole:
                _separate_nodes(ax, edges)
        colours.explain(figure, image, list(axes))
        dropped = any(
            np.isnan(m[e, : len(n)]).any() for g, m in matrices.items() for e, n in enumerate(names[g])
        )
        handles = [Patch(**FRAME, label="in the derived cell")] if genotype is not None else []
        if barred or dropped:
            handles.append(Patch(**BARRED, label="cannot be derived" if barred else "dropped"))
        if handles:
            figure.legend(
                handles=handles, loc="outside lower left", ncols=2 if width > 420 else 1, labelcolor=INK
            )
        if title:
            figure.suptitle(title, weight="bold", x=0.01, ha="left")
        return save(figure, path, caption)


def _checked(
    weights_by_group: Mapping[str, Sequence[Sequence[float]]],
    operations_by_group: Mapping[str, Operations],
    edges_by_group: Mapping[str, Sequence[tuple[int, int]]],
) -> tuple[dict[str, list[list[str]]], dict[str, np.ndarray]]:
    """Names and op weights of every group, checked against each other."""
    require(len(weights_by_group) >= 1, "figure: no edge group to draw")
    for group, rows in weights_by_group.items():
        known = group in operations_by_group and group in edges_by_group
        require(known, f"figure: group {group!r} lacks its operations or edges")
        count = len(edges_by_group[group])
        require(len(rows) == count, f"figure: {group} has {len(rows)} rows of weights for {count} edges")
        require(count >= 1, f"figure: group {group!r} has no edge")
    names = {g: per_edge(operations_by_group[g], len(rows), g) for g, rows in weights_by_group.items()}
    return names, {g: _matrix(rows, names[g], g) for g, rows in weights_by_group.items()}
