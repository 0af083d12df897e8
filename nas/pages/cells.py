"""Cells and blocks as vector graphics, laid out as the pictures of a run folder are."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.path import Path as Curve

from nas.analysis.plots import blocks as blocks_plot
from nas.analysis.plots import cells as cells_plot
from nas.analysis.plots.dot import RECURRENT_INPUTS, is_recurrent
from nas.analysis.plots.layout import LABEL_HEIGHT, Wire
from nas.analysis.plots.names import FAMILIES, family, short_name
from nas.errors import ConfigError
from nas.genotype import Cell, Genotype
from nas.pages.blocks import Box, Drawing, Drawings, Mark, Part, Stroke
from nas.pages.forms import digits
from nas.printable import shown

# Nodes of an architecture that is drawn; and of one of its cells the connections, each counted once for every
# node that it goes past, which the time of a layout grows with.
NODES, WIRES = 1500, 400
# Operations that are named beside the one of an edge.
NEXT = 2
# Characters of an architecture as text.
LONGEST = 20_000
HEAD, HALF_HEAD = 10.0, 5.0

# (group, source, target) -> operation -> its strength.
Strengths = Mapping[tuple[str, int, int], Mapping[str, float]]


def draw(
    genotype: Genotype,
    strengths: Strengths | None = None,
    edges: Mapping[str, Sequence[tuple[int, int]]] | None = None,
    operations: Mapping[str, Sequence[Sequence[str]]] | None = None,
) -> Drawings:
    """Draws every cell of an architecture.

    Args:
        genotype: the architecture.
        strengths: what is said of the operations of an edge; None for nothing.
        edges: of blocks alone, what the architecture could have had: group -> E pairs.
        operations: group -> E lists that name the operation which a connection goes into.
    """
    text, strengths = text_of(genotype), strengths or {}
    size = sum(len(cell.nodes) for _, cell in genotype.cells)
    longest = max(_wires(cell) for _, cell in genotype.cells)
    if size > NODES or longest > WIRES:
        return Drawings([], [], text, f"Not drawn: it is too large ({size:,} nodes).")
    kinds = [kind for kind in FAMILIES if kind in {family(name) for name in genotype.operations}]
    if genotype.form.drawing == "blocks":
        given = edges if edges and set(edges) >= {name for name, _ in genotype.cells} else None
        names = {group: [tuple(row) for row in rows] for group, rows in (operations or {}).items()}
        plans = blocks_plot.plans_of(genotype, given, names)
        return Drawings([_block(plan, strengths) for plan in plans], kinds, text)
    ahead = len(RECURRENT_INPUTS) if is_recurrent(genotype) else 0
    drawn = [
        _cell(plan, name, ahead, strengths)
        for (name, _), plan in zip(genotype.cells, cells_plot.plans_of(genotype), strict=True)
    ]
    return Drawings(drawn, kinds, text)


def text_of(genotype: Genotype) -> str:
    """The architecture in its space's form; nothing where it has cells that the form does not know."""
    try:
        return shown(genotype.to_text(), LONGEST)
    except ConfigError:
        return ""


def _wires(cell: Cell) -> int:
    """How much there is to lay out: every connection, once for each node that it may pass."""
    last = cell.inputs + len(cell.nodes)
    ends = [(edge.source, target) for target, edge in cell.edges] + [(node, last) for node in cell.output]
    depth: dict[int, int] = dict.fromkeys(range(cell.inputs), 0)
    for target, edges in enumerate(cell.nodes, start=cell.inputs):
        depth[target] = 1 + max((depth[edge.source] for edge in edges), default=0)
    depth[last] = 1 + max(depth.values())
    return sum(depth[target] - depth[source] for source, target in ends)


def _cell(plan: cells_plot.Plan, group: str, ahead: int, strengths: Strengths) -> Drawing:
    top = plan.bottom + plan.height - cells_plot.HEADING
    parts, told = [], []
    for wire in plan.layout.wires:
        part = _wire(plan, wire, top, group, ahead, strengths)
        parts.append(part)
        told += [part.tip] if part.tip and wire.operation is not None else []
    for item, text in plan.names.items():
        x, y, half = plan.nodes[plan.column[item]], top - plan.layout.y[item], plan.half[item]
        end = item in plan.boxes
        radius = cells_plot.RADIUS
        role = "end" if end else "node"
        box = Box(x - half, y - radius, 2 * half, 2 * radius, 10 if end else radius, _formula(text), role)
        parts.append(Part(boxes=[box]))
    height = top - plan.bottom
    return Drawing(plan.heading, "", plan.width, height, parts, f"{plan.heading}: {'; '.join(told)}")


def _wire(
    plan: cells_plot.Plan, wire: Wire, top: float, group: str, ahead: int, strengths: Strengths
) -> Part:
    """A wire with its label and the arrow from there to its node."""
    way = _way(cells_plot.curve_of(plan, wire), top)
    if wire.operation is None:
        return Part([Stroke(way, "given")])
    given = wire in plan.given
    kind = "given" if given else family(wire.operation)
    look = "dotted" if kind == "none" else "line"
    index = plan.column[wire.target]
    left, width = plan.left[index], plan.labels[index]
    centre = top - plan.layout.y[wire.target] - wire.offset
    arrow, head = _arrow(
        left + width, centre, plan.nodes[index], top - plan.layout.y[wire.target], cells_plot.RADIUS + 1
    )
    label = Box(
        left, centre - LABEL_HEIGHT / 2, width, LABEL_HEIGHT, 8, Mark(_short(wire.operation)), "label", kind
    )
    source = _plain(plan.names[wire.source])
    tip = f"{_short(wire.operation)}: {source} → {plan.names[wire.target]}"
    if not given:
        # A recurrent cell's node 0 is drawn as one that has inputs of its own.
        place = (group, wire.source - ahead, wire.target - ahead)  # type: ignore[operator]  # of an edge: nodes
        tip += _told(strengths.get(place), wire.operation)
    strokes = [Stroke(way, kind, look), Stroke(arrow, kind, look), Stroke(head, kind, "tip")]
    return Part(strokes, [label], tip)


