"""What the runs of a sweep add up to: settings that vary, means and standard deviations over seeds, as text.

Nothing here reads or writes a file; `nas.sweeps` does.
"""

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from nas.analysis.metrics import metric_of, place
from nas.errors import ConfigError, require
from nas.printable import shown
from nas.reading.csv_text import csv_lines

# Repetitions of one setting: they are averaged over.
SEEDS = ("seed", "split_seed")
# How a run is shown and kept, and how long it may take: of no effect on results, so never a setting.
SHOWN = (
    "time_limit",
    "traceback",
    "logger",
    "checkpoint",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.profiler",
)
# Columns of settings, and unfinished runs, that a table for reading shows; all are in the CSV files.
COLUMNS, LISTED = 30, 1000
# Characters of a value in a cell.
WIDEST = 400


@dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Attributes:
        folder: its folder, as the tables name it.
        overrides: key -> value as typed; a key that is missing here has a value that is not known.
        status: `finished`, or what it is instead.
        reason: why it is not finished, in a few words; empty if it is.
        again: the command that continues or repeats it; empty if it is finished.
        figures: name -> result.
        conditions: what a comparison with other runs has to know: name -> value, such as `epochs`, `seconds`,
            `split_hash`, `git_commit`, `versions.torch`.
    """

    folder: str
    overrides: Mapping[str, str]
    status: str
    reason: str = ""
    again: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    conditions: Mapping[str, str | float] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether it counts in means."""
        return self.status == "finished"


@dataclass(frozen=True)
class Stat:
    """Mean, sample standard deviation (n - 1 in the denominator; None for n < 2) and number of values."""

    mean: float | None
    deviation: float | None
    n: int


@dataclass(frozen=True)
class Setting:
    """The runs that differ in nothing but their seeds.

    Attributes:
        values: the value of every axis, as typed.
        runs: how many runs there are, finished or not.
        n: how many finished.
        figures: name -> its values, one a finished run that has it, in the order of the runs.
    """

    values: tuple[str, ...]
    runs: int
    n: int
    figures: Mapping[str, tuple[float, ...]]

    def stat(self, figure: str) -> Stat:
        """Mean and deviation of one figure."""
        return stat(self.figures.get(figure, ()))


def stat(values: Sequence[float]) -> Stat:
    """Mean, sample standard deviation and count of `values`."""
    n = len(values)
    if n == 0:
        return Stat(None, None, 0)
    # Squares of numbers that can be written down may be beyond all numbers: divided by a power of two, which
    # changes no digit.
    largest = max(map(abs, values))
    shift = math.frexp(largest)[1] if largest > 1e100 else 0
    scaled = [math.ldexp(value, -shift) for value in values]
    mean = math.fsum(scaled) / n
    deviation = None if n == 1 else math.sqrt(math.fsum((value - mean) ** 2 for value in scaled) / (n - 1))
    return Stat(_unscaled(mean, shift), None if deviation is None else _unscaled(deviation, shift), n)


def _unscaled(value: float, shift: int) -> float:
    try:
        return math.ldexp(value, shift)
    except OverflowError:
        return math.inf


def parse_overrides(overrides: Iterable[str]) -> dict[str, str]:
    """Key -> value of what was typed; a deletion is `~key` -> `deleted`.

    `+` and `++`, which only say that a key is new, are dropped, as are Hydra's own settings.
    """
    typed = {}
    for override in overrides:
        key, _, value = str(override).partition("=")
        key = key.strip().lstrip("+")
        if not key.startswith("hydra.") and not key.startswith("hydra/"):
            typed[key] = value.strip() or ("deleted" if key.startswith("~") else "")
    return typed


@lru_cache(maxsize=2**16)
def canonical(value: str) -> str | float:
    """What a typed value means, so that `1e-3` and `0.001` are one setting."""
    try:
        number = float(value)
    except ValueError:
        return value.strip("\"'")
    # "1_000" is a number to Python and a text to YAML.
    return number if math.isfinite(number) and "_" not in value else value


def axes(runs: Sequence[Run], over: Sequence[str] = SEEDS) -> list[str]:
    """The keys that vary between the runs and are not averaged over, in the order of their typing."""
    values: dict[str, set] = {}
    for run in runs:
        for key, value in run.overrides.items():
            values.setdefault(key, set()).add(value)
    left_out = {*over, *SHOWN}
    return [
        key
        for key, typed in values.items()
        if len(typed) > 1
        and len({canonical(value) for value in typed}) > 1
        and not {key, key.partition(".")[0], key.partition("/")[0]} & left_out
    ]


