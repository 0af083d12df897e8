"""The anytime curve of a sweep: its main figure along the way, where the runs have kept it epoch by epoch."""

from collections.abc import Sequence
from pathlib import Path

from nas.analysis import sweeps
from nas.analysis.anytime import Course, band, spread_evenly
from nas.analysis.metrics import LOWER, metric_of
from nas.printable import shown
from nas.running.courses import read_course
from nas.running.runs import Found

# Keys of a row that name it in a legend.
KEYS = 3


def draw_courses(
    folder: Path, found: Found, figure: str, over: Sequence[str], level: float, caption: str
) -> Path | None:
    """Draws `figures/anytime.png`: mean and band of the rows of a table, per epoch and per second.

    Args:
        folder: of the runs.
        found: what lies there.
        figure: that of the table.
        over: keys that are averaged over.
        level: of the band, an interval of the mean.
        caption: which runs they are.

    Returns:
        The picture; None where no finished run has the figure in its `metrics.csv` at two epochs or more.
    """
    places = {id(run): place for run, place in zip(found.runs, found.places, strict=True)}
    names = sweeps.axes(found.runs, over)
    epochs: dict[str, list[Course]] = {}
    seconds: dict[str, list[Course]] = {}
    for number, (setting, runs) in enumerate(sweeps.grouped(found.runs, over)):
        first = zip(names[:KEYS], setting.values[:KEYS], strict=True)
        label = shown(", ".join(f"{name}={value}" for name, value in first), 60) or "all"
        label += f" ({number})" if label in epochs else ""
        for run in runs:
            x, y = read_course(places[id(run)], figure)
            if not x:
                continue
            epochs.setdefault(label, []).append(Course(x, y))
            total = run.conditions.get("seconds")
            if isinstance(total, float) and total > 0:
                spread = spread_evenly(total, int(x[-1]))
                seconds.setdefault(label, []).append(Course([spread[int(at) - 1] for at in x], y))
    return _draw(folder, figure, epochs, seconds, level, caption)


def _draw(
    folder: Path,
    figure: str,
    epochs: dict[str, list[Course]],
    seconds: dict[str, list[Course]],
    level: float,
    caption: str,
) -> Path | None:
    if not any(len(course.x) > 1 for courses in epochs.values() for course in courses):
        return None
    from nas.analysis.plots.anytime import SERIES, draw_anytime

    kept = list(epochs)[:SERIES]
    every = [value for courses in epochs.values() for course in courses for value in course.y]
    unit = sweeps.unit(figure, every)
    panels = {
        xlabel: {
            name: band(_scaled(groups[name], unit.factor), level=level) for name in kept if name in groups
        }
        for xlabel, groups in (("epoch", epochs), ("seconds of a run", seconds))
        if groups
    }
    _, metric = metric_of(figure)
    direction = f" ({LOWER})" if metric is not None and metric.axis == LOWER else ""
    words = f"mean and its {100 * level:g} % interval of {caption}; seconds spread evenly over a run's epochs"
    left = len(epochs) - len(kept)
    words += f"; {left:,} more rows are not drawn" if left else ""
    label = unit.heading.replace("_", " ") + direction
    return draw_anytime(panels, folder / "figures/anytime.png", label, words)


def _scaled(courses: Sequence[Course], factor: float) -> list[Course]:
    return [Course(course.x, [value * factor for value in course.y], course.ended) for course in courses]
