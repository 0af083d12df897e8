"""The runs below a folder, read from what each of them left; a damaged one costs no other.

Whatever is read here may be a stranger's: it is checked, and printable, before it reaches a table.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas.analysis import sweeps
from nas.analysis.summaries import COMMANDS, RESUMED, check_summary, conditions_of, figures_of
from nas.analysis.sweeps import Run
from nas.errors import ConfigError
from nas.printable import printable, shown
from nas.reading.json_text import read_object
from nas.reading.yaml_text import read_mapping
from nas.running import launching, multirun, repeating
from nas.running.config import USER_ERROR
from nas.running.saved import read_overrides
from nas.running.words import pasted, quoted

# Not entered when runs are looked for: nothing in them is a run, and a logger may keep many files there.
CLOSED = {"checkpoints", "figures", "wandb", "tensorboard"}


@dataclass(frozen=True)
class Found:
    """What lies below a folder.

    Attributes:
        runs: in the order of their jobs; jobs of a multirun that left nothing are among them.
        places: the folder of each of them, which need not be there.
        refused: whether one was refused for its settings.
        warnings: what could not be read of the sweeps themselves, one line each.
    """

    runs: list[Run]
    places: list[Path]
    refused: bool
    warnings: list[str]


def read_runs(folder: Path) -> Found:
    """All runs below a folder, the damaged ones among them."""
    places, closed = _run_folders(folder)
    places.sort(key=lambda place: _natural(place.relative_to(folder).as_posix()))
    summaries = {place: _summary(place) for place in places}
    runs = {place: _read_run(folder, place, summaries[place]) for place in places}
    for place, why in closed.items():
        runs[place] = Run(_name(folder, place), {}, "damaged", f"damaged: the folder cannot be read ({why})")
    missing, warnings = _not_started(folder, runs)
    runs |= missing
    commands = {summary["command"] for summary in summaries.values() if "command" in summary}
    keys = list(dict.fromkeys(key for run in runs.values() for key in run.overrides))
    filled = []
    ordered = sorted(runs, key=lambda place: _natural(place.relative_to(folder).as_posix()))
    for place in ordered:
        run = runs[place]
        command = summaries.get(place, {}).get("command", "") if len(commands) > 1 else None
        filled.append(_filled(run, place, keys, command))
    refused = any(summary.get("exit_status") == USER_ERROR for summary in summaries.values())
    return Found(filled, ordered, refused, warnings)


def _filled(run: Run, place: Path, keys: Sequence[str], command: str | None) -> Run:
    """A run with the values of all keys, those too that it was not given, as its `config.yaml` has them."""
    overrides = dict(run.overrides)
    lacking = [key for key in keys if key not in overrides]
    if lacking and os.path.lexists(place / "config.yaml"):
        try:
            overrides = _configured(place / "config.yaml", lacking) | overrides
        except ConfigError as error:
            if run.status != "damaged":
                run = Run(run.folder, run.overrides, "damaged", f"damaged: {error}")
    if command is not None:
        overrides["command"] = command
    # One order of keys for all runs, that in which they were typed first.
    ordered = {key: overrides[key] for key in ("command", *keys) if key in overrides}
    return replace(run, overrides=ordered)


def _natural(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts folder 10 after folder 2."""
    parts = re.split(r"([0-9]+)", text)
    return [(0, int(p), "") if re.fullmatch("[0-9]+", p) else (1, 0, p) for p in parts if p]


def _name(folder: Path, place: Path) -> str:
    return printable(place.relative_to(folder).as_posix())


def _run_folders(folder: Path) -> tuple[list[Path], dict[Path, str]]:
    """The folders of runs, and those that cannot be read, each with the reason."""
    found, closed = [], {}
    # Not by os.walk, which calls itself once a level.
    left = [folder]
    while left:
        place = left.pop()
        try:
            with os.scandir(place) as entries:
                files = [(one.name, one.is_dir(follow_symlinks=False)) for one in entries]
        except OSError as error:
            closed[place] = str(error.strerror)
            continue
        names = {name for name, is_folder in files if not is_folder}
        if place != folder and {"summary.json", "config.yaml"} & names:
            found.append(place)
            continue
        left += [
            place / name
            for name, is_folder in files
            if is_folder and name not in CLOSED and not name.startswith(".")
        ]
    return found, closed


def _summary(place: Path) -> dict[str, Any]:
    """A run's summary, checked; where there is none that can be used, a status that says so."""
    path = place / "summary.json"
    if not os.path.lexists(path):
        return {"status": "lost", "error": "it has no summary.json: it was killed as it began"}
    try:
        found = read_object(path, "summary.json")
        check_summary(found, "summary.json")
    except ConfigError as error:
        return {"status": "damaged", "error": str(error)}
    return found


