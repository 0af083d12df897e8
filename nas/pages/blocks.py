"""What a page is made of: sections of blocks, each plain data that one macro of the templates writes.

No block holds HTML. Whatever a file said is text here, and the templates escape all text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class Fact:
    """A named value.

    Attributes:
        label: what it is.
        value: as text, with its unit.
        note: what it has to be read with; empty for nothing.
        tone: `good`, `warn` or `` for neither.
    """

    label: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Facts:
    """Named values below each other."""

    kind: ClassVar[str] = "facts"
    items: Sequence[Fact]


@dataclass(frozen=True)
class Cell:
    """A field of a table.

    Attributes:
        text: what is shown.
        order: what the column is sorted by; None for what has no value and is last, however it is sorted.
        href: a relative place to go to; empty for none.
        title: what is said where a pointer rests; empty for nothing more.
        tone: as of a fact.
    """

    text: str
    order: float | str | None = None
    href: str = ""
    title: str = ""
    tone: str = ""

    @property
    def key(self) -> str:
        """What the page sorts by: numbers as numbers, texts as texts."""
        return "" if self.order is None else str(self.order)


def number(value: float | None, text: str, title: str = "") -> Cell:
    """A field that is sorted by a number."""
    return Cell(text, value, title=title)


def maybe(value: float | None, text: str, title: str = "") -> Cell:
    """The same, empty where there is no number."""
    return Cell("") if value is None else number(value, text, title)


def words(text: str, href: str = "", title: str = "") -> Cell:
    """A field that is sorted by its text."""
    return Cell(text, text or None, href, title)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading, with the unit.
        numeric: whether it holds numbers, which stand at the right and are sorted as numbers.
        code: whether it holds what a computer reads, such as a genotype.
    """

    name: str
    numeric: bool = False
    code: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under headings; every heading sorts.

    Attributes:
        caption: what the table is of.
        columns: its headings.
        rows: a field for each column; the first names the row.
        note: a line below it.
        filtered: whether it has a field in which one types what rows must hold.
        folded: whether it is there on request.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    filtered: bool = False
    folded: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart that Vega draws in the page.

    Attributes:
        title: of the chart, with its unit.
        spec: in Vega-Lite.
        alt: what it shows, for those who do not see it.
        table: the numbers; None where a table beside it has them.
        wide: whether it takes the width of the page.
    """

    kind: ClassVar[str] = "chart"
    title: str
    spec: Mapping[str, Any]
    alt: str
    table: Table | None = None
    wide: bool = False


@dataclass(frozen=True)
class Charts:
    """Charts side by side where there is room."""

    kind: ClassVar[str] = "charts"
    items: Sequence[Chart]


@dataclass(frozen=True)
class Mark:
    """A text with a subscript: `c`, `k-2` and what follows."""

    base: str
    below: str = ""
    rest: str = ""


@dataclass(frozen=True)
class Stroke:
    """A line of a drawing.

    Attributes:
        d: its way, as SVG has it; of numbers alone.
        family: of the operation that gives it its colour, or `given`, `dead`, `output`.
        look: `line`, `dotted`, `dashed`, or `tip` for the filled head of an arrow.
    """

    d: str
    family: str
    look: str = "line"


@dataclass(frozen=True)
class Box:
    """A node, an end or a label of a drawing; lengths in pixels, y downwards."""

    x: float
    y: float
    width: float
    height: float
    radius: float
    text: Mark
    role: str
    family: str = ""


@dataclass(frozen=True)
class Part:
    """What belongs together in a drawing and is spoken of as one: an edge with its label, or a node.

    Attributes:
        strokes: lines, in the order in which they are drawn.
        boxes: on top of them.
        tip: what is said of it; empty for nothing.
    """

    strokes: Sequence[Stroke] = ()
    boxes: Sequence[Box] = ()
    tip: str = ""


@dataclass(frozen=True)
class Drawing:
    """A cell or block as vector graphics."""

    kind: ClassVar[str] = "drawing"
    heading: str
    caption: str
    width: float
    height: float
    parts: Sequence[Part]
    alt: str


@dataclass(frozen=True)
class Drawings:
    """Drawings beside each other, the colours of what occurs in them, and the architecture as text."""

    kind: ClassVar[str] = "drawings"
    items: Sequence[Drawing]
    families: Sequence[str]
    text: str = ""
    note: str = ""


@dataclass(frozen=True)
class Heat:
    """Numbers of rows and columns over epochs, coloured, with a slider.

    Attributes:
        title: of the map.
        rows: names of the rows.
        columns: names of the columns.
        names: in place of names of columns, a name for every field of the map.
        epochs: T numbers of epochs.
        values: [T][R][C]; None where there is nothing.
        chosen: [T] lists of (row, column) that are in the architecture of that epoch.
        scale: `uniform` where each row sums up to 1, and colours say by what factor a value is above or below
            the equal share; `signed`, or `positive`.
        end: the end of the colours: log2 of that factor, or the largest value.
        note: a line below.
    """

    kind: ClassVar[str] = "heat"
    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    names: Sequence[Sequence[str]] | None
    epochs: Sequence[int]
    values: Sequence[Sequence[Sequence[float | None]]]
    chosen: Sequence[Sequence[tuple[int, int]]]
    scale: str
    end: float
    note: str = ""


@dataclass(frozen=True)
class Heats:
    """Maps that one slider moves."""

    kind: ClassVar[str] = "heats"
    items: Sequence[Heat]
    epochs: Sequence[int]
    legend: str
    note: str = ""


@dataclass(frozen=True)
class Command:
    """A command to be pasted.

    Attributes:
        label: what it does.
        line: the command; empty where it is not printed.
        why: why it is not printed.
    """

    label: str
    line: str
    why: str = ""


@dataclass(frozen=True)
class Commands:
    """Commands to be pasted."""

    kind: ClassVar[str] = "commands"
    items: Sequence[Command]


@dataclass(frozen=True)
class Note:
    """A line of text.

    Attributes:
        text: the line.
        tone: `plain`, or `warn` for what one must not overlook.
    """

    kind: ClassVar[str] = "note"
    text: str
    tone: str = "plain"


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading of its own.

    Attributes:
        key: its name in addresses (`#cost`).
        title: its heading.
        lead: a line below the heading; empty for none.
        blocks: what it holds.
    """

    key: str
    title: str
    blocks: Sequence[Any]
    lead: str = ""


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: of the page.
        kicker: what kind of page it is, above the title.
        status: of a run, in a word; empty for a page of several.
        lead: what it is of, in a line.
        tiles: the few numbers that one looks for first.
        sections: in their order.
        links: (words, relative place) of pages beside it.
        made: when and by what the page was made.
    """

    title: str
    kicker: str
    status: str
    lead: str
    tiles: Sequence[Fact]
    sections: Sequence[Section]
    links: Sequence[tuple[str, str]] = ()
    made: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
