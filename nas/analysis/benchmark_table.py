"""The figures of a tabular benchmark: every architecture's accuracies and costs, ranks and the best.

Accuracies are in percent, as in NAS-Bench-201 (Dong and Yang 2020). No torch in here.
"""

import bisect
import logging
import math
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from nas.errors import require
from nas.printable import shown
from nas.reading.csv_text import iterate_csv
from nas.reading.files import MEBIBYTE, decode, decompress, read_bytes

log = logging.getLogger(__name__)

SIZE = 15_625
# Bytes, unpacked too; all of NAS-Bench-201 takes 2 MB.
LONGEST = 256 * MEBIBYTE
_OPERATION = "(?:none|skip_connect|nor_conv_1x1|nor_conv_3x3|avg_pool_3x3)"
_ARCHITECTURE = re.compile(
    r"\+".join(r"\|" + "".join(rf"{_OPERATION}~{source}\|" for source in range(node)) for node in (1, 2, 3))
)


def check_architecture(arch: str, source: str) -> None:
    """Raises `ConfigError` where a text is no architecture of NAS-Bench-201."""
    require(
        _ARCHITECTURE.fullmatch(arch) is not None,
        f"{source}: {arch[:100]!r} is not a NAS-Bench-201 architecture (|op~0|+|op~0|op~1|+|op~0|op~1|op~2|)",
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
            check_architecture(arch, source)
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
    def archs(self) -> tuple[str, ...]:
        """The architectures, in the order of the table."""
        return tuple(self._figures)

    @property
    def accuracies(self) -> tuple[str, ...]:
        """The columns of accuracies that are not empty, by name."""
        return tuple(sorted(self._sorted))

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are not empty, by name."""
        return tuple(sorted({name for row in self._figures.values() for name in row}))

    def column(self, name: str, archs: Sequence[str]) -> list[float | None]:
        """A figure of each of these architectures; None where the table does not have it."""
        return [self._figures.get(arch, {}).get(name) for arch in archs]

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


def read_csv(file: str | Path, key: str = "tabular.file") -> BenchmarkTable:
    """Reads a table with a header `arch,<figure>,...` and one architecture per line; figures may be blank.

    Args:
        file: a CSV file, or the same compressed (`.gz`).
        key: what names it, for messages.

    Raises:
        ConfigError: there is no such file, or it is not such a table; says in which line.
    """
    source = f"{key}={file}"
    return BenchmarkTable(read_figures(file, source), source)


def read_figures(file: str | Path, source: str) -> dict[str, dict[str, float]]:
    """The figures of a table, architecture -> column -> figure, without those that are blank.

    Args:
        file: as for `read_csv`.
        source: what a message begins with.

    Raises:
        ConfigError: there is no such file, or it is not such a table; says in which line.
    """
    return {
        arch: {name: _number(text, name, where) for name, text in row.items() if text.strip() != ""}
        for arch, row, where in _rows(_text(file, source), source)
    }


def read_columns(file: str | Path, source: str) -> tuple[dict[str, int], dict[str, np.ndarray]]:
    """The same as numbers side by side, which take a tenth of the memory.

    Args:
        file: as for `read_csv`.
        source: what a message begins with.

    Returns:
        The place of each architecture, and of each column its figures [N], nan of what is blank and inf of
        any figure that is not finite. A column that is blank throughout is left out.

    Raises:
        ConfigError: there is no such file, or it is not such a table; says in which line.
    """
    places: dict[str, int] = {}
    columns: dict[str, array] = {}
    for place, (arch, row, where) in enumerate(_rows(_text(file, source), source)):
        places[arch] = place
        for name, text in row.items():
            blank = text.strip() == ""
            value = math.nan if blank else _number(text, name, where, finite=False)
            columns.setdefault(name, array("d")).append(value if blank or math.isfinite(value) else math.inf)
    figures = {name: np.array(values) for name, values in columns.items()}
    return places, {name: figures_N for name, figures_N in figures.items() if not np.isnan(figures_N).all()}


def _text(file: str | Path, source: str) -> str:
    path = Path(file).expanduser()
    where = f"{source}: not a readable CSV file"
    content = read_bytes(path, source, LONGEST)
    if path.suffix == ".gz":
        content = decompress(content, where, LONGEST)
    return decode(content, where)


def _rows(text: str, source: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Each architecture once, the texts of its other columns, and where they stand."""
    # Spreadsheets put a byte-order mark before the first name, and people a blank behind a comma.
    header, rows = iterate_csv(text.removeprefix("\ufeff"), f"{source}: not a readable CSV file")
    header = [name.strip() for name in header]
    twice = sorted({shown(name, 40) for name in header if header.count(name) > 1})
    require(
        not twice, f"{source}: not a readable CSV file: columns must be named each once: {', '.join(twice)}"
    )
    require(
        "arch" in header,
        f"{source}: the first line must name the columns, each once, among them 'arch'; found "
        f"{shown(header[:10])}",
    )
    known: set[str] = set()
    for line, fields in rows:
        where = f"{source}: line {line}"
        require(len(fields) == len(header), f"{where} has {len(fields)} fields for {len(header)} columns")
        row = dict(zip(header, fields, strict=True))
        arch = row.pop("arch").strip()
        require(arch not in known, f"{where} repeats the architecture {arch[:100]!r}")
        known.add(arch)
        yield arch, row, where
    require(len(known) > 0, f"{source}: holds no architecture")


def _number(text: str, column: str, where: str, finite: bool = True) -> float:
    try:
        value = float(text)
    except ValueError:
        value = None
    good = value is not None and (math.isfinite(value) or not finite)
    require(good, f"{where}: column {column!r} holds {text[:40]!r}, which is not a number")
    assert value is not None
    return value
