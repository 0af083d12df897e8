"""Rows and counts that describe an architecture in the tables of a run folder."""

import re
from collections.abc import Mapping
from typing import Any

import torch

from nas.genotype import Genotype
from nas.spaces.recurrent.mix import IDENTITY
from nas.spaces.space import SKIP, Space

PASSING = (SKIP, IDENTITY)
# The columns of `architecture.csv`.
WEIGHTS = ("epoch", "group", "source", "target", "operation", "weight")


def weight_rows(space: Space, strengths: Mapping[str, Any], epoch: int) -> list[dict[str, Any]]:
    """The op weights of an epoch as rows of `architecture.csv`."""
    rows = []
    for name, group in space.groups.items():
        for (source, target), operations, weights in zip(
            group.edges, group.operations, strengths[name].tolist(), strict=True
        ):
            for operation, weight in zip(operations, weights, strict=True):
                values = (epoch, name, source, target, operation, weight)
                rows.append(dict(zip(WEIGHTS, values, strict=True)))
    return rows


def of_groups(what: str, values: Mapping[str, float]) -> dict[str, float]:
    """The numbers of the groups of edges under the names of their columns, `<group>_<what>`."""
    return {f"{group}_{what}": value for group, value in values.items()}


def never_derived(space: Space) -> frozenset[str]:
    """Candidates that derivation does not take however strong they are, such as `none` in a DARTS cell."""
    groups = space.groups
    names = {name for group in groups.values() for row in group.operations for name in row}

    def taken(name: str) -> bool:
        scores = {
            key: torch.tensor([[float(op == name) for op in row] for row in group.operations])
            for key, group in groups.items()
        }
        return name in space.derive(scores).operations

    return frozenset(name for name in names if not taken(name))


def count_skips(genotype: Genotype) -> int:
    """Operations that only pass on, in the derived normal cell (or the only one): a search's collapse.

    Skip connections, and of a recurrent cell the nodes whose operation is `identity`.
    """
    cell = genotype[counted_cell(genotype)]
    return sum(cell.count(name) for name in PASSING)


def counted_cell(genotype: Genotype) -> str:
    """The cell whose skip connections are counted."""
    return "normal" if "normal" in genotype else genotype.cells[0][0]


def number_of(text: str) -> int | float | None:
    """A number of a table's cell; None for what somebody else wrote there."""
    if re.fullmatch("-?[0-9]{1,18}", text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return None
