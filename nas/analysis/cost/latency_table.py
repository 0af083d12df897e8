"""A table of what pieces of networks take on one device, and the latency that it predicts of a network."""

import json
import os
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nas.analysis.cost.latency import Latency
from nas.errors import ConfigError, require
from nas.genotype import Genotype
from nas.printable import shown
from nas.reading.files import MEBIBYTE, read_text
from nas.reading.json_text import parse_json
from nas.reading.plain import is_number, is_time, is_whole
from nas.spaces.pieces import Piece, Pieces

SCHEMA = 1
FILE = "latency.json"


@dataclass(frozen=True)
class Conditions:
    """What a time depends on beside the network; times taken under others are not compared.

    Attributes:
        device: name of the processor or GPU.
        threads: that torch computes with.
        batch_size: images of the batch.
        precision: as Lightning names it.
        channels_last: memory format of the images.
        clock: one of `nas.analysis.cost.latency.CLOCKS`.
    """

    device: str
    threads: int
    batch_size: int
    precision: str
    channels_last: bool
    clock: str = "wall"

    def well_typed(self) -> bool:
        """Whether every condition is of its kind, as one that was read may not be."""
        words = (self.device, self.precision, self.clock)
        numbers = is_whole(self.threads, 1) and is_whole(self.batch_size, 1)
        return numbers and isinstance(self.channels_last, bool) and all(isinstance(w, str) for w in words)

    def differences(self, other: "Conditions") -> list[str]:
        """What another differs in, such as `threads 1, not 2`; the first value is this one's."""
        return [
            f"{field.name} {_word(getattr(self, field.name))}, not {_word(getattr(other, field.name))}"
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        ]


@dataclass(frozen=True)
class Line:
    """How far sums over a table could be trusted: measured = intercept + slope * sum, over n networks.

    Attributes:
        n: networks that were drawn and measured whole.
        slope: without dimension.
        intercept: milliseconds.
        kendall: rank correlation tau-b of sums and measurements.
        spearman: their rank correlation rho.
        error: median of |sum - measured| / measured.
        error_fitted: the same of the line's values, on the networks that it was fitted to.
    """

    n: int
    slope: float
    intercept: float
    kendall: float
    spearman: float
    error: float
    error_fitted: float

    def __call__(self, milliseconds: float) -> float:
        """A sum, corrected; never below 0."""
        return max(0.0, self.intercept + self.slope * milliseconds)


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of a batch for every piece.

    Attributes:
        conditions: under which all of them were measured.
        entries: the pieces.
        about: where the table comes from: space, data set, recipe, sizes, versions, date; plain JSON values.
        line: what random networks said of it; None if none were measured.
    """

    conditions: Conditions
    entries: Mapping[Piece, Latency]
    about: Mapping[str, Any]
    line: Line | None = None

    def milliseconds(self, piece: Piece, command: str, where: str = "latency.table") -> float:
        """The median of a piece.

        Args:
            piece: what to look up.
            command: what measures the piece, for the message.
            where: key and value of the setting that named the table, likewise.

        Raises:
            ConfigError: the table does not hold it.
        """
        entry = self.entries.get(piece)
        if entry is None:
            same = [other.shape for other in self.entries if other.name == piece.name]
            known = f"it has {piece.name} at {', '.join(same)}" if same else f"it has no {piece.name} at all"
            raise ConfigError(f"{where}: the table lacks {piece.key}; {known}. Measure it with: {command}")
        return entry.median

    def to_json(self) -> str:
        """The JSON form, one piece per line."""
        head = {
            "schema": SCHEMA,
            "kind": "latency",
            "conditions": asdict(self.conditions),
            "about": dict(self.about),
            "line": None if self.line is None else asdict(self.line),
        }
        rows = [
            json.dumps(asdict(piece) | {"milliseconds": row.median, "spread": row.spread, "n": row.repeats})
            for piece, row in self.entries.items()
        ]
        body = ",\n  ".join(rows)
        return json.dumps(head, indent=1)[:-2] + f',\n "pieces": [\n  {body}\n ]\n}}\n'


def read_table(path: str | Path, key: str = "latency.table") -> LatencyTable:
    """Reads a table, or that of a run folder of `nas.latency`.

    Args:
        path: file or folder.
        key: the setting that names it, for messages.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    where = f"{key}={path}"
    file = Path(path).expanduser()
    file = file / FILE if file.is_dir() else file
    require(
        os.path.lexists(file),
        f"{where}: no such file; python -m nas.latency writes {FILE} into its run folder",
    )
    return parse_table(read_text(file, where, 16 * MEBIBYTE), where)


