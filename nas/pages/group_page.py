"""The page of several runs: settings with intervals, comparisons with a baseline, curves with bands, cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas.analysis import sweeps
from nas.analysis.metrics import LOWER, metric_of
from nas.analysis.statistics import LEVEL, bootstrap
from nas.analysis.sweep_comparison import Asked, Compared, compared
from nas.analysis.sweeps import Setting, Unit
from nas.errors import require
from nas.pages import charts, forms
from nas.pages.bands import curves_of
from nas.pages.blocks import (
    Cell,
    Charts,
    Column,
    Command,
    Commands,
    Fact,
    Facts,
    Note,
    Page,
    Section,
    Table,
    number,
    words,
)
from nas.pages.comparison import against
from nas.pages.group_facts import cost, few, table_of_runs, trust
from nas.pages.members import Member, heading
from nas.printable import shown

# Rows of a table, figures in it, settings in a chart.
ROWS, FIGURES, SERIES = 1000, 6, 8
# Keys that are said to vary one by one, and that have a column; characters of what a setting is called.
AXES, LONGEST = 12, 70
# Settings of which it is said in full what is not equal.
FEW = 6


@dataclass(frozen=True)
class Group:
    """What the page of several runs is told.

    Attributes:
        name: of the folder.
        kicker: what kind of folder it is.
        members: the runs.
        over: keys that are averaged over.
        figure: what the charts show; None for the first there is.
        baseline: overrides of the row that the others are compared with; None for none.
        test: of the comparison.
        level: of the intervals.
        warnings: what could not be read.
        commands: what repeats them.
        further: sections of the kind of folder alone, after the results.
        links: (words, relative place) of pages beside it.
        made: when and by what the page is made.
        status: of what ran them; empty for a folder of runs.
    """

    name: str
    kicker: str
    members: Sequence[Member]
    over: Sequence[str]
    figure: str | None
    baseline: str | None
    warnings: Sequence[str]
    commands: Sequence[Command]
    test: str = "permutation"
    level: float = LEVEL
    further: Sequence[Section] = ()
    links: Sequence[tuple[str, str]] = ()
    made: str = ""
    status: str = ""


class GroupPage:
    """Puts the page of several runs together.

    Args:
        group: what it is of.

    Raises:
        ConfigError: no run has the figure, or no setting is the baseline.
    """

    def __init__(self, group: Group):
        self.group = group
        self.runs = [member.run for member in group.members]
        self.axes = sweeps.axes(self.runs, group.over)
        together = sweeps.grouped(self.runs, group.over)
        self.settings = [setting for setting, _ in together]
        of_run = {id(member.run): member for member in group.members}
        self.of_setting = [[of_run[id(run)] for run in runs] for _, runs in together]
        self.names = sweeps.figure_names(self.runs)
        self.main = sweeps.main_figure(self.runs, group.figure)
        self.units = sweeps.units(self.settings, self.names)
        self.labels = [self._label(place) for place in range(len(self.settings))]
        self.compared = self._compared()

    def page(self) -> Page:
        """The page."""
        finished = sum(run.finished for run in self.runs)
        sections = [
            Section("asked", "What was asked", [Facts(self._asked())]),
            Section("result", "What came out", self._result(), self._lead()),
            *self.group.further,
            Section("curves", "Curves", self._curves()),
            Section("cost", "What it cost", [cost(self.of_setting, self.labels)]),
            Section("trust", "What to trust it by", self._trust()),
            Section("runs", "The runs", [table_of_runs(self.group.members, self.names[:4], self.units)]),
            Section("repeat", "How to repeat it", [Commands(self.group.commands)]),
        ]
        seconds = [member.seconds for member in self.group.members if member.seconds is not None]
        tiles = [
            Fact("runs finished", f"{finished} of {len(self.runs)}"),
            Fact("settings", forms.digits(len(self.settings))),
            *([Fact("time, all runs", forms.duration(sum(seconds)))] if seconds else []),
            *self._best(),
        ]
        lead = f"{len(self.runs)} runs below {shown(self.group.name, 120)}"
        return Page(
            shown(self.group.name, 120), self.group.kicker, self.group.status, lead, tiles, sections,
            self.group.links, self.group.made,
        )  # fmt: skip

    def _label(self, place: int) -> str:
        """What a setting is called: its values, or where they are many the run that has them."""
        values = self.settings[place].values
        label = ", ".join(shown(value, 80) or "(none)" for value in values) or "all runs"
        first = next((member.run.folder for member in self.of_setting[place]), "")
        if len(label) <= LONGEST:
            return label
        return f"as {shown(first, LONGEST)}" if first else shown(label, LONGEST)

    def _compared(self) -> Compared | None:
        """The rows beside each other, by the main figure; None where no run has a figure."""
        group = self.group
        if self.main is None:
            require(
                group.baseline is None,
                f"baseline={group.baseline}: no finished run has a figure to compare",
            )
            return None
        return compared(self.runs, Asked(self.main, group.over, group.baseline, group.test, group.level))

    def _flags(self) -> list[Note]:
        """What is not equal between the settings, beside what was asked to differ."""
        flags = () if self.compared is None else self.compared.flags
        # Of a folder of runs that have little in common it is said in short.
        long = 2000 if len(self.settings) <= FEW else 160
        return [Note(shown(flag, long), "warn") for flag in flags]

    def _asked(self) -> list[Fact]:
        values: dict[str, list[str]] = {}
        for run in self.runs:
            for key, value in run.overrides.items():
                values.setdefault(key, []).append(value)
        facts = []
        for key in self.axes[:AXES]:
            different = list(dict.fromkeys(values[key]))
            told = ", ".join(shown(value, 80) or "(none)" for value in different[:40])
            facts.append(Fact(f"varies: {shown(key, 80)}", told + (" ..." if len(different) > 40 else "")))
        if len(self.axes) > AXES:
            more = ", ".join(shown(key, 80) for key in self.axes[AXES : 4 * AXES])
            facts.append(Fact(f"and {len(self.axes) - AXES} more vary", more))
        for key in self.group.over:
            if len(set(values.get(key, ()))) > 1:
                told = ", ".join(shown(value, 40) for value in dict.fromkeys(values[key]))
                facts.append(Fact(f"averaged over: {shown(key, 80)}", shown(told, 400)))
        same = [
            f"{shown(key, 80)}={shown(given[0], 200)}"
            for key, given in values.items()
            if len(given) == len(self.runs) and len(set(given)) == 1
        ]
        if same:
            facts.append(Fact("the same in all", " ".join(same)))
        return facts or [Fact("settings", "all runs have the command's own")]

    def _lead(self) -> str:
        over = ", ".join(self.group.over) or "nothing"
        percent = f"{100 * self.group.level:g} %"
        return f"Mean over {over} ± sample standard deviation [{percent} bootstrap interval of the mean]."

    def _best(self) -> list[Fact]:
        """The setting with the best mean of the main figure."""
        if self.main is None:
            return []
        _, metric = metric_of(self.main)
        stats = [(s.stat(self.main), label) for s, label in zip(self.settings, self.labels, strict=True)]
        known = [(mean.mean, mean.n, label) for mean, label in stats if mean.mean is not None]
        if not known or metric is None or metric.higher is None or len(known) < 2:
            return []
        mean, n, label = max(known, key=lambda item: item[0] if metric.higher else -item[0])
        note = f"{forms.result(self.main, mean)}, n = {n}"
        return [Fact(f"best mean {forms.title(self.main)}", label, note)]

    def _result(self) -> list[Any]:
        left = [run for run in self.runs if not run.finished]
        blocks: list[Any] = []
        if left:
            blocks.append(
                Note(f"{len(left)} of {len(self.runs)} runs did not finish and count nowhere here.", "warn")
            )
        blocks += self._flags()
        if not self.names:
            blocks.append(Note("No finished run has a result."))
            return blocks
        blocks.append(self._table())
        if self.main is not None:
            blocks.append(self._dots(self.main))
            if self.compared is not None and any(row.comparison for row in self.compared.rows):
                blocks.append(against(self.compared, self.units[self.main]))
        return blocks

    def _table(self) -> Table:
        names = self.names[:FIGURES]
        axes = self.axes[:AXES]
        columns = [Column(shown(key, 80)) for key in axes] or [Column("runs")]
        columns += [Column("n", True), *(Column(heading(self.units[name]), True) for name in names)]
        rows = []
        for setting, label in list(zip(self.settings, self.labels, strict=True))[:ROWS]:
            row = [words(shown(value, 80)) for value in setting.values[: len(axes)]] or [words(label)]
            row.append(
                number(
                    setting.n, f"{setting.n}" + (f" of {setting.runs}" if setting.runs > setting.n else "")
                )
            )
            row += [_spread(setting, name, self.units[name], self.group.level) for name in names]
            rows.append(row)
        more = len(self.names) - len(names)
        note = f"{more} more figures are in table.csv." if more > 0 else ""
        return Table("Settings", columns, rows, note, filtered=len(rows) > 12)

    def _dots(self, name: str) -> charts.Chart:
        unit = self.units[name]
        values, spans = {}, {}
        for members, label in list(zip(self.of_setting, self.labels, strict=True))[:40]:
            points = [
                (member.run.figures[name] * unit.factor, f"{member.run.folder} (seed {member.seed})")
                for member in members
                if name in member.run.figures
            ]
            if not points:
                continue
            values[label] = points
            numbers = [value for value, _ in points]
            mean = math.fsum(numbers) / len(numbers)
            interval = bootstrap(numbers, self.group.level)
            spans[label] = (mean, interval.low, interval.high) if interval else (mean, mean, mean)
        title = f"{heading(unit)}: every run, the mean, and its {100 * self.group.level:g} % interval"
        return charts.dots(title, values, spans, heading(unit) + _direction(name))

    def _curves(self) -> list[Any]:
        kept = list(zip(self.labels, self.of_setting, strict=True))
        curves = curves_of(kept[:SERIES], self.main, self.group.level)
        if not curves:
            return [Note("No curves: the runs have no metrics.csv with more than one epoch.")]
        percent = f"{100 * self.group.level:g} %"
        words = (
            f"The mean over runs and its {percent} interval; a run's time is spread evenly over its epochs."
        )
        if len(kept) > SERIES:
            words += f" Shown are the first {SERIES} of {len(kept)} settings."
        return [Note(words), Charts(curves)]

    def _trust(self) -> list[Any]:
        blocks = [trust(self.group.members), few(self.of_setting)]
        warnings = [Note(shown(warning, 1000), "warn") for warning in self.group.warnings]
        return [*(block for block in blocks if block is not None), *warnings]


def _direction(name: str) -> str:
    _, metric = metric_of(name)
    return f" ({LOWER})" if metric is not None and metric.axis == LOWER else ""


def _spread(setting: Setting, name: str, unit: Unit, level: float) -> Cell:
    """`mean ± deviation [low, high]`, and all values where a pointer rests."""
    figure, values = setting.stat(name), setting.figures.get(name, ())
    if figure.mean is None:
        return words("")
    text = f"{figure.mean * unit.factor:.{unit.decimals}f}"
    if figure.deviation is not None:
        text += f" ± {figure.deviation * unit.factor:.{unit.decimals}f}"
    interval = bootstrap([value * unit.factor for value in values], level)
    if interval is not None:
        text += f" [{interval.low:.{unit.decimals}f}, {interval.high:.{unit.decimals}f}]"
    if figure.n != setting.n:
        text += f" ({figure.n})"
    every = ", ".join(f"{value * unit.factor:.{unit.decimals}f}" for value in values[:50])
    return number(figure.mean, text, f"n = {figure.n}: {every}")
