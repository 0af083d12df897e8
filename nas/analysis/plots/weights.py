"""Op weights as heat maps: which operation leads on which edge, and by how much."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.image import AxesImage

from nas.analysis.plots.names import INK, short_name
from nas.analysis.plots.style import new_figure, numbers, save, styled
from nas.errors import require

Operations = Sequence[str] | Sequence[Sequence[str]]
CELL_WIDTH, CELL_HEIGHT = 66.0, 36.0
# A map of more rows than this is cut in two, between the edges of one node and those of the next.
TALLEST = 24


def per_edge(operations: Operations, edges: int, what: str) -> list[list[str]]:
    """The operation names of every edge, from one list for all edges or from one list an edge.

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


def _scale(matrices: Sequence[np.ndarray]) -> tuple[str, Normalize]:
    """One colour map for all groups: sequential from zero, diverging where a weight is negative."""
    found = np.concatenate([m[np.isfinite(m)] for m in matrices] or [np.zeros(0)])
    largest = float(np.abs(found).max(initial=0.0)) or 1.0
    if found.min(initial=0.0) < 0:
        return "PuOr", Normalize(-largest, largest)
    return "YlGnBu", Normalize(0.0, largest)


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
    colours: tuple[str, Normalize],
) -> AxesImage:
    image = ax.imshow(weights_EO, aspect="auto", cmap=colours[0], norm=colours[1])
    ax.set_yticks(range(len(edges)), edges)
    ax.tick_params(length=0, colors=INK)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    uniform = all(row == names[0] for row in names)
    ax.set_xticks(range(weights_EO.shape[1]) if uniform else [])
    if uniform:
        ax.set_xticklabels(
            [short_name(name) for name in names[0]], rotation=35, ha="right", rotation_mode="anchor"
        )
    for edge, row in enumerate(weights_EO):
        best = np.nanargmax(row) if np.isfinite(row).any() else -1
        for place, value in enumerate(row):
            if np.isnan(value):
                continue
            dark = _luminance(matplotlib.colormaps[colours[0]](colours[1](value))) < 0.24
            text = f"{value:.2f}" if uniform else f"{short_name(names[edge][place])}\n{value:.2f}"
            weight = "bold" if place == best else "normal"
            ink = "white" if dark else INK
            size = 9.5 if uniform else 8.5
            ax.text(place, edge, text, ha="center", va="center", color=ink, weight=weight, fontsize=size)
    return image


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
) -> Path:
    """Draws one heat map a group, side by side on a common colour scale; the leader of an edge is bold.

    A group of very many edges takes two maps, each of whole nodes.

    Args:
        weights_by_group: group -> [E, O]; rows may differ in length, NaN leaves a cell empty.
        operations_by_group: group -> O names, or E lists of names where edges differ; then every cell of the
            map carries its own name.
        edges_by_group: group -> E pairs (source, target).
        path: a .png, .pdf or .svg file.
        title: text above the maps.

    Raises:
        ConfigError: shapes or names do not fit each other, or the file cannot be written.
    """
    require(len(weights_by_group) >= 1, "figure: no edge group to draw")
    for group, rows in weights_by_group.items():
        known = group in operations_by_group and group in edges_by_group
        require(known, f"figure: group {group!r} lacks its operations or edges")
        count = len(edges_by_group[group])
        require(len(rows) == count, f"figure: {group} has {len(rows)} rows of weights for {count} edges")
        require(count >= 1, f"figure: group {group!r} has no edge")
    names = {g: per_edge(operations_by_group[g], len(rows), g) for g, rows in weights_by_group.items()}
    matrices = {g: _matrix(rows, names[g], g) for g, rows in weights_by_group.items()}
    mixed = any(row != rows[0] for rows in names.values() for row in rows)
    parts = [(group, rows) for group in matrices for rows in _cut(edges_by_group[group])]
    columns = [max(matrices[group].shape[1], 2) for group, _ in parts]
    tallest = max(rows.stop - rows.start for _, rows in parts)
    width = sum(columns) * CELL_WIDTH * (1.2 if mixed else 1.0) + 90 * len(columns) + 70
    height = max(tallest, 3) * CELL_HEIGHT * (1.15 if mixed else 1.0) + 110 + (30 if title else 0)
    with styled():
        figure = new_figure(width, height)
        axes = figure.subplots(1, len(parts), squeeze=False, width_ratios=columns)[0]
        colours = _scale(list(matrices.values()))
        for ax, (group, part) in zip(axes, parts, strict=True):
            edges = edges_by_group[group][part]
            image = _draw_group(ax, matrices[group][part], names[group][part], edge_names(edges), colours)
            whole = len(edges) == len(edges_by_group[group])
            nodes = f"nodes {edges[0][1]} to {edges[-1][1]}"
            ax.set_title(group if whole else f"{group}, {nodes}", loc="left", weight="bold")
            if not whole:
                _separate_nodes(ax, edges)
        figure.colorbar(image, ax=list(axes), label="op weight", pad=0.01, aspect=35).outline.set_visible(
            False
        )
        if title:
            figure.suptitle(title, weight="bold", x=0.01, ha="left")
        return save(figure, path)
