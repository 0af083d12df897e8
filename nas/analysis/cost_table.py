"""Costs of the architectures of a tabular benchmark: latencies on devices, whatever a column holds.

A cost is better the lower it is. What cannot be a cost is left out, named and never filled in. No torch here.
"""

import logging
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from nas.analysis.benchmark_table import check_architecture, is_accuracy, read_columns
from nas.errors import require
from nas.printable import shown

log = logging.getLogger(__name__)

# What has a meaning already: our own costs, and columns of files that have costs beside them.
TAKEN = ("params", "macs", "latency", "run", "genotype", "front", "arch", "budget", "budget_met")
# A network with convolutions that takes less than this share of the column's median has not been run.
FLOOR = 0.05
CONVOLUTION = "nor_conv"
NOT_FINITE, NOT_POSITIVE = "not finite", "not above 0"
TOO_LITTLE = "below {percent:g}% of the median in spite of convolutions"


def operations_of(arch: str) -> set[str]:
    """The operations of an architecture that is written as in NAS-Bench-201."""
    return set(re.findall(r"(\w+)~", arch))


class CostColumn:
    """One cost of every architecture.

    Args:
        name: of the column.
        places: architecture -> its place; one mapping serves all columns of a file.
        figures_N: as they were read, by their places; nan where nothing stands.
        floor: the share of the median below which a cell with convolutions has not been run; 0 for none.

    Attributes:
        values: architecture -> cost, of those that can be one.
        left_out: how many figures cannot be one, by the reason.
    """

    def __init__(self, name: str, places: Mapping[str, int], figures_N: np.ndarray, floor: float = FLOOR):
        self.name = name
        finite_N, blank_N = np.isfinite(figures_N), np.isnan(figures_N)
        usable_N = finite_N & (figures_N > 0)
        least = floor * float(np.median(figures_N[usable_N])) if usable_N.any() else 0.0
        low_N = usable_N & (figures_N < least)
        if low_N.any():
            archs = list(places)
            for place in np.flatnonzero(low_N):
                low_N[place] = CONVOLUTION in archs[place]
        self.values: Mapping[str, float] = _Known(places, np.where(usable_N & ~low_N, figures_N, np.nan))
        reasons = {
            NOT_FINITE: ~finite_N & ~blank_N,
            NOT_POSITIVE: finite_N & (figures_N <= 0),
            TOO_LITTLE.format(percent=100 * floor): low_N,
        }
        self.left_out = {reason: int(one_N.sum()) for reason, one_N in reasons.items() if one_N.any()}
        self._sorted_N = np.sort(figures_N[usable_N & ~low_N])

    def __len__(self) -> int:
        return len(self._sorted_N)

    def rank(self, value: float) -> int:
        """1 + the number of architectures that cost strictly less, so that equals share the better rank."""
        return int(np.searchsorted(self._sorted_N, value)) + 1

    def equals(self, value: float) -> int:
        """How many architectures cost just that."""
        return int(np.searchsorted(self._sorted_N, value, side="right")) - self.rank(value) + 1

    def __str__(self) -> str:
        return f"{self.name}: " + ", ".join(f"{n:,} {reason}" for reason, n in self.left_out.items())


class _Known(Mapping[str, float]):
    """What is known of architectures, as numbers side by side; nan of what is not."""

    def __init__(self, places: Mapping[str, int], values_N: np.ndarray):
        self._places, self._values_N = places, values_N

    def __getitem__(self, arch: str) -> float:
        value = float(self._values_N[self._places[arch]])
        if math.isnan(value):
            raise KeyError(arch)
        return value

    def __iter__(self) -> Iterator[str]:
        return (arch for arch, place in self._places.items() if not math.isnan(self._values_N[place]))

    def __len__(self) -> int:
        return int((~np.isnan(self._values_N)).sum())


class CostTable:
    """Columns of costs, from any number of files.

    Args:
        columns: by name.
        source: where they come from; error messages begin with it.
    """

    def __init__(self, columns: Mapping[str, CostColumn], source: str):
        self.columns, self.source = dict(columns), source

    def column(self, name: str, key: str = "tabular.cost") -> CostColumn:
        """A column that has costs.

        Raises:
            ConfigError: there is none of that name, or nothing in it can be a cost.
        """
        require(
            name in self.columns,
            f"{key}={shown(name)}: {self.source} has no such column; it has {', '.join(self.columns)}",
        )
        found = self.columns[name]
        require(len(found) > 0, f"{key}={shown(name)}: no figure of this column can be a cost ({found})")
        return found

    def of(self, arch: str) -> dict[str, float]:
        """All costs of an architecture that are known."""
        return {name: one.values[arch] for name, one in self.columns.items() if arch in one.values}

    def tell(self) -> None:
        """Says in one line what is left out; nothing where that is nothing."""
        left_out = [str(one) for one in self.columns.values() if one.left_out]
        if left_out:
            log.warning("%s: left out and never filled in: %s", self.source, "; ".join(left_out))


def files_of(costs: str | Path | Sequence[str | Path]) -> list[str | Path]:
    """The files that `tabular.costs` names: one, or a list of them."""
    return [costs] if isinstance(costs, str | Path) else list(costs)


def read_costs(
    costs: str | Path | Sequence[str | Path],
    taken: Collection[str] = (),
    key: str = "tabular.costs",
    floor: float = FLOOR,
) -> CostTable:
    """Reads tables with a header `arch,<cost>,...` and one architecture per line; figures may be blank.

    Args:
        costs: CSV files, or the same compressed (`.gz`).
        taken: names of columns that are there already.
        key: what names the files, for messages.
        floor: as for `CostColumn`.

    Raises:
        ConfigError: a file cannot be read, a column comes twice, or holds accuracies by its name; or the
            floor is no share.
    """
    require(0 <= floor < 1, f"tabular.cost_floor={floor}: must be a share from 0 to below 1")
    origin = dict.fromkeys(taken, "tabular.file")
    columns: dict[str, CostColumn] = {}
    for file in files_of(costs):
        source = f"{key}={file}"
        places, found = read_columns(file, source)
        for arch in places:
            check_architecture(arch, source)
        require(len(found) > 0, f"{source}: no column of costs")
        for name, figures_N in found.items():
            require(
                not is_accuracy(name),
                f"{source}: column {name!r} holds accuracies by its name (_test, _val), not costs",
            )
            require(
                name not in TAKEN,
                f"{source}: column {name!r} has a name that means something else here ({', '.join(TAKEN)}); "
                "rename it",
            )
            require(
                name not in origin,
                f"{source}: column {name!r} is in {origin.get(name)} too; a name must stand for one column",
            )
            origin[name] = str(file)
            columns[name] = CostColumn(name, places, figures_N, floor)
    require(len(columns) > 0, f"{key}=[]: name one CSV file at least, or null")
    return CostTable(columns, f"{key} ({', '.join(Path(file).name for file in files_of(costs))})")
