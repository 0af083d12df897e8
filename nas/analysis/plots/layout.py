"""Where everything in a drawn cell goes: nodes in columns by depth, long edges in lanes of their own.

An edge that skips columns passes each of them in a lane, which takes part in the ordering like a node. So no
curve runs behind a node or a label, whatever the cell. Units are pixels, y grows upwards.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from nas.genotype import Cell

LABEL_HEIGHT = 30.0
NODE_HEIGHT = 42.0
LANE_HEIGHT = 4.0
GAP = 12.0


@dataclass
class Wire:
    """A line from `source` to `target` through `lanes`; `operation` is None for a line to the output."""

    source: Hashable
    target: Hashable
    operation: str | None
    lanes: list[Hashable] = field(default_factory=list)
    offset: float = 0.0

    @property
    def stops(self) -> list[Hashable]:
        """All items that the wire visits, one per column."""
        return [self.source, *self.lanes, self.target]


@dataclass
class Layout:
    """Columns of items from left to right, each from bottom to top, with the height of its centre."""

    columns: list[list[Hashable]]
    wires: list[Wire]
    y: dict[Hashable, float]
    heights: dict[Hashable, float]


def lay_out(cell: Cell) -> Layout:
    """Places the nodes of `cell`, the lanes of its long edges, and the item `"output"` in the last column."""
    depth: dict[Hashable, int] = dict.fromkeys(range(cell.inputs), 0)
    for target, edges in enumerate(cell.nodes, start=cell.inputs):
        depth[target] = 1 + max((depth[edge.source] for edge in edges), default=0)
    depth["output"] = 1 + max(depth.values())
    wires = [Wire(edge.source, target, edge.operation) for target, edge in cell.edges]
    wires += [Wire(node, "output", None) for node in cell.output]

    columns: list[list[Hashable]] = [[] for _ in range(depth["output"] + 1)]
    for item, column in depth.items():
        columns[column].append(item)
    heights: dict[Hashable, float] = {item: NODE_HEIGHT for item in depth}
    for target, edges in enumerate(cell.nodes, start=cell.inputs):
        heights[target] = max(NODE_HEIGHT, len(edges) * (LABEL_HEIGHT + 4) - 4)
    for number, wire in enumerate(wires):
        for column in range(depth[wire.source] + 1, depth[wire.target]):
            lane = (number, column)
            wire.lanes.append(lane)
            columns[column].append(lane)
            heights[lane] = LANE_HEIGHT
    for items in columns:
        items.reverse()

    links = [pair for wire in wires for pair in pairwise(wire.stops)]
    columns = _untangle(columns, links)
    layout = Layout(columns, wires, {}, heights)
    _settle(layout)
    _order_labels(layout)
    _settle(layout)
    _order_labels(layout)
    return layout


def _neighbours(links: list[tuple[Hashable, Hashable]]) -> tuple[dict, dict]:
    before: dict[Hashable, list[Hashable]] = {}
    after: dict[Hashable, list[Hashable]] = {}
    for left, right in links:
        after.setdefault(left, []).append(right)
        before.setdefault(right, []).append(left)
    return before, after


def _crossings(left: list[Hashable], right: list[Hashable], after: dict) -> int:
    place = {item: index for index, item in enumerate(right)}
    ends = [sorted(place[end] for end in after.get(item, ())) for item in left]
    flat = np.array([(index, end) for index, row in enumerate(ends) for end in row]).reshape(-1, 2)
    later = flat[:, None, 0] < flat[None, :, 0]
    return int((later & (flat[:, None, 1] > flat[None, :, 1])).sum())


def _total(columns: list[list[Hashable]], after: dict) -> int:
    return sum(_crossings(a, b, after) for a, b in pairwise(columns))


def _untangle(columns: list[list[Hashable]], links: list[tuple[Hashable, Hashable]]) -> list[list[Hashable]]:
    """Reorders all columns but the inputs' so that few wires cross: barycentre sweeps, then swaps."""
    before, after = _neighbours(links)
    best, fewest = [list(c) for c in columns], _total(columns, after)
    for sweep in range(12):
        forward = sweep % 2 == 0
        indices = range(1, len(columns)) if forward else range(len(columns) - 2, 0, -1)
        for index in indices:
            beside = columns[index - 1] if forward else columns[index + 1]
            place = {item: rank for rank, item in enumerate(beside)}
            toward = before if forward else after
            centre = len(beside) / 2
            means = {
                item: float(np.mean([place[other] for other in toward[item]])) if item in toward else centre
                for item in columns[index]
            }
            columns[index].sort(key=means.__getitem__)
        count = _total(columns, after)
        if count < fewest:
            best, fewest = [list(c) for c in columns], count
    for _ in range(3):
        for index in range(1, len(best)):
            around = best[index - 1 : index + 2]
            column = best[index]
            for low in range(len(column) - 1):
                old = _total(around, after)
                column[low], column[low + 1] = column[low + 1], column[low]
                if _total(around, after) >= old:
                    column[low], column[low + 1] = column[low + 1], column[low]
    return best


def _settle(layout: Layout) -> None:
    """Moves every item as close to its neighbours' height as its order and the gaps allow."""
    pulls: dict[Hashable, list[tuple[Hashable, float, float]]] = {}
    for wire in layout.wires:
        stops = wire.stops
        for left, right in pairwise(stops):
            shift = wire.offset if right == wire.target else 0.0
            strength = 8.0 if isinstance(left, tuple) and isinstance(right, tuple) else 1.0
            pulls.setdefault(left, []).append((right, shift, strength))
            pulls.setdefault(right, []).append((left, -shift, strength))
    y = layout.y
    for column in layout.columns:
        at = _spaced([y.get(item, 0.0) for item in column], [layout.heights[item] for item in column])
        y.update(zip(column, at, strict=True))
    for sweep in range(60):
        for column in layout.columns if sweep % 2 == 0 else reversed(layout.columns):
            wanted = [
                np.average([y[o] + s for o, s, _ in pulls[i]], weights=[w for *_, w in pulls[i]])
                if i in pulls
                else y[i]
                for i in column
            ]
            at = _spaced(wanted, [layout.heights[item] for item in column])
            y.update(zip(column, at, strict=True))


def _spaced(wanted: list[float], heights: list[float]) -> list[float]:
    """The heights nearest to `wanted` (least squares) that keep the order and the gaps between items."""
    steps = [(a + b) / 2 + GAP for a, b in pairwise(heights)]
    base = np.concatenate([[0.0], np.cumsum(steps)])
    blocks: list[tuple[float, int]] = []
    for value in np.asarray(wanted) - base:
        mean, size = float(value), 1
        while blocks and blocks[-1][0] > mean:
            last, count = blocks.pop()
            mean, size = (mean * size + last * count) / (size + count), size + count
        blocks.append((mean, size))
    return list(np.repeat([m for m, _ in blocks], [n for _, n in blocks]) + base)


def _order_labels(layout: Layout) -> None:
    """Stacks the labels before each node in the order in which their wires arrive."""
    arriving: dict[Hashable, list[Wire]] = {}
    for wire in layout.wires:
        if wire.operation is not None:
            arriving.setdefault(wire.target, []).append(wire)
    for wires in arriving.values():
        wires.sort(key=lambda wire: layout.y[wire.stops[-2]])
        for rank, wire in enumerate(wires):
            wire.offset = (rank - (len(wires) - 1) / 2) * (LABEL_HEIGHT + 4)
