"""Costs of the architectures of a tabular benchmark: latencies on devices, whatever a column holds.

A cost is better the lower it is. What cannot be a cost is left out, named and never filled in. No torch here.
"""

import bisect
import logging
import math
import re
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from nas.analysis.benchmark_table import check_architecture, is_accuracy, read_figures
from nas.errors import require
from nas.printable import shown

log = logging.getLogger(__name__)

# What has a meaning already: our own costs, and columns of files that have costs beside them.
TAKEN = ("params", "macs", "latency", "run", "genotype", "front", "arch", "budget", "budget_met")
# A network with convolutions that takes less than this share of the column's median has not been run.
LEAST = 0.05
CONVOLUTION = "nor_conv"
NOT_FINITE, NOT_POSITIVE = "not finite", "not above 0"
TOO_LITTLE = f"below {LEAST:.0%} of the median in spite of convolutions"


def operations_of(arch: str) -> set[str]:
    """The operations of an architecture that is written as in NAS-Bench-201."""
    return set(re.findall(r"(\w+)~", arch))


class CostColumn:
    """One cost of every architecture.

    Args:
        name: of the column.
        figures: architecture -> cost, as it was read.

    Attributes:
        values: the costs that can be one.
        left_out: how many figures cannot be one, by the reason.
    """

    def __init__(self, name: str, figures: Mapping[str, float]):
        self.name = name
        usable = [value for value in figures.values() if math.isfinite(value) and value > 0]
        least = LEAST * statistics.median(usable) if usable else 0.0
        self.values: dict[str, float] = {}
        left_out: Counter[str] = Counter()
        for arch, value in figures.items():
            reason = _nonsense(arch, value, least)
            if reason is None:
                self.values[arch] = value
            else:
                left_out[reason] += 1
        self.left_out = dict(left_out)
        self._sorted = sorted(self.values.values())

    def __len__(self) -> int:
        return len(self.values)

    def rank(self, value: float) -> int:
        """1 + the number of architectures that cost strictly less, so that equals share the better rank."""
        return bisect.bisect_left(self._sorted, value) + 1

    def equals(self, value: float) -> int:
        """How many architectures cost just that."""
        return bisect.bisect_right(self._sorted, value) - bisect.bisect_left(self._sorted, value)

    def __str__(self) -> str:
        return f"{self.name}: " + ", ".join(f"{n:,} {reason}" for reason, n in self.left_out.items())


def _nonsense(arch: str, value: float, least: float) -> str | None:
    """Why a figure cannot be a cost; None where it can."""
    if not math.isfinite(value):
        return NOT_FINITE
    if value <= 0:
        return NOT_POSITIVE
    return TOO_LITTLE if value < least and CONVOLUTION in arch else None


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
    costs: str | Path | Sequence[str | Path], taken: Collection[str] = (), key: str = "tabular.costs"
) -> CostTable:
    """Reads tables with a header `arch,<cost>,...` and one architecture per line; figures may be blank.

    Args:
        costs: CSV files, or the same compressed (`.gz`).
        taken: names of columns that are there already.
        key: what names the files, for messages.

    Raises:
        ConfigError: a file cannot be read, a column comes twice, or holds accuracies by its name.
    """
    origin = dict.fromkeys(taken, "tabular.file")
    columns: dict[str, CostColumn] = {}
    for file in files_of(costs):
        source = f"{key}={file}"
        figures = read_figures(file, source, finite=False)
        found: dict[str, dict[str, float]] = {}
        for arch, row in figures.items():
            check_architecture(arch, source)
            for name, value in row.items():
                found.setdefault(name, {})[arch] = value
        require(len(found) > 0, f"{source}: no column of costs")
        for name, values in found.items():
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
            columns[name] = CostColumn(name, values)
    require(len(columns) > 0, f"{key}=[]: name one CSV file at least, or null")
    return CostTable(columns, f"{key} ({', '.join(Path(file).name for file in files_of(costs))})")
