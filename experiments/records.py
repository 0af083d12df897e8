"""What the records of experiments have in common: tables, differences of means, where numbers are from."""

import csv
import io
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from nas.engine.run_folder import read_table
from nas.files import write_text


def as_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as CSV, one a line, with the columns of all of them; what a row lacks is blank."""
    buffer = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def keep_record(folder: Path, name: str, table: str, report: str, draw: Callable[[], Sequence[Path]]) -> None:
    """Writes `<name>.csv` and `<name>.md`, draws the figures, and prints the report and all paths."""
    files = {folder / f"{name}.csv": table, folder / f"{name}.md": report}
    for path, text in files.items():
        write_text(path, text, parents=True)
    pictures = draw()
    print(report)
    for path in (*files, *pictures):
        print(path)


def blank(value: object) -> object:
    """The value; nothing for None."""
    return "" if value is None else value


def numbers(path: Path) -> list[dict[str, float]]:
    """The rows of a run's table as numbers, without their blanks; none if there is no table."""
    return [{name: float(text) for name, text in row.items() if text != ""} for row in read_table(path)]


def difference(these: Sequence[float], those: Sequence[float]) -> str:
    """Mean of these less that of those; with its standard error, from the spread of both, if each has two."""
    text = f"{statistics.mean(these) - statistics.mean(those):+.2f}"
    if min(len(these), len(those)) < 2:
        return text
    error = math.sqrt(sum(statistics.variance(values) / len(values) for values in (these, those)))
    return f"{text} (s.e. {error:.2f})"


def several(values: Iterable[object]) -> str:
    """The different values as a list in words."""
    return ", ".join(sorted({str(value) for value in values if value is not None})) or "not recorded"


def told(summaries: Iterable[Mapping], key: str) -> str:
    """What summaries say under a key, each value once."""
    return several(one.get(key) for one in summaries)


def origin(summaries: Sequence[Mapping]) -> list[str]:
    """Which code computed the runs, and on what."""
    versions = several((one.get("versions") or {}).get("torch") for one in summaries)
    return [
        f"- commit: {told(summaries, 'git_commit')}",
        f"- device: {told(summaries, 'device')}; torch {versions}",
    ]


def effort(summaries: Sequence[Mapping], seeds: Iterable[int]) -> str:
    """How long all runs took together, and their seeds."""
    hours = sum(one.get("seconds") or 0 for one in summaries) / 3600
    return f"- {hours:.1f} hours of one thread in all; seeds {', '.join(map(str, sorted(set(seeds))))}"
