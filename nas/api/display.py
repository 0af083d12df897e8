"""What a notebook shows of a result: numbers in a table, cells and curves as vector graphics."""

import html
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.analysis import plots
from nas.api.data import path_of
from nas.errors import require
from nas.files import write_text
from nas.genotype import Genotype

# Keys of summary.json that stand in the table, in this order.
SHOWN = (
    "status", "space", "method", "dataset", "recipe", "seed", "epochs", "test_accuracy", "valid_accuracy",
    "test_perplexity", "valid_perplexity", "params", "macs", "num_skip", "within_budget", "genotype",
    "seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A vector graphic, which a notebook shows.

    Attributes:
        svg: its text.
    """

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> Path:
        """Writes it as .svg, whole or not at all; returns where.

        Raises:
            ConfigError: the path ends otherwise, or it cannot be written.
        """
        place = path_of(path, "path")
        require(place.suffix.lower() == ".svg", f"path={path}: must end in .svg, for it is a vector graphic")
        write_text(place, self.svg)
        return place


def cell(genotype: Genotype) -> Picture:
    """Every cell of an architecture."""
    return _drawn(lambda path: plots.draw_genotype(genotype, path))


def curves(rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Loss and accuracy (or perplexity) of every epoch."""
    return _drawn(lambda path: plots.draw_curves([dict(row) for row in rows], path))


def page(title: str, numbers: Mapping[str, Any], pictures: Sequence[Picture]) -> str:
    """HTML of a table and pictures; every text is escaped."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(key)}</th>"
        f"<td style='text-align:left'>{html.escape(_text(value))}</td></tr>"
        for key, value in numbers.items()
    )
    drawn = "".join(f"<div style='max-width:900px'>{one.svg}</div>" for one in pictures)
    return f"<b>{html.escape(title)}</b><table>{rows}</table>{drawn}"


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _drawn(draw: Any) -> Picture:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.svg"
        draw(path)
        text = path.read_text(encoding="utf-8")
    # What comes before it belongs to a file of its own.
    return Picture(text[text.index("<svg") :])
