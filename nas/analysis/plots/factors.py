"""Scaling factors as matrices: which operation of a block feeds which, and how strongly."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from nas.analysis.plots.names import INK, short_name
from nas.analysis.plots.style import new_figure, numbers, save, styled
from nas.errors import require

SQUARE, PANELS = 21.0, 4
ABSENT = "#f0f0f0"


def draw_factors(
    factors_by_group: Mapping[str, Sequence[float]],
    operations_by_group: Mapping[str, Sequence[str]],
    edges_by_group: Mapping[str, Sequence[tuple[int, int]]],
    path: str | Path,
    caption: str | None = None,
) -> Path:
    """Draws a matrix per group, a row for each target and a column for each source, on one colour scale.

    A factor of exactly zero is white with a dot, grey is where there is no connection.

    Args:
        factors_by_group: group -> E factors.
        operations_by_group: group -> for each connection the operation that it feeds.
        edges_by_group: group -> E pairs (source, target).
        path: a .png, .pdf or .svg file.
        caption: a line below all, such as the run's name, data and seed.

    Raises:
        ConfigError: lengths do not fit each other, or the file cannot be written.
    """
    require(len(factors_by_group) >= 1, "figure: no edge group to draw")
    panels = {}
    for group, factors in factors_by_group.items():
        edges, names = edges_by_group[group], operations_by_group[group]
        require(
            len(edges) == len(factors) == len(names) > 0,
            f"figure: {group} has {len(factors)} factors, {len(edges)} edges and {len(names)} operations",
        )
        panels[group] = _matrix(numbers(factors, group), names, edges)
    largest = max(float(np.nanmax(np.abs(matrix))) for matrix, _, _ in panels.values()) or 1.0
    columns = min(PANELS, len(panels))
    rows = -(-len(panels) // columns)
    tall = max(matrix.shape[0] for matrix, _, _ in panels.values())
    wide = max(matrix.shape[1] for matrix, _, _ in panels.values())
    with styled():
        figure = new_figure(columns * (wide * SQUARE + 90) + 90, rows * (tall * SQUARE + 75) + 20)
        axes = figure.subplots(rows, columns, squeeze=False)
        image = None
        for index, ax in enumerate(axes.flat):
            if index >= len(panels):
                ax.set_visible(False)
                continue
            group = list(panels)[index]
            image = _draw(ax, *panels[group], largest)
            # A connection is as large in a small group as in a large one.
            ax.set_xlim(-0.5, wide - 0.5)
            ax.set_ylim(tall - 0.5, -0.5)
            ax.set_title(group.replace("_", " "), loc="left", weight="bold")
        assert image is not None  # there is a panel
        bar = figure.colorbar(image, ax=axes, label="scaling factor", pad=0.01, aspect=30)
        bar.outline.set_visible(False)
        return save(figure, path, caption)


def _matrix(
    factors: np.ndarray, names: Sequence[str], edges: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, list[str], list[int]]:
    """Factors as [targets, sources] with NaN where there is no connection, labels of both."""
    sources = sorted({source for source, _ in edges})
    fed: dict[int, str] = {target: short_name(name) for (_, target), name in zip(edges, names, strict=True)}
    targets = sorted(fed)
    matrix = np.full((len(targets), len(sources)), np.nan)
    for (source, target), factor in zip(edges, factors, strict=True):
        matrix[targets.index(target), sources.index(source)] = factor
    output = targets[-1] if len(sources) > 1 else None
    labels = ["output" if target == output else f"{target}  {fed[target]}" for target in targets]
    return matrix, labels, sources


def _draw(ax: Axes, matrix: np.ndarray, labels: list[str], sources: list[int], largest: float) -> AxesImage:
    low = -largest if np.nanmin(matrix) < 0 else 0.0
    colours = matplotlib.colormaps["PuOr" if low else "YlGnBu"].with_extremes(bad=ABSENT)
    shown = np.where(matrix == 0, np.nan, matrix)
    image = ax.imshow(shown, cmap=colours, norm=Normalize(low, largest))
    for row, column in zip(*np.nonzero(matrix == 0), strict=True):
        ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor="white", linewidth=0))
        ax.plot(column, row, ".", color="#bbbbbb", markersize=3)
    names = ["x" if source == 0 else str(source) for source in sources]
    # A single source needs no name, and would have it far below.
    single = len(sources) == 1
    ax.set_xticks([] if single else range(len(sources)), [] if single else names)
    ax.set_yticks(range(len(labels)), labels)
    ax.tick_params(length=0, colors=INK, labelsize=8)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return image
