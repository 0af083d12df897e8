"""What pictures of architectures are drawn with: sizes of text, rounded boxes, legends."""

from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch
from matplotlib.textpath import TextPath

from nas.analysis.plots.names import FAMILIES
from nas.analysis.plots.style import DPI

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


def add_legend(figure: Figure, handles: list[Line2D], width: float, height: float) -> None:
    """The handles in one line at the lower left of a figure of `width` x `height` pixels."""
    figure.legend(
        handles=handles,
        ncols=len(handles),
        fontsize=0.9 * FONT * 72 / DPI,
        loc="lower left",
        bbox_to_anchor=((MARGIN - 6) / width, 2 / height),
        borderaxespad=0,
    )


def add_title(figure: Figure, title: str, width: float, height: float) -> None:
    """Text above everything in a figure of `width` x `height` pixels."""
    at = (MARGIN / width, 1 - 12 / height)
    figure.text(*at, title, fontsize=1.2 * FONT * 72 / DPI, weight="bold", va="top")
