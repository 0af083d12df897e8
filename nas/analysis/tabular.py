"""Tabular benchmarks: what an architecture of NAS-Bench-201 reaches when it is trained, looked up.

NAS-Bench-201 (Dong and Yang 2020) trained all 15,625 cells of its space on three data sets. Its figures come
from a CSV file or from the official NATS-Bench files (Dong et al. 2021). Accuracies are in percent, as in the
benchmark. No torch in here.
"""

import bisect
import csv
import gzip
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nas.errors import ConfigError, require

log = logging.getLogger(__name__)

FAMILY = "nasbench201"
SIZE = 15_625
# Which column judges a search on a data set.
METRICS = {"cifar10": "cifar10_test", "cifar100": "cifar100_test", "imagenet16_120": "in16_test"}
_OPERATION = "(?:none|skip_connect|nor_conv_1x1|nor_conv_3x3|avg_pool_3x3)"
_ARCHITECTURE = re.compile(
    r"\+".join(r"\|" + "".join(rf"{_OPERATION}~{source}\|" for source in range(node)) for node in (1, 2, 3))
)


def is_accuracy(column: str) -> bool:
    """Whether a column holds accuracies: its name ends in `_test` or `_val`."""
    return column.endswith(("_test", "_val"))


def fraction(percent: float | None) -> float | None:
    """An accuracy as the tables of a run folder hold it, without the noise of a division."""
    return None if percent is None else round(percent / 100, 9)


class BenchmarkTable:
    """The figures of every architecture.

    Args:
        figures: architecture string -> column -> figure; accuracies in percent. A column may lack an
            architecture.
        source: where they come from, as the user wrote it; error messages begin with it.

    Raises:
        ConfigError: a string is no NAS-Bench-201 architecture, no column holds accuracies, or an accuracy is
            not a percentage.
    """

    def __init__(self, figures: Mapping[str, Mapping[str, float]], source: str):
        self.source = source
        self._figures = {arch: dict(row) for arch, row in figures.items()}
        self._sorted: dict[str, list[float]] = {}
        for arch, row in self._figures.items():
            require(
                _ARCHITECTURE.fullmatch(arch) is not None,
                f"{source}: {arch[:100]!r} is not a NAS-Bench-201 architecture "
                "(|op~0|+|op~0|op~1|+|op~0|op~1|op~2|)",
            )
            for column, value in row.items():
                if is_accuracy(column):
                    self._sorted.setdefault(column, []).append(value)
        require(
            len(self._sorted) > 0, f"{source}: no column of accuracies (a name that ends in _test or _val)"
        )
        for column, values in self._sorted.items():
            values.sort()
            require(
                values[0] >= 0 and 1 < values[-1] <= 100,
                f"{source}: column {column!r} runs from {values[0]} to {values[-1]}; accuracies must be in "
                "percent",
            )
        if len(self) < SIZE:
            log.warning(
                "%s: holds %s of %s architectures; ranks and gaps are among these only",
                source,
                f"{len(self):,}",
                f"{SIZE:,}",
            )

    def __len__(self) -> int:
        return len(self._figures)

    def __contains__(self, arch: str) -> bool:
        return arch in self._figures

    @property
    def accuracies(self) -> tuple[str, ...]:
        """The columns of accuracies that are not empty, by name."""
        return tuple(sorted(self._sorted))

    def lookup(self, arch: str) -> dict[str, float]:
        """All figures of an architecture, without those that its row leaves blank.

        Raises:
            ConfigError: the table does not hold this architecture.
        """
        require(arch in self, f"{self.source}: holds no architecture {arch[:100]!r}")
        return dict(self._figures[arch])

    def count(self, metric: str) -> int:
        """How many architectures have this accuracy."""
        return len(self._column(metric))

    def best(self, metric: str) -> float:
        """The highest accuracy of all, in percent."""
        return self._column(metric)[-1]

    def rank(self, arch: str, metric: str) -> int | None:
        """1 + the number of architectures that are strictly better, so that equals share the better rank.

        None where the table leaves this architecture's accuracy blank.
        """
        value = self.lookup(arch).get(metric)
        column = self._column(metric)
        return None if value is None else len(column) - bisect.bisect_right(column, value) + 1

    def gap(self, arch: str, metric: str) -> float | None:
        """How far it stays below the best, in percentage points; None where its accuracy is blank."""
        value = self.lookup(arch).get(metric)
        return None if value is None else self.best(metric) - value

    def _column(self, metric: str) -> list[float]:
        require(
            metric in self._sorted,
            f"{self.source}: no accuracies in a column {metric!r}; it has {', '.join(self.accuracies)} "
            "(see tabular.metric)",
        )
        return self._sorted[metric]


