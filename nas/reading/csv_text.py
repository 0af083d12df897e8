"""CSV with a header, read and written. Standard library only."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from nas.errors import ConfigError, require
from nas.printable import shown
from nas.reading.files import MEBIBYTE, read_text


def csv_lines(rows: Iterable[Sequence[object]]) -> str:
    """Rows of fields as CSV, one a line; None is a blank field."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def csv_table(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """A header and rows as CSV, one a line; what a row lacks is blank, and None too."""
    return csv_lines([columns, *([row.get(name) for name in columns] for row in rows)])


def parse_csv(text: str, where: str, widest: int = 999) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and (number of its last line, fields) of every other row that is not empty.

    Args:
        text: the CSV.
        where: what a message begins with.
        widest: columns that it may have.

    Raises:
        ConfigError: it has NUL characters, a field beyond the length that is read, or a column twice.
    """
    header, rows = iterate_csv(text, where, widest)
    return header, list(rows)


def iterate_csv(
    text: str, where: str, widest: int = 999
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The same row by row, so that a large table is never held as texts; a row that is damaged raises there.

    Args:
        text: as for `parse_csv`.
        where: likewise.
        widest: likewise.
    """
    require("\0" not in text, f"{where}: damaged (it holds NUL characters)")
    reader = csv.reader(io.StringIO(text, newline=""))

    def lines() -> Iterator[tuple[int, list[str]]]:
        try:
            for fields in reader:
                yield reader.line_num, fields
        except csv.Error as error:
            raise ConfigError(f"{where}: damaged (line {reader.line_num}: {error})") from error

    every = lines()
    _, header = next(every, (0, []))
    twice = sorted({name for name in header if header.count(name) > 1}) if len(header) <= widest else ["..."]
    require(
        not twice,
        f"{where}: damaged (columns must be named each once, at most {widest}: {shown(', '.join(twice))})",
    )
    return header, (one for one in every if one[1])


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """The rows of a regular file by the names of its columns, without those of another length.

    A row that is too short was cut off when the process that wrote it was killed.

    Raises:
        ConfigError: as for `read_text` and `parse_csv`.
    """
    header, rows = parse_csv(read_text(path, at_most=256 * MEBIBYTE), str(path))
    return [dict(zip(header, fields, strict=True)) for _, fields in rows if len(fields) == len(header)]
