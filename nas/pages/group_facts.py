"""Tables and facts of several runs: what they cost, what they were made with, and each of them."""

from collections.abc import Mapping, Sequence

from nas.analysis import sweeps
from nas.analysis.sweeps import Unit
from nas.pages import forms
from nas.pages.blocks import Cell, Column, Fact, Facts, Note, Table, maybe, number, words
from nas.pages.members import Member, heading, timed
from nas.printable import listed, shown

# Rows of a table; values that are named of each kind; seeds below which nothing can be shown.
ROWS, MOST, FEW = 1000, 6, 4
# Settings that have a column.
KEYS = 12


def cost(groups: Sequence[Sequence[Member]], labels: Sequence[str]) -> Table:
    """What the finished runs of every setting took."""
    rows = []
    for members, label in list(zip(groups, labels, strict=True))[:ROWS]:
        seconds = [member.seconds for member in members if member.seconds is not None]
        row = [words(label), number(len(members), str(len(members)))]
        total = sum(seconds) if seconds else None
        each = None if total is None else total / len(seconds)
        row += [maybe(value, timed(value)) for value in (total, each)]
        for key in ("params", "macs"):
            values = [m.summary[key] for m in members if isinstance(m.summary.get(key), int)]
            mean = sum(values) / len(values) if values else None
            row.append(maybe(mean, "" if mean is None else forms.count(mean)))
        rows.append(row)
    heads = ("setting", "runs", "time, all", "time, each", "parameters, mean", "multiply-adds, mean")
    columns = [Column(head, i > 0) for i, head in enumerate(heads)]
    return Table("Cost of the finished runs", columns, rows)


def trust(members: Sequence[Member]) -> Facts:
    """What the runs were made with, and whether all with the same."""
    facts = []
    for key, label in (
        ("git_commit", "commits"), ("device", "devices"), ("threads", "threads"), ("dataset", "data sets"),
        ("split_hash", "splits of the data"), ("recipe", "recipes"),
    ):  # fmt: skip
        given = [member.summary.get(key) for member in members]
        values = list(dict.fromkeys(forms.plain(value) for value in given if value is not None))
        if values:
            several = len(values) > 1
            told = listed(values, MOST)
            facts.append(
                Fact(label, f"{len(values)}: {told}" if several else values[0], "", "warn" if several else "")
            )
    versions = list(dict.fromkeys(told for m in members if (told := forms.told_versions(m.summary))))
    if versions:
        several = len(versions) > 1
        words = f"{len(versions)} different sets, such as {versions[0]}" if several else versions[0]
        facts.append(Fact("versions", words))
    return Facts(facts or [Fact("runs", "none of them says what it was made with")])


def few(groups: Sequence[Sequence[Member]]) -> Note | None:
    """A warning where settings have too few seeds to show a difference."""
    small = sum(len(members) < FEW for members in groups)
    if not small:
        return None
    return Note(
        f"n is below {FEW} in {small} of {len(groups)} settings: no rank test of so few seeds can show a "
        "difference, and their intervals are too narrow.",
        "warn",
    )


def table_of_runs(members: Sequence[Member], names: Sequence[str], units: Mapping[str, Unit]) -> Table:
    """Every run with its status, its settings and some figures.

    Args:
        members: the runs.
        names: of the figures.
        units: of the figures.
    """
    keys = sweeps.axes([member.run for member in members], over=())[:KEYS]
    columns = [Column("run"), Column("status"), *(Column(shown(key, 80)) for key in keys)]
    columns += [*(Column(heading(units[name]), True) for name in names), Column("time", True)]
    rows = []
    for member in members[:ROWS]:
        run = member.run
        tone = "" if run.finished else "warn"
        row = [words(shown(run.folder, 200), member.href)]
        row.append(Cell(run.status, run.status, title=shown(run.reason, 400), tone=tone))
        row += [words(shown(run.overrides.get(key, ""), 80)) for key in keys]
        for name in names:
            value, unit = run.figures.get(name), units[name]
            row.append(maybe(value, "" if value is None else f"{value * unit.factor:.{unit.decimals}f}"))
        row.append(maybe(member.seconds, timed(member.seconds)))
        rows.append(row)
    more = len(members) - len(rows)
    return Table(
        "Every run", columns, rows, f"{more:,} more are in sweep.csv." if more else "", filtered=True
    )
