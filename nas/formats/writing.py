"""Writing a network in several formats, reading each back, and the table of what came out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from nas.formats.catalogue import Format, Predict, Subject, read_back
from nas.formats.comparison import compare
from nas.formats.description import UNITS

Row = dict[str, Any]


def write_all(subject: Subject, formats: Sequence[Format], folder: Path) -> list[Row]:
    """Writes every format; returns of each its name, files and size in megabytes.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    for fmt in formats:
        fmt.write(subject, folder)
    return [
        {
            "format": fmt.name,
            "files": list(fmt.files),
            "megabytes": sum((folder / name).stat().st_size for name in fmt.files) / 1e6,
        }
        for fmt in formats
    ]


def check_all(
    rows: Sequence[Row],
    subject: Subject,
    formats: Sequence[Format],
    folder: Path,
    expected_NK: Tensor,
    run: Callable[[Predict], Tensor],
) -> None:
    """Reads every file back and adds to its row how its logits compare with those of the trained network.

    Adds `images` (or `words`, `characters`), `difference` and `same_top1` as in `Comparison`; the last two
    are None where operations draw numbers and this format draws others.

    Args:
        rows: of `write_all`.
        subject: what was written.
        formats: as which.
        folder: where.
        expected_NK: logits of the trained network.
        run: what was read from a file -> its logits [N, K] of the same inputs.
    """
    draws = any(getattr(module, "draws", False) for module in subject.network.modules())
    for row, fmt in zip(rows, formats, strict=True):
        comparison = compare(expected_NK, run(read_back(fmt, folder, subject.description)))
        comparable = fmt.same_draws or not draws
        row[subject.description.unit] = comparison.compared
        row["difference"] = comparison.difference if comparable else None
        row["same_top1"] = comparison.same_top1 if comparable else None


def remove_different(
    rows: Sequence[Row], formats: Sequence[Format], folder: Path, tolerance: float
) -> list[str]:
    """Removes the files of networks that compute something else, and names them with their differences."""
    wrong = [
        (row, fmt)
        for row, fmt in zip(rows, formats, strict=True)
        # Written so that nan is wrong too.
        if row["difference"] is not None and not row["difference"] <= tolerance
    ]
    # Two formats may share a file; the other one is right.
    formats_wrong = [fmt for _, fmt in wrong]
    shared = {name for fmt in formats if fmt not in formats_wrong for name in fmt.files}
    for fmt in formats_wrong:
        for name in fmt.files:
            if name not in shared:
                (folder / name).unlink(missing_ok=True)
    return [f"{row['format']} {row['difference']:.1e}" for row, _ in wrong]


def _compared(row: Mapping) -> str:
    """How many inputs were compared, whatever they are called."""
    return str(next((row[unit] for unit in UNITS if unit in row), None))


def print_table(rows: Sequence[Mapping], title: str) -> None:
    """Prints format, file, size, and how the logits compare."""
    from rich.console import Console
    from rich.table import Table

    def told(row: Mapping, key: str, form: str) -> str:
        return "-" if row.get(key) is None else form.format(**row)

    table = Table(title=title)
    for name in ("format", "file"):
        table.add_column(name)
    for name in ("MB", "largest difference", "same top-1"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row["format"],
            " ".join(row["files"]),
            f"{row['megabytes']:.2f}",
            told(row, "difference", "{difference:.1e}"),
            told(row, "same_top1", "{same_top1}/" + _compared(row)),
        )
    Console().print(table)
    if any("difference" in row and row["difference"] is None for row in rows):
        print("-: noise operations draw other numbers there, so there is nothing to compare")
