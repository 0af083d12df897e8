"""How a figure of a run changed from epoch to epoch, read from a `metrics.csv` that may be a stranger's."""

import math
import os
from pathlib import Path

from nas.analysis.metrics import metric_of
from nas.errors import ConfigError
from nas.reading.csv_text import read_rows


def read_course(place: Path, figure: str) -> tuple[list[float], list[float]]:
    """Epochs from 1, and the figure as it is kept after each; nothing where the run has no such column.

    Args:
        place: a run folder.
        figure: a column of `metrics.csv`. What a benchmark's table holds is a fraction there, and in per cent
            in `summary.json`: it is given in per cent.
    """
    path = place / "metrics.csv"
    if not os.path.lexists(path):
        return [], []
    part, metric = metric_of(figure)
    factor = metric.factor if metric is not None and part == "table" else 1.0
    found: dict[float, float] = {}
    try:
        for row in read_rows(path):
            epoch, value = _number(row.get("epoch", "")), _number(row.get(figure, ""))
            if epoch is not None and value is not None and 0 <= epoch < 1e9:
                found[epoch + 1] = factor * value
    except ConfigError:
        # The table of the runs names those that are damaged; a picture does without.
        return [], []
    epochs = sorted(found)
    return epochs, [found[epoch] for epoch in epochs]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 1e100 else None
