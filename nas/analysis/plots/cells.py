"""A genotype as a picture: inputs at the left, output at the right, every operation on its own label."""

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, PathPatch
from matplotlib.path import Path as Curve

from nas.analysis.plots.blocks import draw_blocks
from nas.analysis.plots.dot import (
    FIRST_STATE,
    RECURRENT_INPUTS,
    RECURRENT_OUTPUT,
    input_names,
    is_recurrent,
    to_dot,
)
from nas.analysis.plots.layout import LABEL_HEIGHT, NODE_HEIGHT, Layout, Wire, lay_out
from nas.analysis.plots.names import FAINT, FAMILIES, INK, family, short_name
from nas.analysis.plots.shapes import (
    FONT,
    MARGIN,
    MAX_WIDTH,
    add_legend,
    add_title,
    family_handles,
    rounded,
    text_width,
)
from nas.analysis.plots.style import new_figure, save, styled, write
from nas.genotype import Cell, Edge, Genotype

HEADING = 34.0
RADIUS = NODE_HEIGHT / 2
ARROW = 30.0
# What no search chooses: the way to the output, and to the first state of a recurrent cell.
GIVEN = "#c4c4c4"
NAMED = frozenset({"normal", "reduce", "recurrent"})


class _Plan:
    """A cell's layout with the x positions (pixels) that its texts need."""

    def __init__(self, cell: Cell, recurrent: bool = False):
        # The node that a recurrent cell counts as 0 is drawn as one that has inputs of its own.
        ahead = len(RECURRENT_INPUTS) if recurrent else 0
        drawn = _with_first_state(cell) if recurrent else cell
        inputs = RECURRENT_INPUTS if recurrent else input_names(cell.inputs)
        self.layout: Layout = lay_out(drawn)
        self.given: list[Wire] = _join(self.layout, ahead) if recurrent else []
        self.names: dict[Hashable, str] = {
            item: str(item - ahead)
            for column in self.layout.columns
            for item in column
            if isinstance(item, int)
        }
        self.names.update({i: f"${name}$" for i, name in enumerate(inputs)})
        self.names["output"] = f"${RECURRENT_OUTPUT}$ (mean)" if recurrent else "output"
        self.boxes = {*range(len(inputs)), "output"}
        widths: dict[Hashable, float] = {}
        for wire in self.layout.wires:
            if wire.operation is not None:
                need = text_width(short_name(wire.operation)) + 18
                widths[wire.target] = max(widths.get(wire.target, 0.0), need)
        self.half = {
            item: max(RADIUS, text_width(text) / 2 + 10) if item in self.boxes else RADIUS
            for item, text in self.names.items()
        }
        self.left, self.labels, self.nodes = [], [], []
        x = MARGIN
        for index, column in enumerate(self.layout.columns):
            real = [item for item in column if item in self.names]
            half = max((self.half[item] for item in real), default=RADIUS)
            label = max((widths.get(item, 0.0) for item in real), default=0.0)
            x += self.bend(index) if index else 0.0
            self.left.append(x)
            self.labels.append(label)
            x += label + (ARROW if label else 0.0) + half
            self.nodes.append(x)
            x += half
        self.width = x + MARGIN
        spans = [(y, self.layout.heights[item] / 2) for item, y in self.layout.y.items()]
        self.bottom = min(y - half for y, half in spans) - MARGIN
        self.height = max(y + half for y, half in spans) + MARGIN + HEADING - self.bottom
        self.column = {item: index for index, col in enumerate(self.layout.columns) for item in col}

    def bend(self, index: int) -> float:
        """How far apart two columns stand: steep wires need room to bend."""
        column = set(self.layout.columns[index])
        rises = [
            abs(self.layout.y[a] - self.layout.y[b] - (wire.offset if b == wire.target else 0.0))
            for wire in self.layout.wires
            for a, b in pairwise(wire.stops)
            if b in column
        ]
        return min(max(52.0, 0.42 * max(rises, default=0.0)), 100.0)


