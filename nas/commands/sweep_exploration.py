"""What the searches of a sweep explored, side by side: a panel for each run that has drawn architectures."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.analysis import sweeps
from nas.errors import ConfigError
from nas.printable import shown
from nas.reading.csv_text import read_rows
from nas.running.runs import Found

FILE = "exploration.csv"
# Panels that can be read on one picture.
MOST = 12
# Keys of a run that name it above its panel.
KEYS = 2


def draw_exploring(folder: Path, found: Found, over: Sequence[str], caption: str) -> Path | None:
    """Draws `figures/exploration.png`: the range of the drawn architectures along each finished search.

    Args:
        folder: of the runs.
        found: what lies there.
        over: keys that are averaged over; they stand last in a panel's title.
        caption: which runs they are.

    Returns:
        The picture; None where no finished run has an `exploration.csv`.
    """
    from nas.analysis.plots.exploration import COLUMNS, draw_explorations

    names = [
        *sweeps.axes(found.runs, over)[:KEYS],
        *(key for key in sweeps.axes(found.runs, ()) if key in over),
    ]
    kept: dict[str, list[Mapping[str, float | None]]] = {}
    left = 0
    for run, place in zip(found.runs, found.places, strict=True):
        rows = _rows(place / FILE, COLUMNS) if run.finished else []
        if not rows:
            continue
        if len(kept) == MOST:
            left += 1
            continue
        words = ", ".join(f"{name.rpartition('.')[2]}={run.overrides.get(name, '')}" for name in names)
        title = shown(words, 60) or shown(run.folder, 60)
        kept[f"{title} ({run.folder})" if title in kept else title] = rows
    if not kept:
        return None
    caption += f"; {left:,} more runs are not drawn" if left else ""
    return draw_explorations(kept, folder / "figures/exploration.png", "table accuracy (%)", caption)


def _rows(path: Path, columns: Sequence[str]) -> list[Mapping[str, float | None]]:
    if not os.path.lexists(path):
        return []
    try:
        rows = [{name: _number(row.get(name, "")) for name in columns} for row in read_rows(path)]
    except ConfigError:
        # The table of the runs names those that are damaged; a picture does without.
        return []
    needed = ("epoch", "samples", "min", "max", "mean")
    return [row for row in rows if all(row[name] is not None for name in needed)]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 1e9 else None
