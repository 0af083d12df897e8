"""A figure's life: created without a global backend, styled in a context, written in one step."""

import io
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

from nas.analysis.plots.names import INK
from nas.errors import ConfigError, require
from nas.files import write_bytes

DPI = 100
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


def new_figure(width: float, height: float, constrained: bool = True) -> Figure:
    """An empty figure of `width` x `height` pixels that belongs to no window system.

    Args:
        width: pixels at 100 dots an inch.
        height: the same.
        constrained: let matplotlib place the axes so that no text collides.
    """
    figure = Figure(
        figsize=(width / DPI, height / DPI), dpi=DPI, layout="constrained" if constrained else None
    )
    FigureCanvasAgg(figure)
    if constrained:
        engine = figure.get_layout_engine()
        assert isinstance(engine, ConstrainedLayoutEngine)
        engine.set(w_pad=0.1, h_pad=0.1)
    figure.set_facecolor("white")
    return figure


def save(figure: Figure, path: str | Path) -> Path:
    """Renders `figure` and puts it at `path` in one step; the suffix picks png, pdf or svg.

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
    figure.savefig(buffer, format=kind, dpi=DPI)
    return write(path, buffer.getvalue())


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
