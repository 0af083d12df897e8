"""What the records of experiments have in common: runs read back, tables, differences, provenance."""

import json
import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nas.engine.run_folder import read_table
from nas.files import write_text
from nas.reading.csv_text import csv_table

Rows = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Run:
    """A run as far as it has come.

    Attributes:
        summary: its `summary.json`; empty if there is none yet.
        rows: of its `metrics.csv` as numbers, without their blanks.
    """

    summary: Mapping
    rows: Rows

    @property
    def finished(self) -> bool:
        """Whether it has come to its end."""
        return self.summary.get("status") == "finished"

    @property
    def trained(self) -> bool:
        """Whether it is a search that learns; a draw is none."""
        return any("weight_loss" in row for row in self.rows)

    @property
    def last(self) -> Mapping[str, float]:
        """The last of its rows; empty if there is none."""
        return self.rows[-1] if self.rows else {}

    def get(self, key: str) -> Any:
        """What its summary says under a key; None if it does not."""
        return self.summary.get(key)


Kind = TypeVar("Kind", bound=Run)


@dataclass(frozen=True)
class Found:
    """What a search or a draw found, or a published network, and its evaluation, as far as they have come.

    Attributes:
        place: which one, as its chain.
        seed: of both runs.
        search: the search or the draw.
        evaluation: that of what it found.
    """

    place: tuple[str, ...]
    seed: int
    search: Run
    evaluation: Run

    @property
    def kind(self) -> str:
        """What it is, where its place says nothing else."""
        return self.place[0]

    @property
    def accuracy(self) -> float | None:
        """Test accuracy in per cent; None before the evaluation's end."""
        return 100 * self.evaluation.get("test_accuracy") if self.evaluation.finished else None

    @property
    def minutes(self) -> float | None:
        """How long the search took; None for a draw, and for a folder that does not say."""
        seconds = self.search.get("seconds")
        return None if seconds is None or not self.search.trained else seconds / 60


def read_summary(folder: Path) -> dict:
    """The summary of a run folder; empty if there is none."""
    path = folder / "summary.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def numbers(path: Path) -> list[dict[str, float]]:
    """The rows of a run's table as numbers, without their blanks; none if there is no table."""
    return [{name: float(text) for name, text in row.items() if text != ""} for row in read_table(path)]


def read_run(folder: Path, kind: type[Kind] = Run) -> Kind:
    """The run of a folder, which need not be there."""
    return kind(read_summary(folder), numbers(folder / "metrics.csv"))


def as_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as CSV, one per line, with the columns of all of them; what a row lacks is blank, and None too."""
    return csv_table(list(dict.fromkeys(name for row in rows for name in row)), rows)


def keep_record(folder: Path, name: str, table: str, report: str, draw: Callable[[], Sequence[Path]]) -> None:
    """Writes `<name>.csv` and `<name>.md`, draws the figures, and prints the report and all paths."""
    files = {folder / f"{name}.csv": table, folder / f"{name}.md": report}
    for path, text in files.items():
        write_text(path, text, parents=True)
    pictures = draw()
    print(report)
    for path in (*files, *pictures):
        print(path)


def markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of equal keys as a Markdown table; floats with two digits, None blank."""
    lines = [
        list(rows[0]),
        ["---"] * len(rows[0]),
        *([_cell(value) for value in row.values()] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: object) -> str:
    """The text of a cell, with no bar that would end it."""
    if value is None:
        return ""
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return "`" + text.replace("|", "\\|") + "`" if "|" in text else text


def value_of(item: object, path: str) -> Any:
    """A value of a run or of what was found.

    Args:
        item: where it is looked up.
        path: `name[.name]...`, then `*factor` or `/divisor`, then `:format`, if any: `search.params/1e3:.1f`.
            A name is an attribute, or else what a summary or a row says; None where that says nothing.
    """
    path, _, form = path.partition(":")
    names, operator, number = re.fullmatch(r"([\w.]+)([*/]?)(.*)", path).groups()
    for name in names.split("."):
        item = getattr(item, name) if hasattr(item, name) else item.get(name)
    if item is None:
        return None
    value = item if not operator else item * float(number) if operator == "*" else item / float(number)
    return format(value, form) if form else value


def columns(words: str) -> dict[str, str]:
    """Columns from words `title=path`, or a path alone, whose last name is the title."""
    pairs = [word.rpartition("=") for word in words.split()]
    return {title or path.split(".")[-1]: path for title, _, path in pairs}


def table(items: Iterable[object], titles: Mapping[str, str]) -> list[dict[str, object]]:
    """A row for each of what was found, with the columns title -> path (see `value_of`)."""
    return [{title: value_of(item, path) for title, path in titles.items()} for item in items]


def means(group: Sequence[object], titles: Mapping[str, str]) -> dict[str, str]:
    """Mean and spread of a group for each of the columns title -> path."""
    return {title: spread(value_of(item, path) for item in group) for title, path in titles.items()}


def sections(*parts: str) -> str:
    """The parts of a Markdown report that are not empty, a blank line between them."""
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def titled(title: str, rows: Sequence[Mapping[str, object]], about: str = "") -> list[str]:
    """A table with a title and words about it as parts of a report; nothing without rows."""
    return [title, about, markdown(rows)] if rows else []


def spread(values: Iterable[float | None]) -> str:
    """Mean and standard deviation of at least two values, as text; None is left out."""
    values = [value for value in values if value is not None]
    if len(values) < 2:
        return f"{values[0]:.2f} (n = 1)" if values else "none"
    return f"{statistics.mean(values):.2f} +- {statistics.stdev(values):.2f} (n = {len(values)})"


def difference(these: Sequence[float], those: Sequence[float], words: str = "{} (s.e. {:.2f})") -> str:
    """Mean of these less that of those in words; with the standard error of both spreads if each has two."""
    text = f"{statistics.mean(these) - statistics.mean(those):+.2f}"
    if min(len(these), len(those)) < 2:
        return words.partition(" (")[0].format(text)
    return words.format(text, math.sqrt(sum(statistics.variance(own) / len(own) for own in (these, those))))


def several(values: Iterable[object]) -> str:
    """The different values as a list in words."""
    return ", ".join(sorted({str(value) for value in values if value is not None})) or "not recorded"


def told(runs: Iterable[Run], key: str) -> str:
    """What the summaries of runs say under a key, each value once."""
    return several(run.get(key) for run in runs)


def origin(runs: Sequence[Run]) -> list[str]:
    """Which code computed the runs, and on what."""
    versions = several((run.get("versions") or {}).get("torch") for run in runs)
    return [f"- commit: {told(runs, 'git_commit')}", f"- device: {told(runs, 'device')}; torch {versions}"]


def provenance(runs: Sequence[Run], seeds: Iterable[int], *lines: str) -> str:
    """Where numbers are from: the code, the device, what else is said, how long all runs took, the seeds."""
    runs = [run for run in runs if run.summary]
    hours = sum(run.get("seconds") or 0 for run in runs) / 3600
    took = f"- {hours:.1f} hours of one thread in all; seeds {', '.join(map(str, sorted(set(seeds))))}"
    return "\n".join([*origin(runs), *lines, took])


def between(text: str, begin: str, end: str) -> tuple[str, str, str]:
    """A page before, between and behind two markers.

    Raises:
        SystemExit: a marker is missing.
    """
    if begin not in text or end not in text:
        raise SystemExit(f"{begin} or {end} is missing in the page")
    before, _, rest = text.partition(begin)
    inside, _, behind = rest.partition(end)
    return before + begin, inside, end + behind