def _told(weights: Mapping[str, float] | None, operation: str) -> str:
    """The strength of an edge's operation, and the next ones."""
    if not weights or operation not in weights:
        return ""
    others = sorted((name for name in weights if name != operation), key=lambda name: -weights[name])[:NEXT]
    after = ", ".join(f"{_short(name)} {digits(weights[name], 3)}" for name in others)
    return f", op weight {digits(weights[operation], 3)}" + (f"; next {after}" if after else "")


def _block(plan: blocks_plot.Plan, strengths: Strengths) -> Drawing:
    graph, top = plan.graph, plan.top
    parts = [Part([Stroke(_way(plan.curve(edge), top), "dead")]) for edge in sorted(graph.dead)]
    for edge in sorted(graph.live):
        kind = "output" if edge[1] == graph.last else graph.kinds[edge[1]]
        tip = f"{_of_block(plan, edge[0])} → {_of_block(plan, edge[1])}"
        told = [
            f"{name} {digits(value, 3)}" for name in graph.groups for value in _factors(strengths, name, edge)
        ]
        tip += f", scaling factor: {', '.join(told[:6])}{' ...' if len(told) > 6 else ''}" if told else ""
        parts.append(Part([Stroke(_way(plan.curve(edge), top), kind)], (), tip))
    if graph.shortcut:
        parts.append(Part([Stroke(_way(plan.arch(), top), "skip", "dashed")], (), "shortcut: x → output"))
    for node, index in plan.column.items():
        end = node in plan.ends
        role = "end" if end else "label" if node in graph.alive else "lost"
        half, high = plan.half[index], blocks_plot.BOX_HEIGHT
        box = Box(
            plan.x[index] - half, top - plan.y[node] - high / 2, 2 * half, high, 8,
            Mark(_unescaped(plan.names.get(node, ""))), role, graph.kinds.get(node, "other"),
        )  # fmt: skip
        parts.append(Part(boxes=[box]))
    height = top - plan.bottom + blocks_plot.MARGIN
    alt = f"{graph.heading}: {graph.caption}"
    return Drawing(graph.heading, graph.caption, plan.width, height, parts, alt)


def _of_block(plan: blocks_plot.Plan, node: int) -> str:
    name = _unescaped(plan.names.get(node, ""))
    return name if node in plan.ends else f"{node} ({name})"


def _factors(strengths: Strengths, group: str, edge: tuple[int, int]) -> list[float]:
    return list(strengths.get((group, *edge), {}).values())[:1]


def _way(curve: Curve, top: float) -> str:
    """A curve as SVG has it, y downwards."""
    letters = {Curve.MOVETO: ("M", 1), Curve.LINETO: ("L", 1), Curve.CURVE3: ("Q", 2), Curve.CURVE4: ("C", 3)}
    words, left = [], 0
    codes: Any = curve.codes  # every curve of ours has some
    for (x, y), code in zip(np.asarray(curve.vertices), codes, strict=True):
        if left == 0:
            letter, left = letters[code]
            words.append(letter)
        left -= 1
        words.append(f"{x:.1f} {top - y:.1f}")
    return " ".join(words)


def _arrow(x0: float, y0: float, x1: float, y1: float, short: float) -> tuple[str, str]:
    """A line that ends `short` before a point, and the head at its end."""
    length = math.hypot(x1 - x0, y1 - y0) or 1.0
    ex, ey = (x1 - x0) / length, (y1 - y0) / length
    tx, ty = x1 - short * ex, y1 - short * ey
    bx, by = tx - HEAD * ex, ty - HEAD * ey
    line = f"M {x0:.1f} {y0:.1f} L {bx:.1f} {by:.1f}"
    left = f"{bx - HALF_HEAD * ey:.1f} {by + HALF_HEAD * ex:.1f}"
    right = f"{bx + HALF_HEAD * ey:.1f} {by - HALF_HEAD * ex:.1f}"
    return line, f"M {tx:.1f} {ty:.1f} L {left} L {right} Z"


def _formula(text: str) -> Mark:
    """`$c_{k-2}$` as a letter with a subscript."""
    match = re.fullmatch(r"\$(\w)(?:_\{?([^}$]*)\}?)?\$(.*)", text)
    return Mark(match[1], match[2] or "", match[3]) if match else Mark(_unescaped(text))


def _plain(text: str) -> str:
    mark = _formula(text)
    return f"{mark.base}{f'[{mark.below}]' if mark.below else ''}{mark.rest}"


def _unescaped(text: str) -> str:
    """What matplotlib reads as a dollar sign."""
    return shown(text.replace(r"\$", "$"))


def _short(operation: str) -> str:
    return _unescaped(short_name(operation))
