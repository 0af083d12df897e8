"""A folder whose files may be a stranger's: each is read once, up to a size, or it is said why not."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from nas.analysis.confusion import FILE, Confusion, read_confusion
from nas.analysis.summaries import check_summary
from nas.errors import ConfigError, require
from nas.genotype import Genotype, from_dict
from nas.reading.csv_text import parse_csv
from nas.reading.files import MEBIBYTE, read_text
from nas.reading.json_text import read_object
from nas.reading.plain import is_number
from nas.reading.yaml_text import read_mapping

# Bytes of a table that is read for a page; the op weights of the largest search here take a tenth.
LONGEST = 64 * MEBIBYTE
Read = TypeVar("Read")


class Folder:
    """Reads the files of a run.

    Args:
        path: of the folder.

    Attributes:
        problems: name of a file -> why it was not read; a file that is not there is none.
    """

    def __init__(self, path: Path):
        self.path = path
        self.problems: dict[str, str] = {}

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return (self.path / name).exists()

    def _read(self, name: str, read: Callable[[Path], Read], instead: Read) -> Read:
        if not self.has(name):
            return instead
        try:
            self.keep_within(name)
            return read(self.path / name)
        except ConfigError as error:
            self.problems[name] = _without_place(str(error), self.path)
            return instead

    def keep_within(self, name: str) -> None:
        """Refuses a link out of the folder: a page is passed on, and what it points at may be private here.

        Raises:
            ConfigError: it is one.
        """
        within = (self.path / name).resolve().is_relative_to(self.path.resolve())
        require(within, f"{name} is a link out of the folder, which is not followed")

    def summary(self) -> dict[str, Any]:
        """`summary.json`, its results of their kinds; empty where it cannot be read."""
        return self._read("summary.json", _summary, {})

    def config(self) -> dict[Any, Any]:
        """`config.yaml`; empty where it cannot be read."""
        return self._read("config.yaml", read_mapping, {})

    def table(self, name: str) -> list[dict[str, str]]:
        """The rows of a CSV file; a row that was cut off is left out, and all where it cannot be read."""
        return self._read(name, _rows, [])

    def object(self, name: str) -> dict[str, Any]:
        """The object of a JSON file; empty where it cannot be read."""
        return self._read(name, read_object, {})

    def lines(self, name: str) -> list[str]:
        """The lines of a text; none where it cannot be read."""
        return self._read(name, lambda path: read_text(path, at_most=LONGEST).splitlines(), [])

    def confusion(self) -> Confusion | None:
        """`confusion.csv`; None where it cannot be read."""
        return self._read(FILE, read_confusion, None)

    def genotype(self) -> Genotype | None:
        """`genotype.json`."""
        return self._read("genotype.json", lambda path: from_dict(read_object(path)), None)

    def missing(self, name: str, what: str) -> str:
        """Why there is nothing of a file: what is wrong with it, or that it is not there."""
        why = self.problems.get(name)
        return f"{what}: {why}" if why else f"{what}: there is no {name}"


def _without_place(message: str, folder: Path) -> str:
    """A message without the folder, which is the page's own."""
    return message.replace(f"{folder}/", "")


def _summary(path: Path) -> dict[str, Any]:
    summary = read_object(path)
    check_summary(summary, str(path))
    return summary


def _rows(path: Path) -> list[dict[str, str]]:
    header, rows = parse_csv(read_text(path, at_most=LONGEST), str(path))
    return [dict(zip(header, fields, strict=True)) for _, fields in rows if len(fields) == len(header)]


def numbers(rows: Sequence[Mapping[str, str]], column: str) -> list[float | None]:
    """A column as finite numbers; None for what is none."""
    return [as_number(row.get(column, "")) for row in rows]


def as_number(text: str) -> float | None:
    """A text as a finite number; None where it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if is_number(value) else None
