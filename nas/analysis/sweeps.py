"""What the runs of a sweep add up to: settings that vary, means and standard deviations over seeds, as text.

Nothing here reads or writes a file; `nas.sweeps` does.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nas.errors import ConfigError, require

# Repetitions of one setting: they are averaged over.
SEEDS = ("seed", "split_seed")
# How a run is shown and kept: of no effect on its results, and so never a setting of its own.
SHOWN = (
    "traceback",
    "logger",
    "checkpoint",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.profiler",
)
# Keys of summary.json that are results, the most telling first; `table` (the architecture looked up in a
# benchmark) comes between.
BEFORE_TABLE = (
    "test_accuracy",
    "test_top5_accuracy",
    "test_perplexity",
    "test_loss",
    "valid_accuracy",
    "valid_perplexity",
    "valid_loss",
)
AFTER_TABLE = (
    "architecture_accuracy",
    "architecture_perplexity",
    "test_balanced_accuracy",
    "valid_balanced_accuracy",
    "architecture_balanced_accuracy",
    "weight_loss",
    "num_skip",
    "hessian_eigenvalue",
    "params",
    "macs",
)


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
    """

    folder: str
    overrides: Mapping[str, str]
    status: str
    reason: str = ""
    again: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)

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
    mean = math.fsum(values) / n
    if n == 1:
        return Stat(mean, None, 1)
    return Stat(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)), n)


def parse_overrides(overrides: Iterable[str]) -> dict[str, str]:
    """Key -> value of what was typed; a deletion is `~key` -> `deleted`.

    `+` and `++`, which only say that a key is new, are dropped, as are Hydra's own settings.
    """
    found = {}
    for override in overrides:
        key, _, value = str(override).partition("=")
        key = key.strip().lstrip("+")
        if not key.startswith("hydra.") and not key.startswith("hydra/"):
            found[key] = value.strip() or ("deleted" if key.startswith("~") else "")
    return found


def canonical(value: str) -> str | float:
    """What a typed value means, so that `1e-3` and `0.001` are one setting."""
    try:
        number = float(value)
    except ValueError:
        return value.strip("\"'")
    # "1_000" is a number to Python and a text to YAML.
    return number if math.isfinite(number) and "_" not in value else value


def figures_of(summary: Mapping) -> dict[str, float]:
    """The results in a run's `summary.json`, in the order of the tables.

    Of `table`, the architecture looked up in a benchmark, come the figure of its metric (`table_accuracy`,
    in per cent), rank, gap to the best, and the other test accuracies. What is missing, no number or not
    finite is left out.
    """
    table = summary.get("table")
    found = _looked_up(table) if isinstance(table, Mapping) else {}
    # An eigenvalue in another basis of the same distribution has the basis in its name.
    found |= {name: value for name, value in summary.items() if _place(name) is not None}
    numbers = {name: float(value) for name, value in found.items() if _is_number(value)}
    return dict(sorted(numbers.items(), key=lambda item: _place(item[0])))


def _looked_up(table: Mapping) -> dict[str, object]:
    metric = table.get("metric")
    found = {"table_accuracy": table.get(metric, table.get("accuracy"))}
    found |= {f"table_{name}": table.get(name) for name in ("rank", "gap")}
    tests = [name for name in table if name.endswith("_test") and name != metric]
    return found | {f"table_{name}_accuracy": table[name] for name in tests}


def _place(name: str) -> int | None:
    """Where a figure stands in a table; None for what is no figure."""
    if name in BEFORE_TABLE:
        return BEFORE_TABLE.index(name)
    if name.startswith("table_"):
        return len(BEFORE_TABLE)
    if name.startswith("hessian_eigenvalue_"):
        name = "hessian_eigenvalue"
    return len(BEFORE_TABLE) + 1 + AFTER_TABLE.index(name) if name in AFTER_TABLE else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def axes(runs: Sequence[Run], over: Sequence[str] = SEEDS) -> list[str]:
    """The keys that vary between the runs and are not averaged over, in the order of their typing."""
    values: dict[str, set] = {}
    for run in runs:
        for key, value in run.overrides.items():
            values.setdefault(key, set()).add(canonical(value))
    left_out = {*over, *SHOWN}
    return [
        key
        for key, found in values.items()
        if len(found) > 1 and not {key, key.partition(".")[0], key.partition("/")[0]} & left_out
    ]


def figure_names(runs: Sequence[Run]) -> list[str]:
    """Every figure that some finished run has, the most telling first."""
    found = dict.fromkeys(name for run in runs if run.finished for name in run.figures)
    return sorted(found, key=_place)


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
    names = axes(runs, over)
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        if run.finished or all(name in run.overrides for name in names):
            key = tuple(canonical(run.overrides.get(name, "")) for name in names)
            groups.setdefault(key, []).append(run)
    found = []
    for group in groups.values():
        finished = [run for run in group if run.finished]
        figures = {
            name: tuple(run.figures[name] for run in finished if name in run.figures)
            for name in figure_names(finished)
        }
        values = tuple(group[0].overrides.get(name, "") for name in names)
        found.append(Setting(values, len(group), len(finished), figures))
    return found


