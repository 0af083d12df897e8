"""Rows of a table against a baseline, with what so few seeds can show at all."""

from nas.analysis.statistics import Interval
from nas.analysis.sweep_comparison import Compared, Row
from nas.analysis.sweeps import Unit
from nas.pages import forms
from nas.pages.blocks import Cell, Column, Table, maybe, number, words
from nas.pages.members import heading
from nas.printable import shown


def against(table: Compared, unit: Unit) -> Table:
    """Every row that has a baseline to be compared with.

    Args:
        table: the rows of the table, compared.
        unit: of the figure.
    """
    percent = f"{100 * table.asked.level:g} %"
    heads = (
        "row", "n", f"difference of {heading(unit)}", f"its {percent} interval", "effect", "p", "p (Holm)",
        "smallest p there can be", "seeds needed",
    )  # fmt: skip
    columns = [*(Column(head, place > 0) for place, head in enumerate(heads)), Column("not equal")]
    rows = [_fields(row, unit) for row in table.rows if row.comparison is not None]
    tests = dict.fromkeys(row.comparison.test for row in table.rows if row.comparison is not None)
    effects = dict.fromkeys(row.comparison.effect_name for row in table.rows if row.comparison is not None)
    note = (
        f"By {', '.join(tests)}, on two sides; the effect is {', '.join(effects)}. "
        "Where the smallest p there can be is above 0.05, so few seeds cannot show any difference, however "
        "large. Seeds needed: for 80 % power, if difference and spread are as seen here."
    )
    return Table(f"Against {shown(str(table.asked.baseline), 200)}", columns, rows, note)


def _fields(row: Row, unit: Unit) -> list[Cell]:
    comparison = row.comparison
    assert comparison is not None
    pairs = f"{comparison.n} pairs" if comparison.paired else f"{comparison.of[0]} and {comparison.of[1]}"
    effect = "" if comparison.effect is None else f"{comparison.effect:+.2f}"
    return [
        words(row.label),
        number(comparison.n, pairs),
        maybe(comparison.difference, _signed(comparison.difference, unit)),
        _between(comparison.interval, unit),
        maybe(comparison.effect, effect, comparison.effect_name),
        maybe(comparison.p, _p(comparison.p), comparison.test),
        maybe(row.p_holm, _p(row.p_holm)),
        maybe(comparison.smallest_p, _p(comparison.smallest_p)),
        maybe(row.needed, "" if row.needed is None else forms.digits(row.needed)),
        Cell(", ".join(row.unequal), ", ".join(row.unequal) or None, tone="warn" if row.unequal else ""),
    ]


def _between(interval: Interval | None, unit: Unit) -> Cell:
    if interval is None:
        return words("")
    low, high = (_signed(end, unit) for end in (interval.low, interval.high))
    return number(interval.low, f"{low} to {high}")


def _signed(value: float | None, unit: Unit) -> str:
    return "" if value is None else f"{value * unit.factor:+.{unit.decimals}f}"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"
