"""Blocks of DSO-NAS as pictures: levels from left to right, what was pruned faint, the shortcut above.

A connection that skips levels passes them between two operations, never behind one. Blocks that are alike
share a picture, so that 24 of them fit a page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Curve

from nas.analysis.plots.names import FAMILIES, INK, family, short_name
from nas.analysis.plots.shapes import (
    FONT,
    MARGIN,
    MAX_WIDTH,
    Way,
    draw_sheet,
    family_handles,
    rounded,
    text_width,
)
from nas.errors import require
from nas.genotype import Cell, Genotype

Edges = Sequence[tuple[int, int]]

BOX_HEIGHT, ROW = 28.0, 56.0
GAP = 56.0
CAPTION = 54.0
ARCH = 20.0
PORTS = 9.0
LANES = 9.0
DEAD_LINE, DEAD_TEXT, OUTPUT_LINE = "#e2e2e2", "#b4b4b4", "#777777"
SHORTCUT = FAMILIES["skip"]
SMALLEST_LINE = 0.75


@dataclass(frozen=True)
class Graph:
    """A cell with what it has lost: the last node is the output.

    Attributes:
        groups: the names of the cells that are like this one.
        last: the output.
        columns: nodes by level.
        names: node -> its operation as a picture names it.
        kinds: node -> the family of its operation.
        live, dead: connections that the architecture has, and that it has lost.
        alive: nodes of live connections.
        shortcut: whether one goes past all of them.
        heading, caption: above the picture.
    """

    groups: tuple[str, ...]

    last: int
    columns: tuple[tuple[int, ...], ...]
    names: dict[int, str]
    kinds: dict[int, str]
    live: frozenset[tuple[int, int]]
    dead: frozenset[tuple[int, int]]
    alive: frozenset[int]
    shortcut: bool
    heading: str
    caption: str


def _graph(
    names: list[str], cell: Cell, edges: Edges | None, operations: Sequence | None, reduces: bool
) -> Graph:
    last = cell.inputs + len(cell.nodes)
    # The two branches of a reduction have no shortcut beside them.
    shortcut = not reduces
    live = {(edge.source, target) for target, edge in cell.edges}
    live |= {(node, last) for node in cell.output if node >= cell.inputs or not shortcut}
    alive = {node for edge in live for node in edge}
    words = {
        target: dict.fromkeys(short_name(e.operation) for t, e in cell.edges if t == target)
        for target, _ in cell.edges
    }
    kinds = {target: family(edge.operation) for target, edge in cell.edges}
    every, nodes = set(live), [node for node in range(cell.inputs, last) if node in alive]
    if edges is not None:
        nodes = list(range(cell.inputs, last))
        for (source, target), row in zip(edges, operations or (), strict=True):
            require(
                0 <= source < target <= last,
                f"figure: {names[0]} has nodes 0 to {last}, but its group a connection {source}→{target}",
            )
            if target < last:
                words.setdefault(target, dict.fromkeys(map(short_name, row)))
                kinds.setdefault(target, family(row[0]))
        every |= set(edges)
        fed = {target for _, target in every}
        # Rows that a space leaves out: what is never scaled is always there.
        every |= {(0, node) for node in nodes if node not in fed}
        every |= set() if any(t == last for _, t in edges) else {(node, last) for node in nodes}
    level = dict.fromkeys(range(cell.inputs), 0)
    for node in nodes:
        level[node] = 1 + max((level[s] for s, t in every if t == node and s in level), default=0)
    deepest = max(level.values())
    columns = [tuple(n for n in level if level[n] == depth) for depth in range(deepest + 1)]
    if len(columns) > 2 and len(columns[1]) == len(columns[2]):
        # Dead operations of the first level have no row that would name them; each level repeats the others.
        for node, like in zip(columns[1], columns[2], strict=True):
            if node not in words and like in words:
                words[node], kinds[node] = words[like], kinds[like]
    count = len([n for n in nodes if n in alive])
    caption = f"{count} operation{'s' if count != 1 else ''}"
    if edges is not None:
        kept = len(live & set(edges))
        caption = f"{count} of {len(nodes)} operations, {kept} of {len(edges)} connections"
    return Graph(
        tuple(names),
        last,
        (*columns, (last,)),
        {node: " + ".join(operations) for node, operations in words.items()},
        kinds,
        frozenset(live),
        frozenset(every - live),
        frozenset(alive),
        shortcut,
        _heading(names),
        caption if count or not shortcut else f"{caption}: the shortcut alone",
    )


def _heading(names: list[str]) -> str:
    """`block_01`, `block_02`, `block_03`, `block_07` become "block 01-03, 07"."""
    parts = [name.rpartition("_") for name in names]
    if len(names) == 1 or any(not number.isdigit() or head != parts[0][0] for head, _, number in parts):
        return ", ".join(name.replace("_", " ") for name in names)
    numbers = sorted((number for *_, number in parts), key=int)
    runs = []
    for _, run in groupby(enumerate(numbers), key=lambda item: int(item[1]) - item[0]):
        members = [number for _, number in run]
        joint = "\u2013" if len(members) > 2 else ", "
        runs.append(members[0] if len(members) == 1 else f"{members[0]}{joint}{members[-1]}")
    return f"{parts[0][0].replace('_', ' ')} {', '.join(runs)}"


class Plan:
    """Where the parts of a graph go, in pixels before scaling; y grows upwards from the middle."""

    def __init__(self, graph: Graph):
        self.graph = graph
        ends = {graph.last: "output"} | {
            node: "x" if len(graph.columns[0]) == 1 else f"x{node}" for node in graph.columns[0]
        }
        self.names = graph.names | ends
        self.ends = frozenset(ends)
        self.half: list[float] = []
        self.x: list[float] = []
        x = MARGIN
        for column in graph.columns:
            half = max(22.0, *(text_width(self.names.get(node, "")) / 2 + 9 for node in column))
            x += half
            self.x.append(x)
            self.half.append(half)
            x += half + GAP
        self.tallest = max(len(column) for column in graph.columns)
        self.column = {node: index for index, column in enumerate(graph.columns) for node in column}
        self.y = {
            node: ((len(column) - 1) / 2 - row) * ROW
            for column in graph.columns
            for row, node in enumerate(column)
        }
        self.width = x - GAP + MARGIN
        self.width = max(self.width, 2 * MARGIN + 1.25 * text_width(graph.heading))
        self.width = max(self.width, 2 * MARGIN + text_width(graph.caption))
        self.top = self.tallest * ROW / 2 + (ARCH if graph.shortcut else 0.0)
        self.bottom = -self.tallest * ROW / 2
        self.height = self.top - self.bottom + CAPTION + MARGIN
        self.lanes = self._lanes()
        self.ports = self._ports()

    def _lanes(self) -> dict[tuple[int, int], list[float]]:
        """For every connection its heights in the columns that it passes: between two rows."""
        crowds: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for edge in self.graph.live | self.graph.dead:
            first, final = self.column[edge[0]], self.column[edge[1]]
            for index in range(first + 1, final):
                share = (index - first) / (final - first)
                straight = self.y[edge[0]] + share * (self.y[edge[1]] - self.y[edge[0]])
                rows = len(self.graph.columns[index])
                # Gaps are numbered from the top; with an odd tie the one nearer to the middle is taken.
                gaps = [(rows / 2 - gap) * ROW for gap in range(rows + 1)]
                gap = min(range(rows + 1), key=lambda g: (round(abs(gaps[g] - straight), 6), abs(gaps[g]), g))
                crowds.setdefault((index, gap), []).append(edge)
        heights: dict[tuple[int, int], dict[int, float]] = {}
        for (index, gap), edges in crowds.items():
            centre = (len(self.graph.columns[index]) / 2 - gap) * ROW
            live = sorted(
                (edge for edge in edges if edge in self.graph.live),
                key=lambda edge: (-self.y[edge[0]] - self.y[edge[1]], edge),
            )
            for place, edge in enumerate(live):
                spread = LANES * (1 - 2 * place / (len(live) - 1)) if len(live) > 1 else 0.0
                heights.setdefault(edge, {})[index] = centre + spread
            # What is dead may share its way: it is there to be seen, not to be followed.
            for edge in edges:
                heights.setdefault(edge, {}).setdefault(index, centre)
        return {edge: [passed[index] for index in sorted(passed)] for edge, passed in heights.items()}

    def _ports(self) -> dict[tuple[int, int], float]:
        """How far from its target's middle a live connection arrives, so that each can be seen."""
        ports = {}
        for target in {target for _, target in self.graph.live}:
            edges = [edge for edge in self.graph.live if edge[1] == target]
            edges.sort(key=lambda edge: (-(self.lanes.get(edge) or [self.y[edge[0]]])[-1], edge))
            for place, edge in enumerate(edges):
                ports[edge] = PORTS * (1 - 2 * place / (len(edges) - 1)) if len(edges) > 1 else 0.0
        return ports

    def curve(self, edge: tuple[int, int]) -> Curve:
        """The way of a connection: level through the lanes, bent between the columns."""
        first, final = self.column[edge[0]], self.column[edge[1]]
        way = Way(self.x[first] + self.half[first], self.y[edge[0]])
        for index, height in enumerate(self.lanes.get(edge, ()), start=first + 1):
            way.bend(self.x[index] - self.half[index], height)
            way.level(self.x[index] + self.half[index])
        way.bend(self.x[final] - self.half[final], self.y[edge[1]] + self.ports.get(edge, 0.0))
        return way.curve()

    def arch(self) -> Curve:
        """The shortcut: from the input up, over everything and down to the output."""
        left, right, radius = self.x[0], self.x[-1], 14.0
        top = self.top - MARGIN / 2
        start = self.y[self.graph.columns[0][0]] + BOX_HEIGHT / 2
        points = [
            (left, start),
            (left, top - radius),
            (left, top),
            (left + radius, top),
            (right - radius, top),
            (right, top),
            (right, top - radius),
            (right, BOX_HEIGHT / 2),
        ]
        line, curve = Curve.LINETO, Curve.CURVE3
        return Curve(points, [Curve.MOVETO, line, curve, curve, line, curve, curve, line])


