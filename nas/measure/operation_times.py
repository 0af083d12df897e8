"""How long each candidate operation takes, measured once or read from a table, and kept with the run."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from nas.analysis.cost.latency import measure_latency
from nas.analysis.cost.latency_table import read_table
from nas.errors import ConfigError, require
from nas.files import write_text
from nas.methods.method import Method
from nas.printable import shown
from nas.reading.json_text import read_object
from nas.reading.plain import is_time
from nas.spaces.pieces import Piece
from nas.spaces.space import ZERO

FILE = "operation_times.json"
REPEATS = 9


class OperationCosts(Protocol):
    """What is asked of the costs of a group whose operations can be timed.

    Attributes:
        names_EO: for each connection its candidates.
    """

    names_EO: Sequence[Sequence[str]]

    def piece(self, row: int, name: str) -> Piece:
        """What a candidate of a connection is."""

    def build(self, piece: Piece) -> nn.Module:
        """That as a module."""


def measure_operations(costs: Mapping[str, OperationCosts], batch_size: int, device: str) -> dict[str, float]:
    """Milliseconds of a batch for every distinct operation and shape, `Piece.key` -> median."""
    times: dict[str, float] = {}
    # Neither the weights nor the images may move the generators of the search.
    with torch.random.fork_rng(devices=[]):
        for piece, cost in _pieces(costs):
            if piece.key not in times:
                module = cost.build(piece).to(device)
                images_BCHW = torch.randn(
                    batch_size, piece.channels, piece.height, piece.width, device=device
                )
                times[piece.key] = measure_latency(module, images_BCHW, 2, REPEATS).median
    return times


def time_operations(method: Method, batch_size: int, device: str) -> None:
    """Tells a method the times of its candidates, measured here and now, if it goes by them."""
    if method.wants_times:
        assert method.costs is not None  # a method that goes by times has asked for them in `attach`
        method.seconds = operation_seconds(method.costs, measure_operations(method.costs, batch_size, device))


def look_up_operations(costs: Mapping[str, OperationCosts], table: str, command: str) -> dict[str, float]:
    """The same from a table of `nas.latency`, whatever device and batch it is of.

    Args:
        costs: of every group.
        table: its file, or the run folder that holds it.
        command: what measures these operations, for the message.

    Raises:
        ConfigError: the table cannot be read, or lacks an operation at its shape.
    """
    read = read_table(table, "method.latency_table")
    where = f"method.latency_table={table}"
    return {piece.key: read.milliseconds(piece, command, where) for piece, _ in _pieces(costs)}


def operation_seconds(costs: Mapping[str, OperationCosts], times: Mapping[str, float]) -> dict[str, Tensor]:
    """Those times as tensors {group: [E, O]}, in seconds; 0 for `none`, which is never computed."""
    return {
        group: torch.tensor(
            [
                [0.0 if name == ZERO else times[cost.piece(row, name).key] / 1000 for name in names]
                for row, names in enumerate(cost.names_EO)
            ],
            dtype=torch.float64,
        )
        for group, cost in costs.items()
    }


def load_or_measure(
    path: Path,
    costs: Mapping[str, OperationCosts],
    batch_size: int,
    device: str,
    measure: bool,
    table: str | None = None,
    command: str = "python -m nas.latency",
) -> dict[str, float]:
    """The times of a run: read where it was started before, because two measurements never agree.

    Args:
        path: of the JSON file in the run folder.
        costs: of every group.
        batch_size: images per batch.
        device: where to measure.
        measure: whether to take times where there is no file yet.
        table: `method.latency_table`, to read them from in place of measuring; None to measure.
        command: what measures such a table.

    Raises:
        ConfigError: the file is missing or damaged, or the table lacks an operation.
    """
    if measure and table is not None:
        return look_up_operations(costs, table, command)
    if measure:
        return measure_operations(costs, batch_size, device)
    times = read_object(path).get("milliseconds")
    if not isinstance(times, dict) or not all(is_time(value) for value in times.values()):
        raise ConfigError(
            f"{path}: damaged (its milliseconds={shown(times)} must be a number for each operation)"
        )
    lacking = sorted({piece.key for piece, _ in _pieces(costs)} - set(times))
    require(not lacking, f"{path}: damaged (it lacks the time of {shown(', '.join(lacking))})")
    return times


def write(path: Path, times: Mapping[str, float]) -> None:
    """Writes what `load_or_measure` reads."""
    write_text(path, json.dumps({"milliseconds": dict(times)}, indent=1) + "\n")


def _pieces(costs: Mapping[str, OperationCosts]) -> Iterator[tuple[Piece, OperationCosts]]:
    """What candidates there are, in order of groups and names, some of them several times."""
    for cost in costs.values():
        pieces = {
            cost.piece(row, name) for row, names in enumerate(cost.names_EO) for name in names if name != ZERO
        }
        for piece in sorted(pieces):
            yield piece, cost