def _read_run(folder: Path, place: Path, summary: Mapping[str, Any]) -> Run:
    name, status = _name(folder, place), str(summary.get("status", "lost"))
    try:
        typed = read_overrides(place / "overrides.yaml") if os.path.lexists(place / "overrides.yaml") else []
    except ConfigError as error:
        return Run(name, {}, "damaged", f"damaged: {error}")
    found = {printable(key): printable(value) for key, value in sweeps.parse_overrides(typed).items()}
    if status == "finished":
        return Run(name, found, status, figures=figures_of(summary), conditions=conditions_of(summary))
    # The rest of a longer message is in the run's error.txt.
    message = shown(str(summary.get("error") or "").strip().partition("\n")[0], 1000)
    epochs = summary.get("epochs")
    unit = "epoch" if epochs == 1 else "epochs"
    after = f" after {epochs} {unit}" if epochs is not None and status != "failed" else ""
    if status == "running":
        status = "died" if launching.is_dead(place) else status
    words = "still running, or killed" if status == "running" else status
    reason = f"{words}{after}: {message}" if message else f"{words}{after}"
    return Run(name, found, status, reason, again(place, summary, typed))


def again(place: Path, summary: Mapping[str, Any], typed: Sequence[str]) -> str:
    """The command that continues a run or repeats it; empty where it cannot be told which command it was."""
    command = summary.get("command")
    saved = os.path.lexists(place / "config.yaml")
    if command is None and saved:
        try:
            command = read_mapping(place / "config.yaml").get("command")
        except ConfigError:
            return ""
        if command not in COMMANDS:
            return ""
    if saved and command in RESUMED:
        return pasted(["python", "-m", f"nas.{command}", f"resume={quoted(place)}"])
    return _repeated(str(command or "search"), typed, place)


def _repeated(command: str, overrides: Sequence[str], place: Path) -> str:
    """The command that runs a job again, unless what is pasted would be a stranger's word."""
    why = repeating.refusal(overrides)
    if why is not None:
        return f"not printed: {why}; see the overrides in its folder"
    return pasted(["python", "-m", f"nas.{command}", *overrides, f"hydra.run.dir={quoted(place)}"])


def _not_started(folder: Path, runs: Mapping[Path, Run]) -> tuple[dict[Path, Run], list[str]]:
    """The jobs of multiruns that no run stands for, and what is wrong with a multirun's own file."""
    warnings: list[str] = []
    found: dict[Path, Run] = {}
    parents = {folder, *(place.parent for place in runs)}
    plans = {place: None for place in sorted(parents) if os.path.lexists(place / "multirun.yaml")}
    # What the runs below each of them mean, gathered once.
    there: dict[Path, set[frozenset]] = {place: set() for place in plans}
    for place, run in runs.items():
        for sweep in place.parents:
            if sweep in there:
                there[sweep].add(_meaning(run.overrides))
    for sweep in plans:
        path = sweep / "multirun.yaml"
        try:
            jobs, numbered, command = multirun.read_jobs(path)
        except ConfigError as error:
            warnings.append(f"{error}; jobs that left nothing are not told")
            continue
        for number, overrides in enumerate(jobs):
            parsed = sweeps.parse_overrides(overrides)
            place = sweep / (str(number) if numbered else f"job_{number}")
            if place in runs or _meaning(parsed) in there[sweep]:
                continue
            settings = {printable(key): printable(value) for key, value in parsed.items()}
            found[place] = Run(
                _name(folder, place), settings, "missing", "not started", _repeated(command, overrides, place)
            )
    return found, warnings


def _meaning(overrides: Mapping[str, str]) -> frozenset:
    return frozenset((key, sweeps.canonical(value)) for key, value in overrides.items())


def _configured(path: Path, keys: Sequence[str]) -> dict[str, str]:
    """What a run had for keys that it was not given; a choice of a group is its `name`, "" what it never had.

    Raises:
        ConfigError: `config.yaml` cannot be read.
    """
    config = read_mapping(path)
    found = {}
    for key in keys:
        value = _select(config, key)
        if isinstance(value, dict):
            value = value.get("name")
        found[key] = "" if value is None else printable(str(value))
    return found


def _select(data: Any, key: str) -> Any:
    """The value of a dotted key; None where there is none, as of `~key`."""
    for part in re.split(r"[./\[\]]+", key.rstrip("]")):
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and re.fullmatch("[0-9]{1,6}", part):
            data = data[int(part)] if int(part) < len(data) else None
        else:
            return None
    return data