@dataclass(frozen=True)
class Tabular:
    """A table as a run reads it.

    Attributes:
        table: the figures.
        metric: the column that judges this run; None where none fits its data set.
    """

    table: BenchmarkTable
    metric: str | None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of `metrics.csv` that `row` fills."""
        if self.metric is not None:
            return ("table_accuracy", "table_rank")
        return tuple(f"table_{name}_accuracy" for name in self._tests())

    def _tests(self) -> tuple[str, ...]:
        return tuple(name for name in self.table.accuracies if name.endswith("_test"))

    def accuracy(self, arch: str) -> float | None:
        """The judging accuracy, in percent; None if the table does not have it."""
        return self.table.lookup(arch).get(self.metric) if arch in self.table else None

    def row(self, arch: str) -> dict[str, float | int | None]:
        """An architecture as columns of `metrics.csv`: accuracies are fractions there, None where unknown."""
        figures = self.table.lookup(arch) if arch in self.table else {}
        wanted = (self.metric,) if self.metric is not None else self._tests()
        values = [fraction(figures.get(name)) for name in wanted]
        if self.metric is not None:
            values.append(self.table.rank(arch, self.metric) if arch in self.table else None)
        return dict(zip(self.columns, values, strict=True))

    def report(self, arch: str) -> dict[str, float | int | str | None]:
        """What `summary.json` holds as `table`: the figures as looked up, and where they stand.

        `metric`, `rank`, `of`, `gap` and `best` are None where no metric fits or the table has no figure.
        """
        known = arch in self.table
        standing = dict.fromkeys(("rank", "of", "gap", "best"))
        if self.metric is not None:
            standing |= {"of": self.table.count(self.metric), "best": self.table.best(self.metric)}
            if known and self.accuracy(arch) is not None:
                gap = self.table.gap(arch, self.metric)
                standing |= {"rank": self.table.rank(arch, self.metric), "gap": round(gap, 6)}
        return {**(self.table.lookup(arch) if known else {}), "metric": self.metric, **standing}

    def words(self, arch: str) -> str:
        """The same in one line for a person."""
        found = self.report(arch)
        others = [
            f"{name} {found[name]:.2f}" for name in self._tests() if name in found and name != self.metric
        ]
        if found["rank"] is None:
            known = ", ".join(others)
            return known or "this architecture is not in it"
        line = (
            f"{self.metric} {found[self.metric]:.2f}, rank {found['rank']:,} of {found['of']:,}, "
            f"{found['gap']:.2f} below the best ({found['best']:.2f})"
        )
        return f"{line}; {', '.join(others)}" if others else line


def open_tabular(settings: Mapping, family: str, dataset: str) -> Tabular | None:
    """The table that the group `tabular` asks for; None if it asks for none.

    Args:
        settings: keys `name`, `file`, `metric`; of `natsbench` also `epochs` and `cache`.
        family: the space's family; only `nasbench201` has tables.
        dataset: the data set that is searched on; decides what `metric: auto` means.

    Raises:
        ConfigError: the space is not tabular, the table cannot be read, or it lacks the metric.
    """
    name, file, metric = settings["name"], settings["file"], settings["metric"]
    require(
        name in ("none", "csv", "natsbench"),
        f"tabular.name={name}: unknown; known are none, csv, natsbench",
    )
    if name == "none" and file is None:
        return None
    given = f"tabular={name}" if file is None else f"tabular.file={file}"
    require(
        family == FAMILY,
        f"{given}: a table has nothing to say about this space (it makes architectures of {family!r}); "
        f"use space={FAMILY}, or tabular=none without a tabular.file",
    )
    require(
        file is not None,
        f"tabular={name}: tabular.file must say where the table is "
        + ("(a .csv or .csv.gz file)" if name == "csv" else "(the folder NATS-tss-v1_0-3ffb9-simple)"),
    )
    if name == "natsbench":
        from nas.analysis.natsbench import read_natsbench

        table = read_natsbench(file, settings["epochs"], settings["cache"])
    else:
        table = read_csv(file)
    if metric == "auto":
        metric = METRICS.get(dataset)
    if metric is not None:
        table.count(metric)  # refuses a column that is not there
    return Tabular(table, metric)


def read_csv(file: str | Path) -> BenchmarkTable:
    """Reads a table with a header `arch,<figure>,...` and one architecture a line; figures may be blank.

    Args:
        file: a CSV file, or the same compressed (`.gz`).

    Raises:
        ConfigError: there is no such file, or it is not such a table; says in which line.
    """
    source = f"tabular.file={file}"
    path = Path(file).expanduser()
    require(path.is_file(), f"{source}: there is no such file")
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as lines:
            return BenchmarkTable(_figures(csv.reader(lines), source), source)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{source}: not a readable CSV file ({error})") from error


def _figures(reader, source: str) -> dict[str, dict[str, float]]:
    header = next(reader, [])
    require(
        "arch" in header and len(set(header)) == len(header),
        f"{source}: the first line must name the columns, each once, among them 'arch'; found {header[:10]}",
    )
    figures: dict[str, dict[str, float]] = {}
    for fields in reader:
        if not fields:
            continue
        where = f"{source}: line {reader.line_num}"
        require(len(fields) == len(header), f"{where} has {len(fields)} fields for {len(header)} columns")
        row = dict(zip(header, fields, strict=True))
        arch = row.pop("arch").strip()
        require(arch not in figures, f"{where} repeats the architecture {arch[:100]!r}")
        figures[arch] = {name: _number(text, name, where) for name, text in row.items() if text.strip() != ""}
    require(len(figures) > 0, f"{source}: holds no architecture")
    return figures


def _number(text: str, column: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    require(math.isfinite(value), f"{where}: column {column!r} holds {text[:40]!r}, which is not a number")
    return value
