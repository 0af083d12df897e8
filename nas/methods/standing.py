"""What may stand in an architecture of a space, found by deriving from made-up scores."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Derive = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


def in_edges(layout: Mapping) -> dict[str, dict[int, list[int]]]:
    """The rows of alpha that enter each node, node by node: {group: {node: [row, ...]}}.

    Args:
        layout: {group: {`edges`: [[source, target], ...]}}, in the order of alpha's rows.
    """
    result: dict[str, dict[int, list[int]]] = {group: {} for group in sorted(layout)}
    for group, by_target in result.items():
        for row, (_, target) in enumerate(layout[group]["edges"]):
            by_target.setdefault(target, []).append(row)
    return result


def standing(layout: Mapping, derive: Derive) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Which edges are derived from equal scores, and which candidates may be derived at all.

    The former tell how many in-edges a node keeps; the latter leave out what never is (`none` of the DARTS
    space).

    Args:
        layout: {group: {`edges`: [[source, target], ...], `operations`: a list of names a row}}.
        derive: scores {group: [E, O]} -> one-hot rows, zero for an edge that is left out.

    Returns:
        {group: bool [E]} and {group: bool [E, O]}.
    """
    shapes = {g: (len(layout[g]["edges"]), len(layout[g]["operations"][0])) for g in sorted(layout)}
    kept = derive({group: torch.ones(shape) for group, shape in shapes.items()})
    allowed = {group: torch.zeros(shape, dtype=torch.bool) for group, shape in shapes.items()}
    for row in range(max(edges for edges, _ in shapes.values())):
        for column in range(max(operations for _, operations in shapes.values())):
            scores = {group: torch.full(shape, 0.1) for group, shape in shapes.items()}
            inside = [group for group, (edges, names) in shapes.items() if row < edges and column < names]
            for group in inside:
                scores[group][row], scores[group][row, column] = 0.5, 1.0
            derived = derive(scores)
            for group in inside:
                allowed[group][row, column] = bool(derived[group][row, column])
    return {group: kept_EO.any(-1) for group, kept_EO in kept.items()}, allowed
