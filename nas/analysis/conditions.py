"""What has to be equal where runs are compared for their settings: budget, data, recipe, software."""

from collections.abc import Hashable, Iterator, Mapping, Sequence

from nas.analysis.sweeps import Run, canonical
from nas.printable import shown

# A condition and what it is in words; `versions.<package>` besides, and `seconds`.
CONDITIONS = {
    "epochs": "budget: epochs",
    "queries": "budget: queries",
    "dataset": "data",
    "split_hash": "data: hash of the split",
    "recipe": "recipe",
    "git_commit": "commit",
    "device": "device",
    "threads": "threads",
}
VERSION = "versions."
# What every run of a comparison should have told; a budget is of its own command.
RECORDED = {"dataset", "recipe", "git_commit", "device", "threads"}
# Seconds of a run that differ by less than a minute, or by less than half, are no other budget.
LONGER, AT_LEAST = 1.5, 60.0
NOT_RECORDED = "not recorded"
# Rows, and values of a condition, that a message names.
NAMED = 6


def seed_of(run: Run, over: Sequence[str]) -> tuple[Hashable, ...]:
    """Which repetition of its setting a run is: the values of the keys that are averaged over."""
    return tuple(canonical(run.overrides[key]) if key in run.overrides else None for key in over)


def unequal(
    conditions: Mapping[int, Mapping[tuple, tuple]],
) -> Iterator[tuple[tuple, dict[int, tuple | None]]]:
    """The conditions that are not equal, each with its values by row.

    A split may depend on a seed, so that it is compared between runs of one seed alone.
    """
    for key in dict.fromkeys(key for own in conditions.values() for key in own):
        known = {place: own.get(key) for place, own in conditions.items()}
        if key[1] is not None:
            known = {place: values for place, values in known.items() if values is not None}
        if _differ(key[0], list(known.values())):
            yield key, known


def conditions_of(runs: Sequence[Run], over: Sequence[str]) -> dict[tuple, tuple]:
    """(condition, seed or None) -> its different values among runs; None of one without a record."""
    known: dict[tuple, dict] = {}
    names = dict.fromkeys(name for run in runs for name in run.conditions)
    for run in runs:
        for name in names:
            if name not in run.conditions and (name in RECORDED or name.startswith(VERSION)):
                known.setdefault((name, None), {})[None] = None
        for name, value in run.conditions.items():
            if name in CONDITIONS or name.startswith(VERSION):
                key = (name, seed_of(run, over) if name == "split_hash" else None)
                known.setdefault(key, {})[value] = None
    seconds = [float(run.conditions["seconds"]) for run in runs if "seconds" in run.conditions]
    if seconds:
        known["seconds", None] = {sum(seconds) / len(seconds): None}
    return {key: tuple(sorted(values, key=str)) for key, values in known.items()}


def condition_words(name: str) -> str:
    """What a condition is about, for people."""
    return name.removeprefix(VERSION) if name.startswith(VERSION) else CONDITIONS.get(name, f"budget: {name}")


def _differ(name: str, groups: Sequence[tuple | None]) -> bool:
    if name == "seconds":
        every = [values[0] for values in groups if values]
        return max(every) >= LONGER * min(every) and max(every) - min(every) >= AT_LEAST
    return len(set(groups)) > 1 or any(len(values or ()) > 1 for values in groups)


def sentence(key: tuple, known: Mapping[int, tuple | None], labels: Sequence[str]) -> str:
    """`Not equal, commit: 876d0b955 in method=darts1; d75a57c24 in method=random.`"""
    groups: dict[tuple | None, list[str]] = {}
    for place, values in known.items():
        groups.setdefault(values, []).append(labels[place])
    parts = []
    for values, own in list(groups.items())[:NAMED]:
        value = NOT_RECORDED if values is None else " and ".join(_value(key[0], v) for v in values[:NAMED])
        more = f" and {len(own) - NAMED:,} more" if len(own) > NAMED else ""
        parts.append(f"{value} in {', '.join(own[:NAMED])}{more}")
    if len(groups) > NAMED:
        parts.append(f"{len(groups) - NAMED:,} more values")
    return f"Not equal, {condition_words(key[0])}: {'; '.join(parts)}."


def _value(name: str, value: object) -> str:
    if value is None:
        return NOT_RECORDED
    if name == "seconds":
        return f"{float(str(value)):.0f} a run"
    return shown(str(value), 12 if name in ("git_commit", "split_hash") else 60)