def _draw(ax: Axes, plan: Plan) -> None:
    graph = plan.graph
    ax.set_axis_off()
    ax.set_xlim(0, plan.width)
    ax.set_ylim(plan.bottom - MARGIN, plan.top + CAPTION)
    ax.set_aspect("equal")
    box = ax.get_window_extent()
    scale = box.width / plan.width / ax.figure.dpi * 72
    # Artists rather than patches: the limits are set, and nobody need measure thousands of curves.
    for edge in sorted(graph.dead):
        ax.add_artist(PathPatch(plan.curve(edge), fc="none", ec=DEAD_LINE, lw=0.9 * scale, zorder=0))
    for edge in sorted(graph.live):
        # As in other pictures a line has the colour of the operation that it goes into.
        colour = OUTPUT_LINE if edge[1] == graph.last else FAMILIES[graph.kinds[edge[1]]]
        ax.add_artist(PathPatch(plan.curve(edge), fc="none", ec=colour, lw=2.0 * scale, zorder=2))
    if graph.shortcut:
        look: dict[str, Any] = {"ec": SHORTCUT, "lw": 2.0 * scale, "ls": (0, (4, 2))}
        ax.add_artist(PathPatch(plan.arch(), fc="none", zorder=1, **look))
    for node, index in plan.column.items():
        _draw_box(ax, plan, node, index, scale)
    left: dict[str, Any] = {"ha": "left", "va": "top", "color": INK}
    top = plan.top + CAPTION
    ax.text(MARGIN, top - 2, graph.heading, fontsize=1.1 * FONT * scale, weight="bold", **left)
    ax.text(MARGIN, top - 26, graph.caption, fontsize=0.9 * FONT * scale, **left)


