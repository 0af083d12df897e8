"""The curves of a run's page: what `metrics.csv` and the tables beside it recorded, with units."""

from collections.abc import Mapping, Sequence

from nas.analysis.metrics import ACCURACY, metric_of
from nas.analysis.plots.curves import columns_of, label_of, panels
from nas.pages import charts
from nas.pages.blocks import Chart
from nas.pages.folder import Folder, numbers

# An exponential falls by powers.
DECADE = 10.0


def curves(folder: Folder, leading: Mapping[str, Sequence[tuple[float, float]]]) -> list[Chart]:
    """Every chart that the tables of a run give.

    Args:
        folder: of the run.
        leading: group -> (epoch, mean largest op weight).
    """
    result = _metrics(folder)
    kept = {name: points for name, points in leading.items() if len(points) > 0}
    if kept:
        result.append(charts.lines("Largest op weight of an edge, mean", kept, "epoch", "op weight"))
    return [*result, *_exploration(folder), *_sparsity(folder), *_implicit(folder)]


def _metrics(folder: Folder) -> list[Chart]:
    rows = folder.table("metrics.csv")
    if not rows:
        return []
    epochs = [float(place) if epoch is None else epoch for place, epoch in enumerate(numbers(rows, "epoch"))]
    result = []
    for metric in panels():
        series: dict[str, list[tuple[float, float]]] = {}
        looked_up: dict[str, list[tuple[float, float]]] = {}
        for column in columns_of(metric, list(rows[0])):
            values = numbers(rows, column)
            points = [
                (x, value * metric.factor)
                for x, value in zip(epochs, values, strict=True)
                if value is not None
            ]
            if points:
                # A benchmark's figure is of a trained network, and far from those of the supernet.
                of = looked_up if metric_of(column)[0] == "table" else series
                of[label_of(metric, column)] = points
        if looked_up:
            result.append(
                charts.lines(f"Table {metric.name} ({metric.axis})", looked_up, "epoch", metric.axis)
            )
        if not series:
            continue
        every = [value for points in series.values() for _, value in points]
        log = metric.of_loss is not None and min(every) > 0 and max(every) > DECADE * min(every)
        unit = f" ({metric.axis})" if metric.axis else ""
        title = f"{metric.title or metric.name}{unit}"
        title = title[:1].upper() + title[1:]
        result.append(charts.lines(title, series, "epoch", metric.unit or metric.title or metric.name, log))
    return result


def _exploration(folder: Folder) -> list[Chart]:
    """Accuracies of architectures drawn from the op weights, looked up."""
    series = _series(folder, "exploration.csv", ("max", "mean", "min", "derived", "best"), ACCURACY.factor)
    return (
        [charts.lines("Exploration: accuracy of what is drawn (%)", series, "epoch", "%")] if series else []
    )


def _sparsity(folder: Folder) -> list[Chart]:
    """Candidates that are alive, of all groups together."""
    rows = folder.table("sparsity.csv")
    sums: dict[float, list[float]] = {}
    for row, epoch in zip(rows, numbers(rows, "epoch"), strict=True):
        given = [numbers([row], name)[0] for name in ("alive", "of", "macs", "macs_of")]
        if epoch is None or None in given:
            continue
        sums[epoch] = [a + (b or 0.0) for a, b in zip(sums.get(epoch, [0.0] * 4), given, strict=True)]
    kept = sorted(sums.items())
    series = {
        "candidates": [(epoch, 100 * counts[0] / counts[1]) for epoch, counts in kept if counts[1]],
        "multiply-adds": [(epoch, 100 * counts[2] / counts[3]) for epoch, counts in kept if counts[3]],
    }
    series = {name: points for name, points in series.items() if points}
    return (
        [charts.lines("Sparsity: what is alive (%)", series, "epoch", "% of the supernet")] if series else []
    )


def _implicit(folder: Folder) -> list[Chart]:
    """How well finite differences agree with the exact product."""
    series = _series(folder, "implicit.csv", ("cosine",), 1.0, "step")
    title = "Finite difference against double backward"
    return [charts.lines(title, series, "search step", "cosine")] if series else []


def _series(
    folder: Folder, name: str, columns: Sequence[str], factor: float, x: str = "epoch"
) -> dict[str, list[tuple[float, float]]]:
    rows = folder.table(name)
    places = numbers(rows, x)
    series = {}
    for column in columns:
        values = numbers(rows, column)
        points = [
            (at, value * factor)
            for at, value in zip(places, values, strict=True)
            if at is not None and value is not None
        ]
        if points:
            series[column] = points
    return series
