"""The folder of a run: the files that are the truth, each written whole or not at all."""

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.errors import require
from nas.files import append_text, write_text
from nas.reading.csv_text import csv_lines, csv_table, read_rows
from nas.reading.files import MEBIBYTE
from nas.reading.json_text import read_object
from nas.reading.plain import read_key


class RunFolder:
    """Where everything of one run lies.

    Attributes:
        path: the folder.
        checkpoints: its sub-folder of checkpoints.
        figures: its sub-folder of pictures.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.figures = self.path / "figures"

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def sweep(self) -> Path | None:
        """The folder of the multirun that the run is a job of; None for a single run."""
        return next((parent for parent in self.path.parents if (parent / "multirun.yaml").is_file()), None)

    @property
    def title(self) -> str:
        """What loggers and pictures call the run: its folder's name, of a job the multirun's before it."""
        return self.path.name if self.sweep is None else str(self.path.relative_to(self.sweep.parent))

    def kept(self, again: str | None, trains: bool = True) -> str:
        """What a run that broke down leaves, in words.

        Args:
            again: the command that continues it; None where it has to be started anew.
            trains: whether it has checkpoints of its own; else what has finished of it is in folders below.
        """
        try:
            files = sorted(p.name for p in self.path.iterdir() if p.is_file() and p.name[0] != ".")
            checkpoints = sorted(p.name for p in self.checkpoints.glob("*.ckpt"))
        except OSError:
            files, checkpoints = [], []
        if not files and not checkpoints:
            return f"nothing is kept: {self.path} has gone, or is empty; start the run anew"
        newest = [f"checkpoints/{name}" for name in checkpoints[-1:]]
        held = f"{self.path} keeps {', '.join([*newest, *files])}"
        if again is None or "config.yaml" not in files:
            return f"{held}; start the run anew"
        if not trains:
            return f"what has finished is kept in {self.path}; continue with: {again}"
        if not newest:
            return f"it broke down before the first checkpoint; {held}; start it once more with: {again}"
        return f"the last good checkpoint is kept; {held}; continue with: {again}"

    def write_json(self, name: str, data: Mapping) -> None:
        """Writes `data` as JSON; numbers that JSON does not know become null."""
        write_text(self.path / name, json.dumps(_plain(data), indent=1) + "\n")

    def read_json(self, name: str) -> dict:
        """Reads what `write_json` wrote; an empty dict where there is nothing.

        Raises:
            ConfigError: the file is damaged, no regular file, or holds something else than a JSON object.
        """
        path = self.path / name
        # A split of ImageNet has 15 MB.
        return read_object(path, at_most=256 * MEBIBYTE) if os.path.lexists(path) else {}


class Table:
    """A CSV file with one or more rows per epoch, cut back to the checkpoint's epoch when a run is resumed.

    Small tables are written whole after each addition; with `append=True` rows are added at the end instead,
    and a row that was cut off is dropped on the next start.
    """

    def __init__(self, path: Path, columns: Sequence[str], first_epoch: int = 0, append: bool = False):
        self.path = path
        self.append = append
        self.columns = list(columns)
        self.rows = [row for row in read_table(path) if int(row["epoch"]) < first_epoch]
        for row in self.rows:
            self._learn(row)
        self._write_all()
        if append:
            self.rows = []

    def add(self, rows: Sequence[Mapping]) -> None:
        """Adds rows, each with an `epoch`."""
        for row in rows:
            self._learn(row)
        if self.append:
            append_text(self.path, csv_lines([row.get(name) for name in self.columns] for row in rows))
        else:
            self.rows += [dict(row) for row in rows]
            self._write_all()

    def _learn(self, row: Mapping) -> None:
        new = [name for name in row if name not in self.columns]
        require(not (new and self.append), f"{self.path.name}: unknown columns {new}")
        self.columns += new

    def _write_all(self) -> None:
        write_text(self.path, csv_table(self.columns, self.rows))


def split_hash(folder: RunFolder, default: str, key: str = "hash") -> str:
    """A hash in a folder's `split.json`: which data its run was started on; `default` where there is none.

    Raises:
        ConfigError: the file is damaged.
    """
    return read_key(
        folder.read_json("split.json"),
        key,
        lambda value: isinstance(value, str),
        "a hash as text",
        str(folder / "split.json"),
        default,
    )


def read_table(path: Path) -> list[dict[str, str]]:
    """The complete rows of a CSV file; none if it does not exist.

    Raises:
        ConfigError: it is damaged, or no regular file.
    """
    if not os.path.lexists(path):
        return []
    return [row for row in read_rows(path) if re.fullmatch("[0-9]{1,9}", row.get("epoch", ""))]


def _plain(value):
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def check_split(folder: RunFolder, found: str, files: str | None = None) -> None:
    """Refuses a folder whose `split.json` names another hash; see `Session.check_split`.

    Raises:
        ConfigError: it does.
    """
    stored = split_hash(folder, found)
    require(
        stored == found,
        f"{folder / 'split.json'}: the run was started on another split of the data "
        f"(hash {stored[:12]}) than its config.yaml gives now ({found[:12]}); was it edited, or did the "
        "images change?",
    )
    require(
        files is None or split_hash(folder, files, "files_hash") == files,
        f"{folder / 'split.json'}: the run was started on other files than the data set holds now; "
        "put those back that were added, deleted or renamed, or begin a new run",
    )
