"""Rows of a table against a baseline, with what so few seeds can show at all."""

from nas.analysis.statistics import Interval
from nas.analysis.sweep_comparison import Compared, Row
from nas.analysis.sweeps import Unit
from nas.pages import forms
from nas.pages.blocks import Cell, Column, Table, maybe, number, words
from nas.pages.members import heading
from nas.printable import shown


def against(found: Compared, unit: Unit) -> Table:
    """Every row that has a baseline to be compared with.

    Args:
        found: the rows of the table, compared.
        unit: of the figure.
    """
    percent = f"{100 * found.asked.level:g} %"
    heads = (
        "row", "n", f"difference of {heading(unit)}", f"its {percent} interval", "effect", "p", "p (Holm)",
        "smallest p there can be", "seeds needed",
    )  # fmt: skip
    columns = [*(Column(head, place > 0) for place, head in enumerate(heads)), Column("not equal")]
    rows = [_fields(row, unit) for row in found.rows if row.comparison is not None]
    tests = dict.fromkeys(row.comparison.test for row in found.rows if row.comparison is not None)
    effects = dict.fromkeys(row.comparison.effect_name for row in found.rows if row.comparison is not None)
    note = (
        f"By {', '.join(tests)}, on two sides; the effect is {', '.join(effects)}. "
        "Where the smallest p there can be is above 0.05, so few seeds cannot show any difference, however "
        "large. Seeds needed: for 80 % power, if difference and spread are as seen here."
    )
    return Table(f"Against {shown(str(found.asked.baseline), 200)}", columns, rows, note)


def _fields(row: Row, unit: Unit) -> list[Cell]:
    one = row.comparison
    assert one is not None
    pairs = f"{one.n} pairs" if one.paired else f"{one.of[0]} and {one.of[1]}"
    effect = "" if one.effect is None else f"{one.effect:+.2f}"
    return [
        words(row.label),
        number(one.n, pairs),
        maybe(one.difference, _signed(one.difference, unit)),
        _between(one.interval, unit),
        maybe(one.effect, effect, one.effect_name),
        maybe(one.p, _p(one.p), one.test),
        maybe(row.p_holm, _p(row.p_holm)),
        maybe(one.smallest_p, _p(one.smallest_p)),
        maybe(row.needed, "" if row.needed is None else forms.digits(row.needed)),
        Cell(", ".join(row.unequal), ", ".join(row.unequal) or None, tone="warn" if row.unequal else ""),
    ]


def _between(interval: Interval | None, unit: Unit) -> Cell:
    if interval is None:
        return words("")
    low, high = (_signed(one, unit) for one in (interval.low, interval.high))
    return number(interval.low, f"{low} to {high}")


def _signed(value: float | None, unit: Unit) -> str:
    return "" if value is None else f"{value * unit.factor:+.{unit.decimals}f}"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"
