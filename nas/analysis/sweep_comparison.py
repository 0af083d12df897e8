"""What the rows of a sweep's table show: intervals, comparisons with a baseline, and what is not equal.

Nothing here reads or writes a file; `nas.sweeps` does.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from nas.analysis.conditions import condition_words, conditions_of, seed_of, sentence, unequal
from nas.analysis.metrics import LOWER, metric_of
from nas.analysis.statistics import (
    LEVEL,
    Comparison,
    Interval,
    bootstrap,
    compare,
    compare_unpaired,
    holm,
    seeds_needed,
)
from nas.analysis.sweeps import (
    LISTED,
    SEEDS,
    Run,
    Setting,
    Unit,
    axes,
    canonical,
    digits,
    grouped,
    stat,
    table_lines,
    text_cell,
)
from nas.errors import ConfigError
from nas.printable import shown

# test= -> the one that takes its place where runs are no pairs.
TESTS = {"permutation": "permutation", "wilcoxon": "mannwhitney"}
# Keys of a row that name it, and rows that a message names.
KEYS, NAMED = 6, 20


@dataclass(frozen=True)
class Row:
    """A row of the table and what can be said of one of its figures.

    Attributes:
        setting: the row.
        label: what was typed for it, `method=darts1`; `all` where nothing varies.
        runs: its finished runs that have the figure.
        interval: of the mean; None below two runs.
        comparison: with the baseline; None for the baseline itself, and without one.
        p_holm: adjusted for all comparisons of the table.
        needed: seeds that would show the difference, if it and its spread are as seen here.
        unequal: conditions in which it differs from the baseline.
        baseline: whether it is one.
    """

    setting: Setting
    label: str
    runs: tuple[Run, ...]
    interval: Interval | None
    comparison: Comparison | None = None
    p_holm: float | None = None
    needed: int | None = None
    unequal: tuple[str, ...] = ()
    baseline: bool = False


@dataclass(frozen=True)
class Asked:
    """What a table is asked for.

    Attributes:
        figure: which figure is compared.
        over: the keys that are averaged over; runs that agree in them are pairs.
        baseline: overrides of the row that others are compared with, `method=darts1`; None for none.
        test: one of `TESTS`.
        level: of the intervals.
    """

    figure: str
    over: Sequence[str] = SEEDS
    baseline: str | None = None
    test: str = "permutation"
    level: float = LEVEL


@dataclass(frozen=True)
class Compared:
    """The rows of a table, and in sentences which of their conditions are not equal."""

    asked: Asked
    rows: tuple[Row, ...]
    flags: tuple[str, ...]


def compared(runs: Sequence[Run], asked: Asked) -> Compared:
    """Rows with intervals, and, where a baseline is asked for, what they are beside it.

    With several axes a baseline may be a row of each value of the others (`method=darts1` beside `space`):
    every row is compared with the one that agrees with it in all else, if there is one.

    Raises:
        ConfigError: no row is the baseline.
    """
    names = axes(runs, asked.over)
    rows = [_row(setting, own, names, asked) for setting, own in grouped(runs, asked.over)]
    wanted = _wanted(asked.baseline)
    base = _baselines(rows, names, wanted, asked.baseline)
    # Nothing is known, and nothing shown, of a row without a run.
    conditions = {place: conditions_of(row.runs, asked.over) for place, row in enumerate(rows) if row.runs}
    partners = [
        _partner(place, rows, base, [name not in wanted for name in names]) for place in range(len(rows))
    ]
    comparisons = [
        None if other in (None, place) else _comparison(rows[place], rows[other], asked)
        for place, other in enumerate(partners)
    ]
    adjusted = holm([None if comparison is None else comparison.p for comparison in comparisons])
    result = []
    for place, (row, other, comparison) in enumerate(zip(rows, partners, comparisons, strict=True)):
        apart: tuple[str, ...] = ()
        if other is not None and comparison is not None:
            both = {index: conditions[index] for index in (place, other) if index in conditions}
            apart = tuple(dict.fromkeys(condition_words(key[0]) for key, _ in unequal(both)))
        more = (comparison, adjusted[place], _needed(comparison), apart, place in base)
        result.append(Row(row.setting, row.label, row.runs, row.interval, *more))
    labels = [f"({row.label})" if ", " in row.label else row.label for row in rows]
    flags = {condition_words(key[0]): sentence(key, known, labels) for key, known in unequal(conditions)}
    return Compared(asked, tuple(result), tuple(flags.values()))


def _row(setting: Setting, finished: Sequence[Run], names: Sequence[str], asked: Asked) -> Row:
    own = tuple(run for run in finished if asked.figure in run.figures)
    first = zip(names[:KEYS], setting.values[:KEYS], strict=True)
    words = ", ".join(f"{name}={shown(value, 60)}" for name, value in first)
    interval = bootstrap([run.figures[asked.figure] for run in own], asked.level)
    return Row(setting, shown(words, 200) or "all", own, interval)


def _needed(comparison: Comparison | None) -> int | None:
    if comparison is None or comparison.difference is None or comparison.deviation is None:
        return None
    return seeds_needed(comparison.difference, comparison.deviation, paired=comparison.paired)


def _wanted(baseline: str | None) -> dict[str, str | float]:
    """The words `key=value[,key=value...]`; a comma within a value is none between two words."""
    if baseline is None:
        return {}
    words = (word.partition("=") for word in re.split(r",\s*(?=[\w./@]+=)", baseline))
    return {key.strip(): canonical(value.strip()) for key, _, value in words}


def _baselines(
    rows: Sequence[Row], names: Sequence[str], wanted: Mapping[str, str | float], typed: str | None
) -> list[int]:
    """The rows that are meant as baselines."""
    if typed is None:
        return []
    bases = [
        place
        for place, row in enumerate(rows)
        if set(wanted) <= set(names)
        and all(canonical(row.setting.values[names.index(key)]) == value for key, value in wanted.items())
    ]
    if bases:
        return bases
    more = f" and {len(rows) - NAMED:,} more" if len(rows) > NAMED else ""
    there = "; ".join(row.label for row in rows[:NAMED]) + more
    raise ConfigError(
        f"baseline={shown(typed)}: no row is that; "
        + (f"there are {there}" if names else "nothing but seeds varies, so that there is but one row")
    )


def _partner(place: int, rows: Sequence[Row], base: Sequence[int], free: Sequence[bool]) -> int | None:
    """The baseline that a row is compared with: itself if it is one."""
    if place in base or len(base) <= 1:
        return place if place in base else next(iter(base), None)
    own, *others = (
        [canonical(value) for value, kept in zip(rows[index].setting.values, free, strict=True) if kept]
        for index in (place, *base)
    )
    return next((index for index, values in zip(base, others, strict=True) if values == own), None)


def by_seed(row: Row, asked: Asked) -> dict[Hashable, float]:
    """The figure of every run by what it is averaged over; the mean of runs that agree in that."""
    figures: dict[Hashable, list[float]] = {}
    for run in row.runs:
        figures.setdefault(seed_of(run, asked.over), []).append(run.figures[asked.figure])
    return {key: sum(values) / len(values) for key, values in figures.items()}


def _comparison(row: Row, base: Row, asked: Asked) -> Comparison:
    """By pairs where at least two seeds are those of both, else as groups."""
    these, those = by_seed(row, asked), by_seed(base, asked)
    if len(these.keys() & those.keys()) >= 2:
        return compare(these, those, asked.test, asked.level)
    first, second = ([run.figures[asked.figure] for run in group.runs] for group in (row, base))
    return compare_unpaired(first, second, TESTS[asked.test], asked.level)


def csv_columns(table: Compared) -> tuple[list[str], list[list[object]]]:
    """Further columns of a table's CSV, and their fields row by row; nothing in them is rounded."""
    name = table.asked.figure
    header = [f"{name}_{part}" for part in ("low", "high", "interval")]
    rows: list[list[object]] = [
        [row.interval.low, row.interval.high, f"{row.interval.level:g} {row.interval.method}"]
        if row.interval
        else [None] * 3
        for row in table.rows
    ]
    if table.asked.baseline is None:
        return header, rows
    parts = (
        "difference", "difference_low", "difference_high", "effect", "effect_name", "p", "p_holm",
        "smallest_p", "pairs", "test", "seeds_needed", "unequal",
    )  # fmt: skip
    for fields, row in zip(rows, table.rows, strict=True):
        comparison = row.comparison
        if comparison is None:
            fields += [None] * len(parts)
            continue
        interval = comparison.interval
        fields += [comparison.difference, interval and interval.low, interval and interval.high]
        fields += [comparison.effect, comparison.effect_name, comparison.p, row.p_holm, comparison.smallest_p]
        fields += [comparison.n if comparison.paired else None, comparison.test]
        fields += [row.needed, "; ".join(row.unequal)]
    return header + [f"{name}_{part}" for part in parts], rows


