"""Rows and counts that describe an architecture in the tables of a run folder."""

from collections.abc import Mapping
from typing import Any

from nas.genotype import Genotype
from nas.spaces.space import SKIP, Space


def weight_rows(space: Space, strengths: Mapping[str, Any], epoch: int) -> list[dict[str, Any]]:
    """The op weights of an epoch as rows of `architecture.csv`."""
    rows = []
    for name, group in space.groups.items():
        for (source, target), operations, weights in zip(
            group.edges, group.operations, strengths[name].tolist(), strict=True
        ):
            for operation, weight in zip(operations, weights, strict=True):
                rows.append(
                    {
                        "epoch": epoch,
                        "group": name,
                        "source": source,
                        "target": target,
                        "operation": operation,
                        "weight": weight,
                    }
                )
    return rows


def count_skips(genotype: Genotype) -> int:
    """Skip connections in the derived normal cell (or the only one): the sign of a collapsing search."""
    cells = dict(genotype.cells)
    return cells.get("normal", next(iter(cells.values()))).count(SKIP)
