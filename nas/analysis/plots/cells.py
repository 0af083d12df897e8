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
from nas.analysis.plots.shapes import FONT, MARGIN, Way, draw_sheet, family_handles, rounded, text_width
from nas.analysis.plots.style import write
from nas.genotype import Cell, Edge, Genotype

HEADING = 34.0
RADIUS = NODE_HEIGHT / 2
ARROW = 30.0
# What no search chooses: the way to the output, and to the first state of a recurrent cell.
GIVEN = "#c4c4c4"


class Plan:
    """A cell's layout with the x positions (pixels) that its texts need; y grows upwards.

    Attributes:
        heading: of the cell.
        layout: its columns, wires and heights.
        given: wires that no search chooses.
        names: what stands in nodes and ends, a subscript as a formula has it.
        boxes: which of these are ends.
        half: half the width of nodes and ends.
        left, labels, nodes: of every column where its labels begin, how wide they are, and its nodes' middle.
        width, height: of the whole.
        bottom: its lowest y.
        column: of every item.
    """

    def __init__(self, cell: Cell, heading: str, recurrent: bool):
        self.heading = heading
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


def curve_of(plan: Plan, wire: Wire) -> Curve:
    """The way from the source through all lanes to the label (or to the output), level at every stop."""
    y, last = plan.layout.y, plan.column[wire.target]
    x = plan.nodes[plan.column[wire.source]] + plan.half[wire.source]
    way = Way(x, y[wire.source])
    for lane in wire.lanes:
        index = plan.column[lane]
        way.bend(plan.left[index], y[lane])
        way.level(plan.left[index + 1] - plan.bend(index + 1))
    way.bend(plan.left[last] - (0 if wire.operation else 1), y[wire.target] + wire.offset)
    return way.curve()


def _draw(ax: Axes, plan: Plan) -> None:
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
    top = plan.bottom + plan.height - MARGIN / 2
    ax.text(MARGIN, top, plan.heading, fontsize=1.1 * FONT * scale, weight="bold", va="top", color=INK)


def _draw_wire(ax: Axes, plan: Plan, wire: Wire, scale: float, write_text: partial) -> None:
    if wire.operation is None:
        ax.add_patch(PathPatch(curve_of(plan, wire), fc="none", ec=GIVEN, lw=1.6 * scale, zorder=1))
        return
    kind, given = family(wire.operation), wire in plan.given
    none = kind == "none"
    colour = GIVEN if given else FAMILIES[kind]
    look = {"ec": colour, "lw": 2.0 * scale, "ls": ":" if none else "-"}
    ax.add_patch(PathPatch(curve_of(plan, wire), fc="none", zorder=2, capstyle="round", **look))
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


def draw_genotype(
    genotype: Genotype,
    path: str | Path,
    title: str | None = None,
    edges_by_group: Mapping[str, Sequence[tuple[int, int]]] | None = None,
    operations_by_group: Mapping[str, Sequence[Sequence[str]]] | None = None,
    caption: str | None = None,
) -> Path:
    """Draws all cells of `genotype` to `path` and writes its graphviz text next to it as `.dot`.

    Args:
        genotype: the architecture, drawn as its form says; blocks are drawn level by level.
        path: a .png, .pdf or .svg file; missing folders are made.
        title: text above all cells.
        edges_by_group: group -> E pairs (source, target) of the space. For blocks alone: what the
            architecture has lost of them is drawn faint; None leaves it out.
        operations_by_group: group -> the operations of each of these edges.
        caption: a line below all, such as the run's name, data and seed.

    Returns:
        The path of the picture.

    Raises:
        ConfigError: the suffix is unknown or the folder cannot be written.
    """
    path = Path(path)
    if genotype.form.drawing == "blocks":
        draw_blocks(genotype, path, edges_by_group, operations_by_group, title, caption)
    else:
        _draw_cells(genotype, path, title, caption)
    write(path.with_suffix(".dot"), to_dot(genotype).encode())
    return path


def plans_of(genotype: Genotype) -> list[Plan]:
    """Where everything goes in the pictures of a genotype's cells, in their order."""
    recurrent, form = is_recurrent(genotype), genotype.form
    return [Plan(cell, form.heading.format(name), recurrent) for name, cell in genotype.cells]


def _draw_cells(genotype: Genotype, path: Path, title: str | None, caption: str | None) -> None:
    plans = plans_of(genotype)
    kinds = [kind for kind in FAMILIES if kind in {family(o) for o in genotype.operations}]
    draw_sheet(path, plans, _draw, family_handles(kinds), 150.0, title, caption)
