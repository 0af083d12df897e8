"""What `summary.json` may hold: the kind and range of what a table reads of it, and which keys are results.

A summary says itself what was reached: whether a run has accuracies or perplexities is seen by the keys that
it has, never by the names of its data set or method.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from nas.analysis.metrics import is_result, metric_of, place
from nas.errors import require
from nas.printable import shown
from nas.reading.plain import is_number, is_whole

COMMANDS = (
    "search", "evaluate", "derive", "cost", "bench", "latency", "rank", "export", "blackbox", "protocol",
    "predict",
)  # fmt: skip
# The commands whose runs can be continued.
RESUMED = ("search", "evaluate", "protocol")
STATUSES = ("running", "finished", "stopped", "failed", "died")
# What runs that are compared should have in common; with epochs, queries and seconds, which are budgets.
CONDITIONS = ("dataset", "split_hash", "recipe", "git_commit", "device", "threads")
# Packages of which a version is read.
PACKAGES = 40
# In `table`: what is no figure of a column.
STANDING = ("metric", "rank", "of", "gap", "best", "predicted_by")


def check_summary(summary: Mapping[str, Any], where: str) -> None:
    """Refuses a summary of which something that is read here is not of its kind.

    Args:
        summary: what `summary.json` holds.
        where: what the message begins with.

    Raises:
        ConfigError: names key, value, and what is allowed.
    """
    checks: dict[str, tuple[Callable[[Any], bool], str]] = {
        "command": (lambda value: value in COMMANDS, f"one of {', '.join(COMMANDS)}"),
        "status": (lambda value: value in STATUSES, f"one of {', '.join(STATUSES)}"),
        "epochs": (is_whole, "a whole number"),
        "planned_epochs": (is_whole, "a whole number"),
        "exit_status": (lambda value: is_whole(value, 0, 255), "a whole number from 0 to 255"),
        "error": (lambda value: isinstance(value, str), "text"),
        "table": (lambda value: isinstance(value, Mapping), "a mapping"),
    }
    for key, value in summary.items():
        fits, allowed = checks.get(key) or _kind(key) or (_anything, "")
        require(value is None or fits(value), f"{where}: {shown(key)}={shown(value)}: must be {allowed}")
    for key, value in (summary.get("table") or {}).items():
        fits, allowed = _table_kind(key)
        require(
            value is None or fits(value), f"{where}: table.{shown(key)}={shown(value)}: must be {allowed}"
        )
    require("status" in summary, f"{where}: it has no status")


def _anything(value: object) -> bool:
    return True


def _kind(key: str) -> tuple[Callable[[Any], bool], str] | None:
    """What a result has to be; None for what is none."""
    _, metric = metric_of(key)
    if metric is None or not is_result(key):
        return None
    if metric.least == -math.inf:
        return is_number, "a number"
    most = {math.inf: "", 2**63: " to 2^63"}.get(metric.most, f" to {metric.most:g}")
    allowed = f"a number from {metric.least:g}{most}" if most else f"a number of at least {metric.least:g}"
    return (lambda value: is_number(value, metric.least, metric.most)), allowed


def _table_kind(key: str) -> tuple[Callable[[Any], bool], str]:
    if key in ("metric", "predicted_by"):
        return (lambda value: isinstance(value, str)), "text"
    if key in ("rank", "of"):
        return (lambda value: is_whole(value, 1)), "a whole number above 0"
    return is_number, "a number"


def figures_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """The results in a run's `summary.json`, in the order of the tables.

    Of `table`, the architecture looked up in a benchmark, come the figure of its metric (`table_accuracy`,
    in per cent), rank, gap to the best, and the other test accuracies. What is missing, no number or not
    finite is left out.
    """
    table = summary.get("table")
    figures = _looked_up(table) if isinstance(table, Mapping) else {}
    # An eigenvalue in another basis of the same distribution has the basis in its name.
    figures |= {name: value for name, value in summary.items() if not name.startswith("table")}
    numbers = {name: float(value) for name, value in figures.items() if is_result(name) and _number(value)}
    return dict(sorted(numbers.items(), key=lambda item: place(item[0])))


def conditions_of(summary: Mapping[str, Any]) -> dict[str, str | float]:
    """What a comparison with other runs has to know of a run; what its summary does not say is left out.

    The versions of packages are `versions.<package>`.
    """
    versions = summary.get("versions")
    known = {name: summary.get(name) for name in ("epochs", "queries", *CONDITIONS)}
    if isinstance(versions, Mapping):
        known |= {f"versions.{name}": version for name, version in list(versions.items())[:PACKAGES]}
    kept: dict[str, str | float] = {
        shown(name): shown(str(value), 200)
        for name, value in known.items()
        if isinstance(value, str) or (_number(value) and name != "seconds")
    }
    seconds = summary.get("seconds")
    return kept | ({"seconds": float(seconds)} if seconds is not None and _number(seconds) else {})


def _number(value: object) -> bool:
    # A whole number beyond 64 bits may have no float.
    return is_number(value) and (isinstance(value, float) or is_whole(value, -(2**63)))


def _looked_up(table: Mapping[str, Any]) -> dict[str, Any]:
    metric = str(table.get("metric"))
    figures = {"table_accuracy": table.get(metric, table.get("accuracy"))}
    figures |= {f"table_{name}": table.get(name) for name in ("rank", "gap")}
    tests = [name for name in table if name.endswith("_test") and name not in (metric, *STANDING)]
    return figures | {f"table_{name}_accuracy": table[name] for name in tests}
