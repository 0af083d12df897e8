"""`genotypes.jsonl` of a search: the genotype that each epoch stood at, one JSON object per line."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from nas.errors import ConfigError, require
from nas.files import append_text, write_text
from nas.genotype import Genotype, parse
from nas.printable import shown
from nas.reading.files import MEBIBYTE, read_text
from nas.reading.json_text import parse_json
from nas.reading.plain import is_whole

FILE = "genotypes.jsonl"


class GenotypeLog:
    """Writes one line `{"epoch": 0, "genotype": "Genotype(...)"}` per epoch, epochs counted from 0.

    Args:
        folder: the run folder.
        first_epoch: lines of this epoch and later are dropped: the run was resumed before them.

    Raises:
        ConfigError: the file that is there is damaged.
    """

    def __init__(self, folder: Path, first_epoch: int = 0):
        self.path = folder / FILE
        kept = [_line(epoch, text) for epoch, text in _entries(self.path) if epoch < first_epoch]
        write_text(self.path, "".join(kept))

    def add(self, epoch: int, genotype: Genotype) -> None:
        """Adds the genotype of an epoch."""
        append_text(self.path, _line(epoch, str(genotype)))


def genotype_of_epoch(folder: Path, epoch: int) -> Genotype:
    """The genotype that a search stood at after an epoch.

    Args:
        folder: its run folder.
        epoch: from 0, as in the tables of the folder.

    Raises:
        ConfigError: the folder records no genotypes, not this epoch's, or the file is damaged.
    """
    path = folder / FILE
    require(
        os.path.lexists(path),
        f"epoch={epoch}: {folder} holds no {FILE}, where a search records the cell of each epoch; earlier "
        "versions did not",
    )
    texts = dict(_entries(path))
    recorded = f"{min(texts)} to {max(texts)}" if texts else "none"
    require(epoch in texts, f"epoch={epoch}: {path} has epochs {recorded}, counted from 0")
    try:
        return parse(texts[epoch])
    except ConfigError as error:
        raise ConfigError(f"{path}: epoch {epoch}: {error}") from error


def _line(epoch: int, text: str) -> str:
    return json.dumps({"epoch": epoch, "genotype": text}) + "\n"


def _entries(path: Path) -> Iterator[tuple[int, str]]:
    """Epoch and text of each line; none where there is no file.

    A last line that was cut off when the process that wrote it was killed is left out.
    """
    if not os.path.lexists(path):
        return
    *lines, _ = read_text(path, at_most=64 * MEBIBYTE).split("\n")
    for number, line in enumerate(lines, start=1):
        where = f"{path}: line {number}"
        entry = parse_json(line, where)
        fits = isinstance(entry, dict) and is_whole(entry.get("epoch"))
        fits = fits and isinstance(entry.get("genotype"), str)
        require(fits, f"{where}: {shown(line)}: must have an `epoch` from 0 and a `genotype` as text")
        yield entry["epoch"], entry["genotype"]
