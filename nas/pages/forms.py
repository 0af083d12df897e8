"""Numbers as a page shows them, with their units."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from nas.analysis.metrics import metric_of
from nas.printable import shown
from nas.reading.plain import is_number

# Characters of a value.
LONG = 400
LONGER = MappingProxyType({"params": "parameters", "macs": "multiply-adds"})


def digits(value: float, places: int = 4) -> str:
    """A number with so many significant digits, without an exponent where it can be."""
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    text = f"{value:.{places}g}"
    return text if "e" not in text or abs(value) >= 1e12 or abs(value) < 1e-6 else f"{value:,.0f}"


def count(value: float) -> str:
    """A large number as people say it: `3.35 M`."""
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {unit}"
    return digits(value)


def duration(seconds: float) -> str:
    """A time as people say it: `2 h 5 min`, `34 s`."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole >= 100 * 3600:
        return f"{whole / 3600:,.0f} h" if whole < 1e10 else f"{seconds / 3600:.3g} h"
    hours, minutes = divmod(timedelta(seconds=whole).total_seconds(), 3600)
    if hours:
        return f"{int(hours)} h {int(minutes // 60)} min"
    return f"{int(minutes // 60)} min {int(minutes % 60)} s"


def result(name: str, value: Any) -> str:
    """A result of a run with its unit: `98.3 %` of an accuracy of 0.983."""
    if not is_number(value):
        return plain(value)
    part, metric = metric_of(name)
    if metric is None:
        return digits(value)
    if metric.name in ("params", "macs"):
        return count(value)
    # What a benchmark's table holds is in per cent already.
    factor = 1.0 if part == "table" else metric.factor
    if metric.decimals is None:
        return digits(value * factor)
    unit = f" {metric.unit}" if metric.unit and metric.unit != "edges" else ""
    return f"{value * factor:.{0 if metric.unit == 'edges' else metric.decimals}f}{unit}"


def plain(value: Any) -> str:
    """A value of a configuration as text."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return shown(value if isinstance(value, str) else str(value), LONG)


def title(name: str) -> str:
    """A key as words."""
    part, metric = metric_of(name)
    if name in LONGER:
        return LONGER[name]
    if metric is not None and metric.title and not part:
        return metric.title
    return shown(name.replace("_", " "), LONG)


def told_versions(summary: Mapping[str, Any]) -> str:
    """The versions of software that a summary names; nothing where it names none."""
    versions = summary.get("versions")
    if not isinstance(versions, Mapping):
        return ""
    told = (f"{shown(str(name), 40)} {shown(str(version), 40)}" for name, version in versions.items())
    return shown(", ".join(told), 1000)