def _with_first_state(cell: Cell) -> Cell:
    """The cell as one whose node 0 is computed from the inputs of a time step: all others move up."""
    ahead = len(RECURRENT_INPUTS)
    first = tuple(Edge(source, FIRST_STATE) for source in range(ahead))
    nodes = [tuple(Edge(edge.source + ahead, edge.operation) for edge in edges) for edges in cell.nodes]
    return Cell((first, *nodes), tuple(node + ahead for node in cell.output), inputs=ahead)


def _join(layout: Layout, target: int) -> list[Wire]:
    """Leads all wires to a node through one label, for what takes its sources together, and returns them."""
    wires = [wire for wire in layout.wires if wire.target == target]
    for wire in wires:
        wire.offset = 0.0
    for wire in wires[1:]:
        wire.operation = None
    return wires


def _curve(plan: _Plan, wire: Wire) -> Curve:
    """The way from the source through all lanes to the label (or to the output), level at every stop."""
    y, last = plan.layout.y, plan.column[wire.target]
    x = plan.nodes[plan.column[wire.source]] + plan.half[wire.source]
    points, codes = [(x, y[wire.source])], [Curve.MOVETO]

    def bend(x1: float, y1: float) -> None:
        x0, y0 = points[-1]
        middle = (x0 + x1) / 2
        points.extend([(middle, y0), (middle, y1), (x1, y1)])
        codes.extend([Curve.CURVE4] * 3)

    for lane in wire.lanes:
        index = plan.column[lane]
        bend(plan.left[index], y[lane])
        points.append((plan.left[index + 1] - plan.bend(index + 1), y[lane]))
        codes.append(Curve.LINETO)
    bend(plan.left[last] - (0 if wire.operation else 1), y[wire.target] + wire.offset)
    return Curve(points, codes)


def draw_cell(ax: Axes, cell: Cell, heading: str | None = None, recurrent: bool = False) -> None:
    """Draws one cell over the whole of `ax`; its text fits the size that the axes have at this moment.

    Args:
        ax: any axes; its ticks and frame are removed and its limits set to the cell's extent.
        cell: the cell.
        heading: text above it.
        recurrent: whether node 0 is a state that a word and the output of the step before make; both are
            drawn before it.
    """
    _draw(ax, _Plan(cell, recurrent), heading)


def _draw(ax: Axes, plan: _Plan, heading: str | None) -> None:
    ax.set_axis_off()
    ax.set_xlim(0, plan.width)
    ax.set_ylim(plan.bottom, plan.bottom + plan.height)
    ax.set_aspect("equal")
    box = ax.get_window_extent()
    scale = min(box.width / plan.width, box.height / plan.height) / ax.figure.dpi * 72
    write_text = partial(ax.text, ha="center", va="center", fontsize=FONT * scale, color=INK, zorder=6)
    for wire in plan.layout.wires:
        _draw_wire(ax, plan, wire, scale, write_text)
    for item, text in plan.names.items():
        x, y = plan.nodes[plan.column[item]], plan.layout.y[item]
        if item in plan.boxes:
            half = plan.half[item]
            ax.add_patch(
                rounded(x - half, y - RADIUS, 2 * half, 2 * RADIUS, 10, ec=INK, fc="#ececec", lw=1.3 * scale)
            )
        else:
            ax.add_patch(Circle((x, y), RADIUS, ec=INK, fc="white", lw=1.6 * scale, zorder=5))
        write_text(x, y, text)
    if heading:
        top = plan.bottom + plan.height - MARGIN / 2
        ax.text(MARGIN, top, heading, fontsize=1.1 * FONT * scale, weight="bold", va="top", color=INK)


