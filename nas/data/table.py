"""A table of image files and their classes (CSV), read as the listing that a folder of classes gives."""

import csv
import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from nas.data.listing import Listing, check_name
from nas.errors import ConfigError, require
from nas.printable import listed, shown
from nas.reading.files import MEBIBYTE, read_text

# What columns are called, first come first served, in small or capital letters.
HEADERS = {
    "file": ("file", "path", "filename", "file_name", "filepath", "file_path", "image", "image_path", "name"),
    "label": ("label", "class", "category", "target", "class_name", "y"),
    "part": ("part", "split", "subset", "set"),
}
TRAIN, TESTS = "train", ("test", "val", "valid", "validation")
DELIMITERS = (",", ";", "\t")
LONGEST = 1024 * MEBIBYTE


@dataclass(frozen=True)
class Row:
    """A line of the table: its number in the file from 1, path, label, and part (small letters) or None."""

    line: int
    path: str
    label: str
    part: str | None


def read_table(file: Path, root: Path, columns: dict[str, str | None]) -> dict[str | None, Listing]:
    """The files of each part that a table names; all below None where it names no parts.

    Args:
        file: of UTF-8 text with a header, divided by commas, semicolons or tabs.
        root: folder that relative paths start from.
        columns: headers of `file`, `label` and `part`; None to find one by its usual names.

    Returns:
        Listings with the same classes: the different labels of all parts, sorted (as numbers where all are).

    Raises:
        ConfigError: it cannot be read, lacks a column, a row lacks a value, a part is unknown, or files are
            missing, named twice or have names that no list can hold.
    """
    where = f"dataset.file={file}"
    rows = _rows(read_text(file, where, LONGEST), root, columns, where)
    _check_parts(rows, where)
    _check_files(rows, root, where)
    classes = _sorted({row.label for row in rows})
    places = {name: i for i, name in enumerate(classes)}
    parts: dict[str | None, list[Row]] = {}
    for row in rows:
        parts.setdefault(row.part, []).append(row)
    found: dict[str | None, Listing] = {}
    for part, some in parts.items():
        some.sort(key=lambda row: (places[row.label], row.path))
        labels_N = torch.tensor([places[row.label] for row in some], dtype=torch.int64)
        found[part] = Listing(root, classes, tuple(row.path for row in some), labels_N)
    return found


def read_lines(text: str, where: str, delimiter: str | None = None) -> list[tuple[int, list[str]]]:
    """The lines of a table that are not empty: (number in the file from 1, cells), the header first.

    Args:
        text: of the table.
        where: what messages begin with.
        delimiter: between cells; None for the one of `DELIMITERS` that the header has most of.

    Raises:
        ConfigError: a line cannot be read.
    """
    text = text.removeprefix("\ufeff")
    if delimiter is None:
        header = next((line for line in text.split("\n", 99) if line.strip()), "")
        delimiter = max(DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise ConfigError(f"{where}: line {reader.line_num}: no CSV ({error})") from error


def _rows(text: str, root: Path, columns: dict[str, str | None], where: str) -> list[Row]:
    lines = read_lines(text, where)
    require(len(lines) > 1, f"{where}: holds no row below a header such as file,label")
    places = _places([cell.strip() for cell in lines[0][1]], columns, where)
    rows, short = [], []
    for number, cells in lines[1:]:
        values = {
            name: cells[i].strip() if i < len(cells) else "" for name, i in places.items() if i is not None
        }
        if not all(values.values()):
            short.append(number)
            continue
        path = os.path.normpath(os.path.join(root, os.path.expanduser(values["file"])))
        part = values["part"].lower() if "part" in values else None
        rows.append(Row(number, path, values["label"], part))
    require(
        not short, f"{where}: {_counted(short, 'row')} without a file, label or part: line {listed(short)}"
    )
    return rows


def _places(header: list[str], columns: dict[str, str | None], where: str) -> dict[str, int | None]:
    """Which column is which; None for parts where there are none."""
    small = [name.lower() for name in header]
    places: dict[str, int | None] = {}
    for what, usual in HEADERS.items():
        key, given = f"dataset.source.{what}_column", columns.get(what)
        if given is not None:
            require(
                given in header, f"{key}={given}: {where} has no such column; it has {listed(header, 20)}"
            )
            places[what] = header.index(given)
            continue
        places[what] = next((small.index(name) for name in usual if name in small), None)
        require(
            places[what] is not None or what == "part",
            f"{where}: no column of its header ({listed(header, 20)}) is called {' or '.join(usual[:4])}; "
            f"name the one of the {what}s by {key}",
        )
    return places


def _check_parts(rows: Sequence[Row], where: str) -> None:
    unknown = Counter(row.part for row in rows if row.part not in (None, TRAIN, *TESTS))
    require(
        not unknown,
        f"{where}: {_counted(list(unknown.elements()), 'row')} of unknown parts "
        f"({listed([shown(name) for name in unknown])}); parts are {TRAIN}, {', '.join(TESTS)}",
    )
    require(
        any(row.part in (None, TRAIN) for row in rows),
        f"{where}: no row is of the part {TRAIN}; dataset.source.part_column names the column of the parts",
    )


def _check_files(rows: Sequence[Row], root: Path, where: str) -> None:
    times = Counter(row.path for row in rows)
    twice = [path for path, count in times.items() if count > 1]
    require(
        not twice,
        f"{where}: {_counted(twice, 'file')} named more than once ({listed(twice, 3)}); one picture has one "
        "label and one part",
    )
    missing = [row for row in rows if not os.path.isfile(row.path)]
    require(
        not missing,
        f"{where}: {len(missing)} of {len(rows)} files are missing "
        f"({listed([f'line {row.line}: {row.path}' for row in missing], 3)}); relative paths start from "
        f"{root}, dataset.root names another folder",
    )
    for row in rows:
        check_name(row.path, root)


def _sorted(labels: set[str]) -> tuple[str, ...]:
    if all(label.isascii() and label.isdigit() for label in labels):
        # Of whole numbers the longer is the larger; int() reads no very long ones.
        digits = {label: label.lstrip("0") for label in labels}
        return tuple(sorted(labels, key=lambda label: (len(digits[label]), digits[label], label)))
    return tuple(sorted(labels))


def _counted(some: Sequence[object], word: str) -> str:
    return f"{len(some)} {word}{'' if len(some) == 1 else 's'}"
