"""What pictures of architectures are drawn with: sizes of text, boxes, bent lines, the sheet."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch
from matplotlib.path import Path as Curve
from matplotlib.textpath import TextPath

from nas.analysis.plots.names import FAMILIES
from nas.analysis.plots.style import DPI, new_figure, save, styled

FONT = 16.0
MARGIN = 16.0
MAX_WIDTH = 1440.0


@cache
def text_width(text: str) -> float:
    """How many pixels `text` takes up at size `FONT`."""
    if not text.strip():
        return 0.0
    return TextPath((0, 0), text, size=FONT, prop=FontProperties(family="DejaVu Sans")).get_extents().width


def rounded(x: float, y: float, width: float, height: float, radius: float, **style) -> FancyBboxPatch:
    """A box with round corners whose lower left corner, were it sharp, is (x, y)."""
    shape = f"round,pad=0,rounding_size={radius}"
    return FancyBboxPatch((x, y), width, height, boxstyle=shape, zorder=5, **style)


def family_handles(kinds: list[str]) -> list[Line2D]:
    """A line of its colour for every family, for a legend."""
    return [
        Line2D([], [], color=FAMILIES[kind], lw=3, ls=":" if kind == "none" else "-", label=kind)
        for kind in kinds
    ]


class Way:
    """A line from left to right: level, or bent between two levels."""

    def __init__(self, x: float, y: float):
        self.points, self.codes = [(x, y)], [Curve.MOVETO]

    def bend(self, x1: float, y1: float) -> None:
        """On to another level, level at both ends."""
        x0, y0 = self.points[-1]
        middle = (x0 + x1) / 2
        self.points += [(middle, y0), (middle, y1), (x1, y1)]
        self.codes += [Curve.CURVE4] * 3

    def level(self, x1: float) -> None:
        """Straight on."""
        self.points.append((x1, self.points[-1][1]))
        self.codes.append(Curve.LINETO)

    def curve(self) -> Curve:
        """As matplotlib has it."""
        return Curve(self.points, self.codes)


def draw_sheet(
    path: str | Path,
    plans: Sequence[Any],
    draw: Callable[[Axes, Any], None],
    handles: list[Line2D],
    label_width: float,
    title: str | None,
    caption: str | None,
    scale: float = 1.0,
) -> Path:
    """Draws plans of a `width` and a `height` (pixels) in rows that fit a page, with title and legend.

    Args:
        path: a .png, .pdf or .svg file; missing folders are made.
        plans: what is drawn, in order.
        draw: (axes, plan).
        handles: of the legend; none without any.
        label_width: pixels that an entry of the legend takes.
        title: text above all.
        caption: a line below all, such as the run's name, data and seed.
        scale: of the plans.
    """
    rows: list[list[Any]] = [[]]
    for plan in plans:
        if rows[-1] and scale * (sum(p.width for p in rows[-1]) + plan.width) > MAX_WIDTH + 1:
            rows.append([])
        rows[-1].append(plan)
    legend, header = (40.0 if handles else 0.0), (46.0 if title else 8.0)
    width = max(scale * sum(plan.width for plan in row) for row in rows)
    width = max(width, 60.0 + label_width * len(handles), 2 * MARGIN + 1.25 * text_width(title or ""))
    height = scale * sum(max(plan.height for plan in row) for row in rows) + header + legend
    with styled():
        figure = new_figure(width, height, constrained=False)
        top = height - header
        for row in rows:
            x = 0.0
            for plan in row:
                w, h = scale * plan.width, scale * plan.height
                draw(figure.add_axes((x / width, (top - h) / height, w / width, h / height)), plan)
                x += w
            top -= scale * max(plan.height for plan in row)
        if title:
            at = (MARGIN / width, 1 - 12 / height)
            figure.text(*at, title, fontsize=1.2 * FONT * 72 / DPI, weight="bold", va="top")
        if handles:
            figure.legend(
                handles=handles,
                ncols=len(handles),
                fontsize=0.9 * FONT * 72 / DPI,
                loc="lower left",
                bbox_to_anchor=((MARGIN - 6) / width, 2 / height),
                borderaxespad=0,
            )
        return save(figure, path, caption)
