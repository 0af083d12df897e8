"""The rows of the evidence: what is run from which seeds, read from `rows.yaml`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.errors import require
from nas.reading.yaml_text import read_mapping

ROWS = Path(__file__).resolve().parent / "rows.yaml"


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: that of its folder.
        title: in words.
        tier: which one, from 1.
        seeds: those that are planned.
        settings: all overrides of its searches but seed, data and table.
        paper: mean and deviation of test accuracy in DrNAS's table 4 (CIFAR-10), in per cent; None where it
            has no such row.
    """

    name: str
    title: str
    tier: int
    seeds: tuple[int, ...]
    settings: tuple[str, ...]
    paper: tuple[float, float] | None = None


@dataclass(frozen=True)
class Plan:
    """All rows in the order in which they are run.

    Attributes:
        rows: by tiers.
        tiers: their titles.
        baseline: the row that others are compared with.
        left_out: methods of no row -> why.
    """

    rows: tuple[Row, ...]
    tiers: tuple[str, ...]
    baseline: Row
    left_out: Mapping[str, str]

    def row(self, name: str) -> Row:
        """The row of a name.

        Raises:
            ConfigError: there is none.
        """
        row = next((row for row in self.rows if row.name == name), None)
        require(
            row is not None, f"--row {name}: no such row; there are {', '.join(r.name for r in self.rows)}"
        )
        assert row is not None
        return row


def read_plan(path: Path = ROWS) -> Plan:
    """Reads the rows.

    Raises:
        ConfigError: the file is missing or damaged, or lacks a key.
    """
    plan = read_mapping(path)
    kinds = {"protocol": list, "first_seed": int, "baseline": str, "tiers": list}
    for key, kind in kinds.items():
        require(isinstance(plan.get(key), kind), f"{path}: {key} must be a {kind.__name__}")
    rows: list[Row] = []
    for number, tier in enumerate(plan["tiers"], start=1):
        seeds = tuple(range(plan["first_seed"], plan["first_seed"] + int(tier["seeds"])))
        rows += [_row(str(name), row, number, seeds, plan["protocol"]) for name, row in tier["rows"].items()]
    baseline = next((row for row in rows if row.name == plan["baseline"]), None)
    require(baseline is not None, f"{path}: baseline={plan['baseline']} is no row")
    assert baseline is not None
    titles = tuple(str(tier["title"]) for tier in plan["tiers"])
    return Plan(tuple(rows), titles, baseline, plan.get("left_out") or {})


def _row(name: str, given: Any, tier: int, seeds: tuple[int, ...], protocol: Sequence[str]) -> Row:
    paper = given.get("paper")
    settings = (*map(str, protocol), *map(str, given["overrides"]))
    return Row(name, str(given["title"]), tier, seeds, settings, None if paper is None else tuple(paper))