def _draw_box(ax: Axes, plan: Plan, node: int, index: int, scale: float) -> None:
    x, y, half = plan.x[index], plan.y[node], plan.half[index]
    look: dict[str, Any] = {"fc": "white", "lw": 1.0 * scale, "ec": DEAD_TEXT, "ls": (0, (3, 2))}
    ink = DEAD_TEXT
    if node in plan.ends:
        look, ink = {"fc": "#ececec", "lw": 1.3 * scale, "ec": INK}, INK
    elif node in plan.graph.alive:
        look = {
            "fc": "white",
            "lw": 2.2 * scale,
            "ec": FAMILIES[plan.graph.kinds.get(node, "other")],
        }
        ink = INK
    ax.add_artist(rounded(x - half, y - BOX_HEIGHT / 2, 2 * half, BOX_HEIGHT, 8, **look))
    ax.text(
        x,
        y,
        plan.names.get(node, ""),
        fontsize=FONT * scale,
        ha="center",
        va="center_baseline",
        color=ink,
        zorder=6,
        gid="label",
    )


def _handles(plans: list[Plan]) -> list[Line2D]:
    graphs = [plan.graph for plan in plans]
    there = {graph.kinds[node] for graph in graphs for node in graph.alive if node in graph.kinds}
    handles = family_handles([kind for kind in FAMILIES if kind in there])
    if any(graph.alive for graph in graphs):
        handles.append(Line2D([], [], color=OUTPUT_LINE, lw=3, label="to the output"))
    if any(graph.shortcut for graph in graphs):
        handles.append(Line2D([], [], color=SHORTCUT, lw=2, ls=(0, (4, 2)), label="shortcut"))
    if any(graph.dead for graph in graphs):
        handles.append(Line2D([], [], color=DEAD_LINE, lw=2, label="pruned"))
    return handles