def comparison_markdown(table: Compared, unit: Unit) -> str:
    """Intervals and comparisons as a section of a table's Markdown; empty where no row has two runs."""
    asked = table.asked
    several = any(row.interval for row in table.rows)
    against = any(row.comparison for row in table.rows)
    parts = []
    if several or against:
        percent = f"{100 * asked.level:g} %"
        title = f"## {unit.heading}: {percent} intervals"
        heads = ["row", "n", "mean", f"{percent} interval"]
        if asked.baseline is not None:
            title += f", and against {shown(asked.baseline)}"
            heads += [
                "difference",
                f"its {percent} interval",
                "effect",
                "p",
                "p (Holm)",
                "seeds needed",
                "by",
            ]
        shown_rows = table.rows[:LISTED]
        lines = [heads, *(_cells(row, asked, unit) for row in shown_rows)]
        left = len(table.rows) - len(shown_rows)
        more = [f"and {left:,} more rows, in table.csv"] if left else []
        parts = [title, table_lines(lines, {0, 10}), *more, _legend(table)]
    return "\n\n".join([*parts, *(f"> {flag}" for flag in table.flags)])


def _cells(row: Row, asked: Asked, unit: Unit) -> list[str]:
    values = [run.figures[asked.figure] for run in row.runs]
    mean = stat(values).mean
    cells = [text_cell(row.label), str(len(values)), "" if mean is None else _number(mean, unit)]
    cells.append(_ends(row.interval, unit))
    if asked.baseline is None:
        return cells
    comparison = row.comparison
    if comparison is None:
        return cells + ["baseline" if row.baseline else ""] + [""] * 6
    if comparison.difference is None:
        return cells + [""] * 7
    size = "" if comparison.effect is None else f"{comparison.effect:+.2f}"
    by = f"{comparison.n} pairs" if comparison.paired else f"{comparison.of[0]} against {comparison.of[1]}"
    return [
        *cells,
        ("+" if comparison.difference > 0 else "") + _number(comparison.difference, unit),
        _ends(comparison.interval, unit),
        size,
        p_text(comparison.p),
        p_text(row.p_holm),
        "" if row.needed is None else f"{row.needed:,}",
        f"{by}, {comparison.test}" + (" (!)" if row.unequal else ""),
    ]


