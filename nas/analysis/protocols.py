"""What the runs of a protocol add up to: which cells are kept, the final figures, and what all of it cost.

Nothing here reads or writes a file; `nas.commands.protocol` does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nas.analysis.metrics import metric_of
from nas.analysis.sweeps import Stat, stat, table_lines, unit
from nas.errors import ConfigError
from nas.reading.csv_text import csv_lines

# Of a phase: what its runs are called, one and several.
CALLED = {
    "search": ("search", "searches"),
    "select": ("training for the selection", "trainings for the selection"),
    "evaluate": ("final training", "final trainings"),
}
COLUMNS = ("phase", "run", "of", "seed", "setting", "status", "kept", "cpu_hours", "gpu_hours")


@dataclass(frozen=True)
class Row:
    """One run of a protocol.

    Attributes:
        phase: `search`, `select` or `evaluate`.
        run: its folder, as the table names it.
        of: the search whose cell it trains; empty for a search.
        seed: of the run.
        setting: of the grid; empty where there is none.
        status: `finished`, or what it is instead.
        hours: that it has run, all its starts together; of every GPU, or of every thread of every process.
        gpu: whether it computed on a GPU.
        figures: name -> result.
    """

    phase: str
    run: str
    of: str
    seed: int
    setting: str
    status: str
    hours: float
    gpu: bool
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def search(self) -> str:
        """The search whose cell this is about."""
        return self.of or self.run


@dataclass(frozen=True)
class Kept:
    """What a selection has kept.

    Attributes:
        runs: the searches, one of each group.
        of: how many cells each of them is the best of.
        groups: how many groups there were.
    """

    runs: tuple[str, ...]
    of: int
    groups: int


def select(rows: Sequence[Row], figure: str, among: str) -> Kept:
    """The searches whose cells were best in a short training; of equal ones the first.

    A training that has left no figure that is a number, as one whose loss is lost, comes after all others.

    Args:
        rows: of the searches and of the trainings that decide.
        figure: the column by which it is decided; its metric says which is better.
        among: `all` for one of all, `seed` for one of the searches of each seed.

    Raises:
        ConfigError: no training of a group has such a figure.
    """
    seeds = {row.run: row.seed for row in rows if row.phase == "search"}
    _, metric = metric_of(figure)
    sign = 1.0 if metric is not None and metric.higher else -1.0
    groups: dict[int, list[Row]] = {}
    for row in rows:
        if row.phase != "select":
            continue
        groups.setdefault(seeds[row.of] if among == "seed" else 0, []).append(row)
    best = []
    for group in groups.values():
        measured = [row for row in group if figure in row.figures]
        if not measured:
            known = ", ".join(group[0].figures)
            raise ConfigError(f"select.figure={figure}: {group[0].run} has none; it has {known}")
        best.append(max(measured, key=lambda row: sign * row.figures[figure]))
    return Kept(tuple(row.of for row in best), max(map(len, groups.values()), default=0), len(groups))


def cost(rows: Sequence[Row]) -> dict[str, float]:
    """Hours of processors and of GPUs of some runs: `cpu_hours`, `gpu_hours`."""
    return {
        name: round(sum(row.hours for row in rows if row.gpu == gpu), 6)
        for name, gpu in (("cpu_hours", False), ("gpu_hours", True))
    }


def final_figures(rows: Sequence[Row], phase: str) -> dict[str, Stat]:
    """Name -> mean and deviation over the finished runs of the last phase.

    Of trainings those of the test part and of the network's size, of searches those that were looked up.
    """
    last = [row for row in rows if row.phase == phase and row.status == "finished"]
    names = dict.fromkeys(name for row in last for name in row.figures)
    parts = ("test", "valid", "") if phase == "evaluate" else ("table",)
    shown = [name for name in names if metric_of(name)[0] in parts and metric_of(name)[1] is not None]
    return {name: stat([row.figures[name] for row in last if name in row.figures]) for name in shown}


def by_setting(rows: Sequence[Row], phase: str) -> list[list[str]]:
    """Of a grid without a choice, the finished runs of the last phase setting by setting, headings first.

    Empty where there is one setting: a mean over several is no figure of any of them.
    """
    settings = _settings(rows, phase)
    if len(settings) < 2:
        return []
    last = [row for own in settings.values() for row in own]
    units = {
        name: unit(name, [row.figures[name] for row in last if name in row.figures])
        for name in final_figures(rows, phase)
    }
    lines = [["setting", "n", *(shown.heading for shown in units.values())]]
    for setting, own in settings.items():
        stats = final_figures(own, phase)
        cells = [
            _spread(stats[name], shown.factor, shown.decimals) if name in stats else ""
            for name, shown in units.items()
        ]
        lines.append([setting, str(len(own)), *cells])
    return lines


def settings_summary(rows: Sequence[Row], phase: str) -> dict[str, dict[str, float | int | None]]:
    """The same for a summary: setting -> `n`, and of each figure mean and `<figure>_std`."""
    found: dict[str, dict[str, float | int | None]] = {}
    for setting, own in _settings(rows, phase).items():
        found[setting] = {"n": len(own)}
        for name, one in final_figures(own, phase).items():
            found[setting] |= {name: one.mean, f"{name}_std": one.deviation}
    return found


def _settings(rows: Sequence[Row], phase: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.phase == phase and row.status == "finished":
            found.setdefault(row.setting, []).append(row)
    return found


def cells_line(rows: Sequence[Row], figures: Mapping[str, Stat]) -> str | None:
    """How the mean differs between cells, where several were trained several times; None otherwise.

    Trainings of one cell are no further searches, so that `n` of them says too much of a method.
    """
    last = [row for row in rows if row.phase == "evaluate" and row.status == "finished"]
    cells: dict[str, list[Row]] = {}
    for row in last:
        cells.setdefault(row.of, []).append(row)
    name = next((name for name in figures if all(name in row.figures for row in last)), None)
    if name is None or not 1 < len(cells) < len(last):
        return None
    means = stat([sum(row.figures[name] for row in own) / len(own) for own in cells.values()])
    shown = unit(name, [means.mean or 0.0])
    spread = _spread(means, shown.factor, shown.decimals)
    trained = f"{len(last):,} trainings of {len(cells):,} cells"
    return f"{trained}: {shown.heading} of the cells' means {spread} (n={means.n})"


def rows_csv(rows: Sequence[Row], kept: Sequence[str]) -> str:
    """One row per run: `COLUMNS`, and every figure."""
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    lines: list[list[object]] = [[*COLUMNS, *names]]
    for row in rows:
        hours = cost([row])
        head = [row.phase, row.run, row.of, row.seed, row.setting, row.status, row.search in kept]
        lines.append([*head, *hours.values(), *(row.figures.get(name, "") for name in names)])
    return csv_lines(lines)


def counted(number: int, phase: str) -> str:
    """`4 searches`, `1 final training`."""
    return f"{number:,} {CALLED[phase][number != 1]}"


def hours_text(rows: Sequence[Row]) -> str:
    """What runs cost, in words."""
    hours, used = cost(rows), {row.gpu for row in rows}
    words = {"cpu_hours": ("CPU hours", False), "gpu_hours": ("GPU hours", True)}
    told = [f"{_number(hours[name])} {word}" for name, (word, gpu) in words.items() if gpu in used]
    return " and ".join(told)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cost_lines(rows: Sequence[Row]) -> list[str]:
    """What each phase took, and all together, one sentence each."""
    lines = []
    for phase in CALLED:
        own = [row for row in rows if row.phase == phase]
        if own:
            lines.append(f"{counted(len(own), phase)}: {hours_text(own)}")
    searched = sum(row.phase == "search" for row in rows)
    trained = len(rows) - searched
    trainings = f"{trained:,} training{'' if trained == 1 else 's'}"
    lines.append(f"in all {counted(searched, 'search')} and {trainings}: {hours_text(rows)}")
    return lines


def chosen_line(kept: Kept, figure: str, epochs: Sequence[int]) -> str:
    """How many were chosen, out of how many, and by what."""
    after = f" after {min(epochs)} epoch{'' if min(epochs) == 1 else 's'}" if epochs else ""
    each = "" if kept.groups == 1 else f" of each of {kept.groups} seeds"
    return f"kept: the best of {kept.of} cells{each} by {figure}{after}: {', '.join(kept.runs)}"


def figure_rows(figures: Mapping[str, Stat]) -> list[tuple[str, str, str]]:
    """(figure, mean ± deviation, n) in the units of reading; of an accuracy the error too."""
    lines = []
    for name, value in figures.items():
        if value.mean is None:
            continue
        shown = unit(name, [value.mean])
        lines.append((shown.heading, _spread(value, shown.factor, shown.decimals), str(value.n)))
        _, metric = metric_of(name)
        if metric is not None and metric.unit == "%" and metric.factor == 100.0 and name.startswith("test_"):
            error = Stat(1.0 - value.mean, value.deviation, value.n)
            heading = shown.heading.replace("accuracy", "error")
            lines.append((heading, _spread(error, shown.factor, shown.decimals), str(value.n)))
    return lines


def _spread(value: Stat, factor: float, decimals: int) -> str:
    text = f"{(value.mean or 0.0) * factor:.{decimals}f}"
    return text if value.deviation is None else f"{text} ± {value.deviation * factor:.{decimals}f}"


def report(
    rows: Sequence[Row],
    stats: Mapping[str, Stat],
    lines: Sequence[str],
    settings: Sequence[Sequence[str]] = (),
    front: Sequence[Sequence[str]] = (),
) -> str:
    """The result as Markdown: the figures with n, what was selected and what it cost, and every run.

    Where there are `settings` (`by_setting`) they are the figures, and where there is a `front` (accuracy
    against cost, its headings first) it comes before what it cost.
    """
    parts = []
    figures = figure_rows(stats)
    if settings:
        parts.append(_markdown(settings[0], settings[1:], 1))
    elif figures:
        parts.append(_markdown(("figure", "mean ± std", "n"), figures, 1))
    if front:
        parts.append(f"Accuracy against cost\n\n{_markdown(front[0], front[1:], 1)}")
    parts.append("\n".join(f"- {line}" for line in lines))
    for phase, (_, called) in CALLED.items():
        own = [row for row in rows if row.phase == phase]
        if own:
            parts.append(f"{called[0].upper()}{called[1:]}\n\n{_of_phase(own)}")
    return "\n\n".join(parts) + "\n"


def _of_phase(rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    units = {name: unit(name, [row.figures[name] for row in rows if name in row.figures]) for name in names}
    head = [("run", [row.run for row in rows]), ("of", [row.of for row in rows])]
    head += [("seed", [str(row.seed) for row in rows]), ("setting", [row.setting for row in rows])]
    head += [("status", [row.status for row in rows]), ("hours", [_number(row.hours) for row in rows])]
    # What is empty everywhere says nothing.
    head = [(name, cells) for name, cells in head if any(cells)]
    for name in names:
        shown = units[name]
        head.append(
            (shown.heading, [
                f"{row.figures[name] * shown.factor:.{shown.decimals}f}" if name in row.figures else ""
                for row in rows
            ])
        )  # fmt: skip
    texts = sum(name in ("run", "of", "seed", "setting", "status") for name, _ in head)
    return _markdown([name for name, _ in head], list(zip(*(cells for _, cells in head), strict=True)), texts)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> str:
    """A Markdown table whose first columns are texts; a bar in a cell splits none."""
    safe = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    return table_lines(safe, range(texts), 3)
