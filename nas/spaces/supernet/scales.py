"""Hands the op weights of an edge group to the fan-outs that apply them."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nas.spaces.space import EdgeGroup


class ScalePlan:
    """Cuts the op weights [E, O] of a group into one vector a candidate and source, once for all its cells.

    The gather and the split are one operator each, whatever the number of cells and edges.

    Args:
        group: the edges and their candidates.
        holders: source node -> candidate -> which of the source's edges (in the group's order) hold it.
    """

    def __init__(self, group: EdgeGroup, holders: Mapping[int, Mapping[str, Sequence[int]]]):
        num_operations = group.shape[1]
        self.keys: list[tuple[int, str]] = []
        self.sizes: list[int] = []
        order: list[int] = []
        for source, names in holders.items():
            rows = [row for row, edge in enumerate(group.edges) if edge[0] == source]
            for name, positions in names.items():
                self.keys.append((source, name))
                self.sizes.append(len(positions))
                order += [rows[p] * num_operations + group.operations[rows[p]].index(name) for p in positions]
        self.order = torch.tensor(order, dtype=torch.long)

    def __call__(self, weights_EO: Tensor) -> dict[int, dict[str, Tensor]]:
        """Source -> candidate -> op weights [m] of the edges that hold it."""
        self.order = self.order.to(weights_EO.device)
        scales: dict[int, dict[str, Tensor]] = {}
        values = weights_EO.flatten()[self.order].split(self.sizes)
        for (source, name), value in zip(self.keys, values, strict=True):
            scales.setdefault(source, {})[name] = value
        return scales