def parse_table(text: str, where: str = "latency.table") -> LatencyTable:
    """Reads what `LatencyTable.to_json` writes.

    Raises:
        ConfigError: the text is no table, or a number in it is none.
    """
    data = parse_json(text, where)
    require(
        isinstance(data, dict) and data.get("kind") == "latency",
        f"{where}: no latency table; python -m nas.latency writes them",
    )
    require(
        data.get("schema") == SCHEMA,
        f"{where}: schema {data.get('schema')!r} is unknown, this version reads {SCHEMA}",
    )
    try:
        conditions = Conditions(**data["conditions"])
        require(conditions.well_typed(), f"{where}: damaged conditions {shown(data['conditions'], 200)}")
        line = None if data["line"] is None else Line(**data["line"])
        require(
            line is None or all(map(is_number, asdict(line).values())),
            f"{where}: damaged line {shown(data['line'], 200)}",
        )
        entries = {}
        for row in data["pieces"]:
            values = dict(row)
            entry = Latency(values.pop("milliseconds"), values.pop("spread"), values.pop("n"))
            piece = Piece(**values)
            sizes = (piece.channels, piece.height, piece.width, piece.stride, piece.outputs, piece.inputs)
            good = isinstance(piece.name, str) and all(is_whole(size, 1) for size in sizes)
            good = good and is_time(entry.median) and is_time(entry.spread) and is_whole(entry.repeats, 1)
            require(good and piece not in entries, f"{where}: damaged or repeated entry {shown(row, 200)}")
            entries[piece] = entry
        return LatencyTable(conditions, entries, dict(data["about"]), line)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{where}: damaged ({type(error).__name__}: {shown(str(error), 160)})") from error


def check_conditions(table: LatencyTable, here: Conditions, allowed: bool, where: str) -> bool:
    """Whether a table was measured under the conditions of this process.

    Args:
        table: what was read.
        here: how this process would measure.
        allowed: `latency.any_device`: whether another device's table may be used.
        where: key and value of the setting that named it.

    Raises:
        ConfigError: it was not, and that is not allowed.
    """
    unlike = table.conditions.differences(here)
    require(
        not unlike or allowed,
        f"{where}: measured under other conditions: {'; '.join(unlike)}. Measure here with nas.latency, or "
        "set latency.any_device=true to budget for that device",
    )
    return not unlike


class Predictor:
    """Predicts the latency of networks: the sum over their pieces, corrected by the table's line if wanted.

    Args:
        table: times of pieces.
        pieces: the networks of one space at one size.
        command: what measures a piece that the table lacks.
        fitted: whether to correct sums by the table's line, where it has one.
        where: key and value of the setting that named the table.

    Raises:
        ConfigError: the fitted line falls, so that it would turn the order round.
    """

    def __init__(
        self,
        table: LatencyTable,
        pieces: Pieces,
        command: str,
        fitted: bool = False,
        where: str = "latency.table",
    ):
        self.pieces = pieces
        self.line = table.line if fitted else None
        require(
            self.line is None or self.line.slope > 0,
            f"{where}: its networks took the less time the more its pieces take (slope "
            f"{self.line.slope if self.line else 0:.3g}): measure again, or set latency.fitted=false",
        )
        self._look_up = lambda piece: table.milliseconds(piece, command, where)
        self._known: dict[Piece, float] = {}

    def sum(self, genotype: Genotype) -> float:
        """Milliseconds of all pieces of a genotype's network.

        Raises:
            ConfigError: the table lacks one of them.
        """
        total = 0.0
        for piece, count in self.pieces.of(genotype).items():
            if piece not in self._known:
                self._known[piece] = self._look_up(piece)
            total += count * self._known[piece]
        return total

    def __call__(self, genotype: Genotype) -> float:
        """The predicted milliseconds of a batch.

        Raises:
            ConfigError: the table lacks a piece.
        """
        total = self.sum(genotype)
        return total if self.line is None else self.line(total)


def fit_line(sums: list[float], measured: list[float]) -> Line:
    """Least squares and rank correlations of sums and measurements, in milliseconds.

    Raises:
        ConfigError: there are less than three networks, or all sums are equal.
    """
    from scipy.stats import kendalltau, linregress, spearmanr

    require(len(sums) >= 3, f"latency.validate={len(sums)}: must be 0 or at least 3")
    require(
        len(set(sums)) > 1,
        "latency.validate: all networks of this space consist of the same pieces, so there is no line",
    )
    fit = linregress(sums, measured)
    told = len(set(measured)) > 1

    def error(predicted: list[float]) -> float:
        return statistics.median(abs(a - b) / b for a, b in zip(predicted, measured, strict=True))

    # Undefined where all measurements are equal: nothing was told apart.
    kendall, spearman = (
        float(rank(sums, measured).statistic) if told else 0.0 for rank in (kendalltau, spearmanr)
    )
    line = Line(len(sums), float(fit.slope), float(fit.intercept), kendall, spearman, error(sums), 0.0)
    return Line(**asdict(line) | {"error_fitted": error([line(total) for total in sums])})


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
