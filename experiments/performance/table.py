"""`bench.json` of several runs as one table, and what is missing in it."""

from collections.abc import Iterator, Mapping
from typing import Any

from experiments.performance.rows import ROWS
from experiments.records import markdown, several
from nas.measure.bench_report import STEPS

Measured = Mapping[str, Any]


def report(found: Mapping[str, Measured], failed: Mapping[str, str]) -> str:
    """The table in Markdown, where it was measured, and which rows it lacks.

    Args:
        found: row -> what its `bench.json` holds.
        failed: row -> how it ended, of those that ended badly.
    """
    rows = [
        line for name, about in ROWS.items() if name in found for line in _lines(about.about, found[name])
    ]
    missing = [f"{name} ({failed.get(name, 'not run')})" for name in ROWS if name not in found] + [
        f"{name}, {what}" for name in found for what in _unrelated(found[name])
    ]
    parts = [markdown(rows) if rows else "", "\n".join(_origin(found))]
    parts.append(f"Missing: {'; '.join(missing)}." if missing else "Nothing is missing.")
    return "\n".join(part for part in parts if part) + "\n"


def _lines(about: str, measured: Measured) -> Iterator[dict[str, str]]:
    others = [(f", stage {stage['stage']}", stage) for stage in measured.get("stages", ())[1:]]
    for suffix, result in [("", measured), *others]:
        for step, words in STEPS.items():
            ours = result.get(f"{step}_seconds")
            if ours is None:
                continue
            # The table begins a group with its name, and its other lines are read below it.
            yield {
                "what": f"{about or 'the same'}{suffix}" if suffix else about,
                "step": words,
                "ours, s": _spread(ours),
                "reference, s": _spread(result.get(f"reference_{step}_seconds")),
                "channels-last, s": _spread(result.get(f"reference_{step}_channels_last_seconds")),
                "ratio": _number(result.get(f"{step}_ratio")),
                "GFLOP/s": _number(measured.get("gflops")) if step == "weight" and not suffix else "",
            }
            about, suffix = "", ""


def _unrelated(measured: Measured) -> list[str]:
    """What was timed without anything beside it."""
    stages = [stage for stage in measured.get("stages", ())[1:] if "weight_ratio" not in stage]
    return [f"reference of stage {stage['stage']}" for stage in stages]


def _origin(found: Mapping[str, Measured]) -> list[str]:
    if not found:
        return []
    runs = list(found.values())
    versions = [" ".join(map(str, pair)) for run in runs for pair in run["versions"].items()]
    products = [run["gflops_matmul"] for run in runs]
    return [
        "Seconds as median (lowest to highest, n), ours and the reference in turn in one run; where the",
        "reference has two memory formats, the ratio is to its faster one.",
        f"Device: {several(run['device'] for run in runs)}; "
        f"threads: {several(run['threads'] for run in runs)}; "
        f"precision {several(run['precision'] for run in runs)}.",
        f"Versions: {several(versions)}.",
        f"A matrix product reached {min(products):.0f} to {max(products):.0f} GFLOP/s in these runs.",
    ]


def _spread(value: Mapping[str, float] | None) -> str:
    if value is None:
        return ""
    return f"{value['median']:.3g} ({value['min']:.3g} to {value['max']:.3g}, {value['n']})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