def _number(value: float, unit: Unit) -> str:
    return digits(value * unit.factor, unit.decimals)


def _ends(interval: Interval | None, unit: Unit) -> str:
    return "" if interval is None else f"{_number(interval.low, unit)} to {_number(interval.high, unit)}"


def p_text(p: float | None) -> str:
    """A p with two digits that mean something."""
    return "" if p is None else (f"{p:.2f}" if p >= 0.1 else f"{p:.2g}")


def _legend(table: Compared) -> str:
    """How the numbers were made, and what they cannot show."""
    methods = dict.fromkeys(row.interval.method for row in table.rows if row.interval)
    words = []
    if methods:
        words.append(
            f"Intervals of the mean: {', '.join(methods)}; few runs make them too narrow (docs/sweeps.md)."
        )
    _, metric = metric_of(table.asked.figure)
    if metric is not None and metric.axis == LOWER:
        words.append(f"{LOWER[0].upper()}{LOWER[1:]}.")
    comparisons = [row.comparison for row in table.rows if row.comparison and row.comparison.p is not None]
    if not comparisons:
        return " ".join(words)
    pairs = [comparison for comparison in comparisons if comparison.paired]
    if pairs:
        words.append("Runs of one seed are a pair.")
    again = sum(len(row.runs) - len(by_seed(row, table.asked)) for row in table.rows) if pairs else 0
    if again:
        words.append(f"{again} runs repeat a seed of their row; in a pair stands the mean of a seed's runs.")
    left = sum(len(comparison.left_out) for comparison in pairs)
    if left:
        words.append(f"{left} runs have no partner and count in no difference.")
    names = dict.fromkeys(comparison.effect_name for comparison in comparisons)
    words.append(f"Effect: {', '.join(names)}.")
    words.append(f"p of two sides; Holm's is for all {len(comparisons)} comparisons of this table.")
    blind = min(float(comparison.smallest_p or 1) for comparison in comparisons)
    if blind > 0.05:
        words.append(f"With so few runs no p can be below {p_text(blind)}: a large one says nothing.")
    words.append(
        "Seeds needed: for a power of 0.8 at p = 0.05 without Holm, if difference and spread are as seen."
    )
    if any(row.unequal for row in table.rows):
        words.append("(!): not under the same conditions as the baseline, see below.")
    return " ".join(words)
