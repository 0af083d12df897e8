"""The pictures of a run folder, drawn from its tables: a view that can be redrawn at any time."""

import logging
from collections.abc import Mapping
from pathlib import Path

import torch

from nas.analysis import plots
from nas.analysis.confusion import DRAWN, FILE, read_confusion
from nas.analysis.plots.exploration import draw_exploration
from nas.analysis.plots.factors import draw_factors
from nas.analysis.plots.sparsity import draw_sparsity
from nas.engine.rows import never_derived
from nas.engine.run_folder import RunFolder, read_table
from nas.files import subfolder
from nas.genotype import Genotype
from nas.methods.method import Method
from nas.spaces.space import EdgeGroup, Space

log = logging.getLogger(__name__)


def draw_search(
    folder: RunFolder, space: Space, method: Method, genotype: Genotype, caption: str | None = None
) -> None:
    """Draws the cells, the op weights at the end and along the search, the curves and the exploration.

    Args:
        folder: the run folder, whose tables are drawn.
        space: of the search.
        method: at its end.
        genotype: what it has found.
        caption: what all pictures carry, such as the run's name, data and seed.
    """
    subfolder(folder.figures)
    groups = space.groups
    operations = {name: group.operations for name, group in groups.items()}
    edges = {name: group.edges for name, group in groups.items()}
    plots.draw_genotype(
        genotype,
        folder.figures / "genotype.png",
        edges_by_group=edges,
        operations_by_group=operations,
        caption=caption,
    )
    single = _single(space)
    weights = folder.figures / ("factors.png" if single else "op_weights.png")
    draw_weights(weights, space, method, genotype, caption=caption)
    _draw_history(folder, groups, operations, edges, single, caption)


def _single(space: Space) -> bool:
    """Whether edges have one candidate each, which has nothing to be compared with but other edges."""
    return all(group.shape[1] == 1 for group in space.groups.values())


def draw_weights(
    path: Path,
    space: Space,
    method: Method,
    genotype: Genotype,
    title: str | None = None,
    caption: str | None = None,
) -> None:
    """Draws the op weights as they stand, with what derivation takes of them; or the scaling factors."""
    strengths, kept = method.strengths(), method.kept()
    operations = {name: group.operations for name, group in space.groups.items()}
    edges = {name: group.edges for name, group in space.groups.items()}
    if _single(space):
        factors = {name: strengths[name][:, 0].tolist() for name in edges}
        fed = {name: [names[0] for names in operations[name]] for name in edges}
        draw_factors(factors, fed, edges, path, caption)
        return
    weights = {
        name: strengths[name].masked_fill(~kept[name].to(strengths[name].device), torch.nan).tolist()
        for name in edges
    }
    barred = never_derived(space)
    plots.draw_op_weights(weights, operations, edges, path, title, genotype, barred, caption)


def _draw_history(
    folder: RunFolder,
    groups: Mapping,
    operations: Mapping,
    edges: Mapping,
    single: bool,
    caption: str | None,
) -> None:
    rows = read_table(folder / "metrics.csv")
    counted = read_table(folder / "sparsity.csv")
    if counted:
        seconds = {row["epoch"]: row["seconds"] for row in counted}
        draw_sparsity(
            _numbers([{**row, "seconds": seconds.get(row["epoch"], "")} for row in rows]),
            folder.figures / "sparsity.png",
            caption,
        )
    if len(rows) > 0 and "weight_loss" in rows[0]:
        plots.draw_curves(_numbers(rows), folder.figures / "curves.png", caption=caption)
        history = None if single else weight_history(folder, groups)
        if history is not None:
            path = folder.figures / "evolution.png"
            plots.draw_weight_evolution(history, operations, edges, path, caption)
    exploration = read_table(folder / "exploration.csv")
    if exploration:
        path = folder.figures / "exploration.png"
        draw_exploration(_numbers(exploration), path, "table accuracy (%)", caption)
    implicit = read_table(folder / "implicit.csv")
    if implicit:
        steps = [int(row["step"]) for row in implicit]
        plots.draw_lines(
            {"cosine": (steps, [float(row["cosine"]) for row in implicit])},
            folder.figures / "implicit.png",
            "search step",
            "cosine with the exact product",
            "Finite difference against double backward",
            caption,
        )


def draw_evaluation(folder: RunFolder, genotype: Genotype, caption: str | None = None) -> None:
    """Draws the cells, the curves, and which classes were taken for which."""
    subfolder(folder.figures)
    plots.draw_genotype(genotype, folder.figures / "genotype.png", caption=caption)
    rows = read_table(folder / "metrics.csv")
    if rows:
        plots.draw_curves(_numbers(rows), folder.figures / "curves.png", caption=caption)
    if (folder / FILE).exists():
        found = read_confusion(folder / FILE)
        if len(found.names) <= DRAWN:
            plots.draw_confusion(found, folder.figures / "confusion.png", caption)
        else:
            log.info("%s: no picture of %d classes; one has at most %d", FILE, len(found.names), DRAWN)


def weight_history(folder: RunFolder, groups: Mapping[str, EdgeGroup]) -> dict[str, list] | None:
    """The op weights of all epochs in `architecture.csv`: {group: [epochs, E, O]}; None if there are none."""
    rows = read_table(folder / "architecture.csv")
    if not rows:
        return None
    history: dict[str, list] = {}
    epochs = sorted({int(row["epoch"]) for row in rows})
    for name, group in groups.items():
        num_edges, num_operations = group.shape
        values = [float(row["weight"]) for row in rows if row["group"] == name]
        size = num_edges * num_operations
        history[name] = [
            [
                values[e * size + r * num_operations : e * size + (r + 1) * num_operations]
                for r in range(num_edges)
            ]
            for e in range(len(epochs))
        ]
    return history


def _numbers(rows: list[dict[str, str]]) -> list[dict[str, float]]:
    return [{name: float(value) for name, value in row.items() if value != ""} for row in rows]