def _draw_wire(ax: Axes, plan: _Plan, wire: Wire, scale: float, write_text: partial) -> None:
    if wire.operation is None:
        ax.add_patch(PathPatch(_curve(plan, wire), fc="none", ec=GIVEN, lw=1.6 * scale, zorder=1))
        return
    kind, given = family(wire.operation), wire in plan.given
    none = kind == "none"
    colour = GIVEN if given else FAMILIES[kind]
    look = {"ec": colour, "lw": 2.0 * scale, "ls": ":" if none else "-"}
    ax.add_patch(PathPatch(_curve(plan, wire), fc="none", zorder=2, capstyle="round", **look))
    index = plan.column[wire.target]
    left, width, y = plan.left[index], plan.labels[index], plan.layout.y[wire.target]
    centre = y + wire.offset
    ax.add_patch(rounded(left, centre - LABEL_HEIGHT / 2, width, LABEL_HEIGHT, 8, fc="white", **look))
    ink, gid = FAINT if none else INK, "given" if given else "label"
    write_text(left + width / 2, centre, short_name(wire.operation), color=ink, gid=gid)
    # The arrow aims at the node's middle, so that the tips of a tall stack spread around the circle.
    arrow = FancyArrowPatch(
        (left + width, centre),
        (plan.nodes[index], y),
        arrowstyle=f"-|>,head_length={6 * scale},head_width={3.6 * scale}",
        shrinkA=0,
        shrinkB=(RADIUS + 1) * scale,
        mutation_scale=1,
        color=colour,
        lw=2.0 * scale,
        ls=":" if none else "-",
        zorder=3,
    )
    ax.add_patch(arrow)


def _rows(plans: dict[str, _Plan]) -> list[list[tuple[str, _Plan]]]:
    """Fills rows from left to right while they stay narrow enough for a page."""
    rows: list[list[tuple[str, _Plan]]] = [[]]
    for name, plan in plans.items():
        if rows[-1] and sum(p.width for _, p in rows[-1]) + plan.width > MAX_WIDTH:
            rows.append([])
        rows[-1].append((name, plan))
    return rows


def draw_genotype(
    genotype: Genotype,
    path: str | Path,
    title: str | None = None,
    edges_by_group: Mapping[str, Sequence[tuple[int, int]]] | None = None,
    operations_by_group: Mapping[str, Sequence[Sequence[str]]] | None = None,
) -> Path:
    """Draws all cells of `genotype` to `path` and writes its graphviz text next to it as `.dot`.

    Args:
        genotype: the architecture; one of space `dso` is drawn level by level.
        path: a .png, .pdf or .svg file; missing folders are made.
        title: text above all cells.
        edges_by_group: group -> E pairs (source, target) of the space. For `dso` alone: what the architecture
            has lost of them is drawn faint; None leaves it out.
        operations_by_group: group -> the operations of each of these edges.

    Returns:
        The path of the picture.

    Raises:
        ConfigError: the suffix is unknown or the folder cannot be written.
    """
    path = Path(path)
    if genotype.space == "dso":
        draw_blocks(genotype, path, edges_by_group, operations_by_group, title)
    else:
        _draw_cells(genotype, path, title)
    write(path.with_suffix(".dot"), to_dot(genotype).encode())
    return path


def _draw_cells(genotype: Genotype, path: Path, title: str | None) -> None:
    recurrent = is_recurrent(genotype)
    plans = {name: _Plan(cell, recurrent) for name, cell in genotype.cells}
    rows = _rows(plans)
    kinds = [kind for kind in FAMILIES if kind in {family(o) for o in genotype.operations}]
    legend, header = (40.0 if kinds else 0.0), (46.0 if title else 8.0)
    width = max(sum(plan.width for _, plan in row) for row in rows)
    width = max(width, 60.0 + 150.0 * len(kinds), 2 * MARGIN + 1.25 * text_width(title or ""))
    height = sum(max(plan.height for _, plan in row) for row in rows) + header + legend
    with styled():
        figure = new_figure(width, height, constrained=False)
        top = height - header
        for row in rows:
            x = 0.0
            for name, plan in row:
                spot = (x / width, (top - plan.height) / height, plan.width / width, plan.height / height)
                _draw(figure.add_axes(spot), plan, f"{name} cell" if name in NAMED else name)
                x += plan.width
            top -= max(plan.height for _, plan in row)
        if title:
            add_title(figure, title, width, height)
        if kinds:
            add_legend(figure, family_handles(kinds), width, height)
        save(figure, path)
