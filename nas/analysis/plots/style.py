"""A figure's life: created without a global backend, styled in a context, written in one step."""

import io
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from nas.analysis.plots.names import INK
from nas.errors import ConfigError, require
from nas.files import write_bytes

DPI = 100
CAPTION = 8.5  # points
FORMATS = ("png", "pdf", "svg")

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 11.0,
    "text.usetex": False,
    "text.color": INK,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "axes.titlesize": 12.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "savefig.bbox": None,
}


@contextmanager
def styled() -> Iterator[None]:
    """The look of every picture, in force only inside the `with` block."""
    with matplotlib.rc_context(_STYLE):
        yield


class _Layout(ConstrainedLayoutEngine):
    """Constrained layout, after which legends of the figure stay where they are when a caption makes room."""

    def execute(self, fig: Figure) -> None:
        super().execute(fig)
        for legend in fig.legends:
            legend.set_bbox_to_anchor((0, 0, 1, 1), fig.transFigure)


def new_figure(width: float, height: float, constrained: bool = True) -> Figure:
    """An empty figure of `width` x `height` pixels that belongs to no window system.

    Args:
        width: pixels at 100 dots an inch.
        height: the same.
        constrained: let matplotlib place the axes so that no text collides.
    """
    size = (width / DPI, height / DPI)
    figure = Figure(figsize=size, dpi=DPI, layout=_Layout(w_pad=0.1, h_pad=0.1) if constrained else None)
    FigureCanvasAgg(figure)
    figure.set_facecolor("white")
    return figure


def save(figure: Figure, path: str | Path, caption: str | None = None) -> Path:
    """Renders `figure` and puts it at `path` in one step; the suffix picks png, pdf or svg.

    Args:
        figure: complete.
        path: a .png, .pdf or .svg file.
        caption: what the picture is of, in as many lines below it as that needs.

    Raises:
        ConfigError: the suffix is another one.
        WriteFailed: the folder cannot be written.
    """
    path = Path(path)
    kind = path.suffix[1:].lower()
    require(
        kind in FORMATS, f"figure {path}: the name must end in one of {', '.join('.' + f for f in FORMATS)}"
    )
    buffer = io.BytesIO()
    width, height = figure.get_size_inches()
    below = _add_caption(figure, caption, width) if caption else 0.0
    page = Bbox.from_extents(0, -below, width, height) if caption else None
    figure.savefig(buffer, format=kind, dpi=DPI, bbox_inches=page)
    return write(path, buffer.getvalue())


def _add_caption(figure: Figure, caption: str, width: float) -> float:
    """Writes below a figure of so many inches, where no layout goes; returns how many inches that takes."""
    size = CAPTION / 72
    # DejaVu's letters are 0.58 of their size wide on average.
    lines = textwrap.wrap(caption, max(20, int((width - 0.2) / (0.58 * size))))
    figure.text(
        0.1 / width, 0, "\n".join(lines), fontsize=CAPTION, color="#666666", va="top", parse_math=False
    )
    return 0.1 + 1.3 * size * len(lines)


def write(path: Path, content: bytes) -> Path:
    """Writes `content` whole or not at all, in a folder that is made if need be.

    Raises:
        WriteFailed: the folder cannot be made or written.
    """
    write_bytes(path, content, parents=True)
    return path


def numbers(values: object, what: str, ndim: int = 1) -> np.ndarray:
    """`values` as a float array with `ndim` axes; None becomes NaN.

    Raises:
        ConfigError: it holds something else than numbers, or has another number of axes.
    """
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"figure: {what} must be numbers ({error})") from error
    require(array.ndim == ndim, f"figure: {what} must have {ndim} axes, not shape {array.shape}")
    return array


def whole_numbers(ax: Axes) -> None:
    """Lets the x axis tick at whole numbers only, as epochs are."""
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, nbins=7, steps=[1, 2, 5, 10]))


def markers(count: int) -> dict[str, Any]:
    """Line keywords that keep a curve of `count` points visible: few points get a marker each."""
    return {"marker": "o", "markersize": 6 if count == 1 else 4} if count <= 12 else {}
