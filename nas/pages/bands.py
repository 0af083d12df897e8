"""Curves of several runs of a setting: their mean with an interval of it, per epoch and per second."""

import math
from collections.abc import Mapping, Sequence

from nas.analysis.anytime import Course, band, spread_evenly
from nas.analysis.metrics import metric_of
from nas.analysis.statistics import LEVEL
from nas.pages import charts, forms
from nas.pages.blocks import Chart
from nas.pages.folder import numbers
from nas.pages.members import Member

# What is shown beside the main figure, where the runs have it.
BESIDE = (
    "table_accuracy", "test_accuracy", "valid_accuracy", "valid_perplexity", "architecture_accuracy",
    "architecture_perplexity", "train_loss", "weight_loss", "hessian_eigenvalue", "num_skip",
)  # fmt: skip
MOST = 5
Points = list[tuple[float, float, float, float]]


def curves_of(
    groups: Sequence[tuple[str, Sequence[Member]]], main: str | None, level: float = LEVEL
) -> list[Chart]:
    """Charts of the columns that the runs have kept epoch by epoch.

    Args:
        groups: (setting, its finished runs).
        main: the figure that the page is about; its column comes first, and per second too.
        level: of the bands.
    """
    tables = [member.metrics for _, members in groups for member in members if member.metrics]
    there = {name for rows in tables for name in rows[0]}
    wanted = [name for name in dict.fromkeys([main, *BESIDE]) if name in there]
    result: list[Chart] = []
    for name in map(str, wanted):
        _, metric = metric_of(name)
        axis = metric.axis if metric is not None else ""
        title = forms.title(name) + (f" ({axis})" if axis else "")
        title = title[:1].upper() + title[1:]
        unit = metric.unit if metric is not None and metric.unit else "value"
        for x, timed in (("epochs", False), ("seconds of a run", True)):
            series = {label: _band(members, name, timed, level) for label, members in groups}
            kept = {label: points for label, points in series.items() if points}
            if not any(len(points) > 1 for points in kept.values()) or (timed and name != wanted[0]):
                continue
            words = f"{title}, over the time of a run" if timed else title
            result.append(charts.bands(words, kept, x, unit, whole=not timed))
    return result[:MOST]


def _band(members: Sequence[Member], column: str, timed: bool, level: float) -> Points:
    """(x, mean, lower, upper) over the runs; where there is but one, the mean is its value."""
    courses = [course for member in members if (course := _course(member, column, timed)) is not None]
    if not courses:
        return []
    curve = band(courses, level=level)
    points = []
    for x, mean, low, high in zip(curve.x, curve.mean, curve.low, curve.high, strict=True):
        low, high = (float(end) if math.isfinite(end) else float(mean) for end in (low, high))
        points.append((float(x), float(mean), low, high))
    return points


def _course(member: Member, column: str, timed: bool) -> Course | None:
    """What a run had after each epoch, or second; a run's total time is spread evenly over its epochs."""
    _, metric = metric_of(column)
    factor = metric.factor if metric is not None else 1.0
    values: dict[float, float] = {}
    rows: Sequence[Mapping[str, str]] = member.metrics
    for epoch, value in zip(numbers(rows, "epoch"), numbers(rows, column), strict=True):
        if epoch is not None and value is not None and 0 <= epoch < 1e6 and abs(value) < 1e100:
            values[epoch + 1] = value * factor
    if not values:
        return None
    epochs = sorted(values)
    y = [values[epoch] for epoch in epochs]
    if not timed:
        return Course(epochs, y)
    if not member.seconds:
        return None
    ends = spread_evenly(member.seconds, int(epochs[-1]))
    return Course([ends[int(epoch) - 1] for epoch in epochs], y)