def figure_names(runs: Sequence[Run]) -> list[str]:
    """Every figure that some finished run has, the most telling first."""
    names = dict.fromkeys(name for run in runs if run.finished for name in run.figures)
    return sorted(names, key=place)


def main_figure(runs: Sequence[Run], wanted: str | None = None) -> str | None:
    """The figure that a picture of the sweep shows: `wanted`, or the first there is; None if there is none.

    Raises:
        ConfigError: no finished run has the figure that is wanted.
    """
    names = figure_names(runs)
    require(
        wanted is None or wanted in names, f"figure={wanted}: no run has it; there are {', '.join(names)}"
    )
    return wanted or next(iter(names), None)


def settings(runs: Sequence[Run], over: Sequence[str] = SEEDS) -> list[Setting]:
    """The settings of a sweep in the order of their first runs, those too of which no run finished.

    A run that broke off before it had written its configuration is left out if it cannot be told where it
    belongs.
    """
    return [setting for setting, _ in grouped(runs, over)]


def grouped(runs: Sequence[Run], over: Sequence[str] = SEEDS) -> list[tuple[Setting, list[Run]]]:
    """The same, each setting with its finished runs."""
    names = axes(runs, over)
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        if run.finished or all(name in run.overrides for name in names):
            key = tuple(canonical(run.overrides.get(name, "")) for name in names)
            groups.setdefault(key, []).append(run)
    result = []
    for group in groups.values():
        finished = [run for run in group if run.finished]
        figures = {
            name: tuple(run.figures[name] for run in finished if name in run.figures)
            for name in figure_names(finished)
        }
        values = tuple(group[0].overrides.get(name, "") for name in names)
        result.append((Setting(values, len(group), len(finished), figures), finished))
    return result


def runs_csv(runs: Sequence[Run]) -> str:
    """One row per run: folder, status, what varies (seeds too), figures, and why it is not finished."""
    keys, names = axes(runs, over=()), figure_names(runs)
    rows: list[list[object]] = [["folder", "status", *keys, *names, "reason"]]
    for run in runs:
        values = [run.overrides.get(key, "") for key in keys]
        numbers = [run.figures.get(name, "") for name in names]
        rows.append([run.folder, run.status, *values, *numbers, run.reason])
    return csv_lines(rows)


def table_csv(
    runs: Sequence[Run],
    over: Sequence[str] = SEEDS,
    more: tuple[Sequence[str], Sequence[Sequence[object]]] = ((), ()),
) -> str:
    """One row per setting: axes, runs, n; of every figure its mean, standard deviation and n, unrounded.

    Args:
        runs: of the sweep.
        over: keys that are averaged over.
        more: further columns, and their fields row by row; none if there are no rows of them.
    """
    names = figure_names(runs)
    header = [f"{name}_{part}" for name in names for part in ("mean", "sd", "n")]
    rows: list[list[object]] = [[*axes(runs, over), "runs", "n", *header, *more[0]]]
    for number, setting in enumerate(settings(runs, over)):
        row = [*setting.values, setting.runs, setting.n]
        for name in names:
            figure = setting.stat(name)
            row += [figure.mean, figure.deviation, figure.n]
        rows.append([*row, *(more[1][number] if more[1] else ())])
    return csv_lines(rows)


@dataclass(frozen=True)
class Unit:
    """How a figure is shown: `value * factor` with so many decimals under `heading`."""

    heading: str
    factor: float
    decimals: int


def unit(name: str, values: Sequence[float]) -> Unit:
    """As the metric is shown, else with four digits; what a benchmark's table holds as it is."""
    part, metric = metric_of(name)
    if metric is not None and metric.decimals is not None:
        heading = name if metric.factor == 1.0 else f"{name} [{metric.unit}]"
        return Unit(heading, 1.0 if part == "table" else metric.factor, metric.decimals)
    largest = max((abs(value) for value in values), default=0.0)
    digits = 3 - math.floor(math.log10(largest)) if largest > 0 else 3
    return Unit(name, 1.0, min(max(digits, 0), 6))


def units(all_settings: Sequence[Setting], names: Sequence[str]) -> dict[str, Unit]:
    """The unit of every figure, the same for all settings."""
    return {name: unit(name, [v for s in all_settings for v in s.figures.get(name, ())]) for name in names}