def runs_csv(runs: Sequence[Run]) -> str:
    """One row a run: folder, status, what varies (seeds too), figures, and why it is not finished."""
    keys, names = axes(runs, over=()), figure_names(runs)
    rows = [["folder", "status", *keys, *names, "reason"]]
    for run in runs:
        values = [run.overrides.get(key, "") for key in keys]
        numbers = [run.figures.get(name, "") for name in names]
        rows.append([run.folder, run.status, *values, *numbers, run.reason])
    return _csv(rows)


def table_csv(runs: Sequence[Run], over: Sequence[str] = SEEDS) -> str:
    """One row a setting: axes, runs, n; of every figure its mean, standard deviation and n, unrounded."""
    names = figure_names(runs)
    header = [f"{name}_{part}" for name in names for part in ("mean", "sd", "n")]
    rows = [[*axes(runs, over), "runs", "n", *header]]
    for setting in settings(runs, over):
        row = [*setting.values, setting.runs, setting.n]
        for name in names:
            found = setting.stat(name)
            row += [_blank(found.mean), _blank(found.deviation), found.n]
        rows.append(row)
    return _csv(rows)


def _blank(value: float | None) -> float | str:
    return "" if value is None else value


def _csv(rows: Iterable[Sequence]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


@dataclass(frozen=True)
class Unit:
    """How a figure is shown: `value * factor` with so many decimals under `heading`."""

    heading: str
    factor: float
    decimals: int


def unit(name: str, values: Sequence[float]) -> Unit:
    """Per cent for accuracies (a table's are, others are fractions), millions for sizes, else four digits.

    Perplexities have two decimals, as in papers, however large they are.
    """
    if name.endswith("accuracy"):
        return Unit(f"{name} [%]", 1.0 if name.startswith("table_") else 100.0, 2)
    if name in ("params", "macs"):
        return Unit(f"{name} [M]", 1e-6, 3)
    if name == "num_skip" or name.endswith("perplexity"):
        return Unit(name, 1.0, 2)
    largest = max((abs(value) for value in values), default=0.0)
    digits = 3 - math.floor(math.log10(largest)) if largest > 0 else 3
    return Unit(name, 1.0, min(max(digits, 0), 6))


def units(found: Sequence[Setting], names: Sequence[str]) -> dict[str, Unit]:
    """The unit of every figure, the same for all settings."""
    return {name: unit(name, [v for s in found for v in s.figures.get(name, ())]) for name in names}


def table_markdown(runs: Sequence[Run], over: Sequence[str] = SEEDS) -> str:
    """The settings as a Markdown table that can be read as it stands: mean ± standard deviation, and n.

    Where a figure has fewer values than n, its own number stands in brackets.
    """
    names, found = figure_names(runs), settings(runs, over)
    shown = units(found, names)
    rows = [[*axes(runs, over), "n", *(shown[name].heading for name in names)]]
    for setting in found:
        cells = [_cell(setting.stat(name), setting.n, shown[name]) for name in names]
        rows.append([*(value.replace("|", "\\|") for value in setting.values), str(setting.n), *cells])
    widths = [max(2, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    first = len(axes(runs, over))
    lines = []
    for row in rows:
        padded = [
            cell.ljust(width) if column < first else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(padded)} |")
    rule = ["-" * width if column < first else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    lines.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(lines)


def _cell(found: Stat, n: int, unit: Unit) -> str:
    if found.mean is None:
        return ""
    text = f"{found.mean * unit.factor:.{unit.decimals}f}"
    if found.deviation is not None:
        text += f" ± {found.deviation * unit.factor:.{unit.decimals}f}"
    return text if found.n == n else f"{text} ({found.n})"


def unfinished_markdown(runs: Sequence[Run]) -> str:
    """The runs that count nowhere, each with its reason and the command that goes on; empty if none."""
    keys = axes(runs, over=())
    lines = []
    for run in runs:
        if run.finished:
            continue
        which = ", ".join(f"{key}={run.overrides[key]}" for key in keys if run.overrides.get(key))
        lines.append(f"- {run.folder}{f' ({which})' if which else ''}: {run.reason or run.status}")
        if run.again:
            lines.append(f"  `{run.again}`")
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
    names, found = axes(runs, over), settings(runs, over)
    if not any(setting.figures.get(figure) for setting in found):
        raise ConfigError(f"figure={figure}: no finished run has it")
    if not names:
        return "", {"": [("all", found[0].figures[figure])]}
    columns = {name: {canonical(s.values[i]) for s in found} for i, name in enumerate(names)}
    numeric = [name for name in names if all(isinstance(value, float) for value in columns[name])]
    along = max(numeric, key=lambda name: len(columns[name])) if numeric else names[0]
    place = names.index(along)
    series: dict[str, list[tuple[str, tuple[float, ...]]]] = {}
    for setting in found:
        rest = [f"{names[i]}={value}" for i, value in enumerate(setting.values) if i != place]
        point = (setting.values[place], setting.figures.get(figure, ()))
        series.setdefault(", ".join(rest), []).append(point)
    return along, series
