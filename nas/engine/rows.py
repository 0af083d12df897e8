"""Rows and counts that describe an architecture in the tables of a run folder."""

from collections.abc import Mapping
from typing import Any

from nas.genotype import Genotype
from nas.spaces.recurrent.mix import IDENTITY
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
    """Operations that only pass on, in the derived normal cell (or the only one): a search's collapse.

    Skip connections, and of a recurrent cell the nodes whose operation is `identity`.
    """
    cells = dict(genotype.cells)
    cell = cells.get("normal", next(iter(cells.values())))
    return cell.count(SKIP) + cell.count(IDENTITY)