def table_markdown(runs: Sequence[Run], over: Sequence[str] = SEEDS) -> str:
    """The settings as a Markdown table that can be read as it stands: mean ± standard deviation, and n.

    Where a figure has fewer values than n, its own number stands in brackets.
    """
    names, all_settings = figure_names(runs), settings(runs, over)
    headings = units(all_settings, names)
    keys = axes(runs, over)
    first = min(len(keys), COLUMNS)
    rows = [[*map(text_cell, keys[:first]), "n", *(headings[name].heading for name in names)]]
    for setting in all_settings:
        cells = [_cell(setting.stat(name), setting.n, headings[name]) for name in names]
        rows.append([*map(text_cell, setting.values[:first]), str(setting.n), *cells])
    lines = [table_lines(rows, range(first))]
    if len(keys) > first:
        lines.append(f"\n{len(keys) - first:,} more keys vary; their columns are in table.csv.")
    return "\n".join(lines)


def table_lines(rows: Sequence[Sequence[str]], texts: Container[int], narrowest: int = 2) -> str:
    """Rows of cells as a Markdown table, the first its head.

    Args:
        rows: of equal lengths.
        texts: the columns that begin at the left; numbers end at the right.
        narrowest: characters that a column has at least.
    """
    widths = [max(narrowest, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        padded = [
            cell.ljust(width) if column in texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(padded)} |")
    rule = [
        "-" * width if column in texts else "-" * (width - 1) + ":" for column, width in enumerate(widths)
    ]
    lines.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(lines)


def text_cell(value: str) -> str:
    """A value in a cell: no bar splits the table, no length bursts it."""
    return shown(value, WIDEST).replace("|", "\\|")


def _cell(figure: Stat, n: int, unit: Unit) -> str:
    if figure.mean is None:
        return ""
    text = digits(figure.mean * unit.factor, unit.decimals)
    if figure.deviation is not None:
        text += f" ± {digits(figure.deviation * unit.factor, unit.decimals)}"
    return text if figure.n == n else f"{text} ({figure.n})"


def digits(value: float, decimals: int) -> str:
    """A number with so many decimals, unless it is beyond all that a cell holds."""
    return f"{value:.{decimals}f}" if abs(value) < 1e12 else f"{value:.6g}"


def unfinished_markdown(runs: Sequence[Run]) -> str:
    """The runs that count nowhere, each with its reason and the command that goes on; empty if none."""
    keys = axes(runs, over=())
    lines = []
    left = [run for run in runs if not run.finished]
    for run in left[:LISTED]:
        given = [key for key in keys if run.overrides.get(key)]
        which = ", ".join(f"{key}={shown(run.overrides[key], WIDEST)}" for key in given[:COLUMNS])
        lines.append(f"- {run.folder}{f' ({which})' if which else ''}: {run.reason or run.status}")
        if run.again:
            lines.append(f"  `{run.again}`")
    if len(left) > LISTED:
        lines.append(f"- and {len(left) - LISTED:,} more, in sweep.csv")
    return "\n".join(lines)


def curves(
    runs: Sequence[Run], figure: str, over: Sequence[str] = SEEDS
) -> tuple[str, dict[str, list[tuple[str, tuple[float, ...]]]]]:
    """What a picture of the sweep shows.

    Returns:
        The key along x (empty if nothing but seeds varies): of the axes whose values are all numbers, the one
        with most values, else the first axis. And for each combination of the other axes its (x as typed,
        values of the figure) in the order of the sweep.

    Raises:
        ConfigError: no run has the figure.
    """
    names, all_settings = axes(runs, over), settings(runs, over)
    if not any(setting.figures.get(figure) for setting in all_settings):
        raise ConfigError(f"figure={figure}: no finished run has it")
    if not names:
        return "", {"": [("all", all_settings[0].figures[figure])]}
    columns = {name: {canonical(s.values[i]) for s in all_settings} for i, name in enumerate(names)}
    numeric = [name for name in names if all(isinstance(value, float) for value in columns[name])]
    along = max(numeric, key=lambda name: len(columns[name])) if numeric else names[0]
    place = names.index(along)
    series: dict[str, list[tuple[str, tuple[float, ...]]]] = {}
    for setting in all_settings:
        rest = [f"{names[i]}={value}" for i, value in enumerate(setting.values) if i != place]
        point = (setting.values[place], setting.figures.get(figure, ()))
        series.setdefault(", ".join(rest), []).append(point)
    return along, series