def _scale(plans: list[Plan]) -> float:
    """All in one line where that is large enough; else two wide blocks side by side, three from five on."""
    whole = MAX_WIDTH / sum(plan.width for plan in plans)
    if whole >= SMALLEST_LINE:
        return min(1.0, whole)
    wide = [plan for plan in plans if plan.width > MAX_WIDTH / 3]
    beside = 1 if len(wide) <= 1 else 2 if len(wide) <= 4 else 3
    return min(1.0, MAX_WIDTH / (beside * max(plan.width for plan in plans)))


def draw_blocks(
    genotype: Genotype,
    path: str | Path,
    edges_by_group: Mapping[str, Edges] | None = None,
    operations_by_group: Mapping[str, Sequence[Sequence[str]]] | None = None,
    title: str | None = None,
    caption: str | None = None,
) -> Path:
    """Draws every distinct block of a DSO-NAS genotype, and its reductions.

    Args:
        genotype: cells of one input whose last node is followed by the output.
        path: a .png, .pdf or .svg file; missing folders are made.
        edges_by_group: group -> E pairs (source, target) of the space; what the genotype lacks of them is
            drawn faint. Without it only what is alive is drawn, and an operation's level is the longest path
            that leads to it.
        operations_by_group: group -> E lists that name the operation which a connection goes into.
        title: text above all blocks.
        caption: a line below all, such as the run's name, data and seed.

    Raises:
        ConfigError: a group does not fit its cell, the suffix is unknown or the file cannot be written.
    """
    plans = plans_of(genotype, edges_by_group, operations_by_group)
    return draw_sheet(path, plans, _draw, _handles(plans), 135.0, title, caption, _scale(plans))


def plans_of(
    genotype: Genotype,
    edges_by_group: Mapping[str, Edges] | None = None,
    operations_by_group: Mapping[str, Sequence[Sequence[str]]] | None = None,
) -> list[Plan]:
    """Where everything goes in the pictures of a genotype's blocks, one for those that are alike.

    Args:
        genotype: as for `draw_blocks`, and the groups too.
        edges_by_group: group -> E pairs (source, target); None for what is alive alone.
        operations_by_group: group -> E lists that name the operation which a connection goes into.

    Raises:
        ConfigError: a group does not fit its cell.
    """
    alike: dict[tuple, list[str]] = {}
    for name, cell in genotype.cells:
        edges = None if edges_by_group is None else edges_by_group.get(name)
        rows = () if edges is None else tuple((operations_by_group or {}).get(name, ()))
        edges = None if edges is None else tuple(edges)
        require(
            edges is None or len(rows) == len(edges),
            f"figure: {name} has {len(edges or ())} connections but names operations for {len(rows)}",
        )
        alike.setdefault((cell, edges, rows, genotype.form.reduces(name)), []).append(name)
    return [Plan(_graph(names, *parts)) for parts, names in alike.items()]
