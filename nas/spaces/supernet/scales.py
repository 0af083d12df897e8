"""Hands the op weights of an edge group to the fan-outs that apply them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from nas.op_weights import OpWeights
from nas.spaces.space import EdgeGroup


@dataclass(frozen=True)
class Wide:
    """Op weights of a source's M edges as wide operators read them.

    Attributes:
        terms_MP: of the P candidates without parameters; None where not all edges hold all of them.
        own_QX: of Q candidates with parameters that all edges hold, for each channel of each edge [Q, M*C].
    """

    terms_MP: Tensor | None
    own_QX: Tensor


@dataclass(frozen=True)
class Route:
    """One pass through the cells of a group, by the nodes that edges leave and enter.

    Attributes:
        scales: source node -> candidate -> op weights [m] of those of its edges that hold it.
        run: source node -> for each of its edges the candidates that are run; None for all.
        beside: source node -> weights [M] of what goes past the candidates of its edges; None for 1.
        carried: target node -> a number that joins its sum; empty for none.
        wide: channels C -> source node -> the same op weights for wide operators; a cell asks once.
    """

    scales: Mapping[int, dict[str, Tensor]]
    run: Mapping[int, Sequence[Collection[str]]] | None
    beside: Mapping[int, Tensor] | None
    carried: Mapping[int, Tensor]
    wide: Callable[[int], Mapping[int, Wide]]


class ScalePlan:
    """Cuts the op weights [E, O] of a group into one vector per candidate and source, once for all its cells.

    The gather and the split are one operator each, whatever the number of cells and edges.

    Args:
        group: the edges and their candidates.
        holders: source node -> candidate -> which of the source's edges (in the group's order) hold it.
        beside: source node -> the terms and the other candidates that `Wide` has op weights of, all held by
            all of the source's edges.
    """

    def __init__(
        self,
        group: EdgeGroup,
        holders: Mapping[int, Mapping[str, Sequence[int]]],
        beside: Mapping[int, tuple[Sequence[str], Sequence[str]]],
    ):
        self.group = group
        self.rows = {
            source: [row for row, edge in enumerate(group.edges) if edge[0] == source] for source in holders
        }
        self.keys: list[tuple[int, str]] = []
        self.sizes: list[int] = []
        order: list[int] = []
        for source, names in holders.items():
            rows = self.rows[source]
            for name, positions in names.items():
                self.keys.append((source, name))
                self.sizes.append(len(positions))
                order += [self._place_of(rows[p], name) for p in positions]
        self.order = torch.tensor(order, dtype=torch.long)
        self.by_source = torch.tensor([row for rows in self.rows.values() for row in rows], dtype=torch.long)
        self.targets = torch.tensor([target for _, target in group.edges], dtype=torch.long)
        self.beside = dict(beside)
        self._terms = [len(self.rows[source]) * len(terms) for source, (terms, _) in self.beside.items()]
        self._own = [len(self.rows[source]) * len(own) for source, (_, own) in self.beside.items()]
        # Which entries of [E, O] `Wide` has: all terms, by edge, and then the others, by candidate.
        laid: list[tuple[int, str]] = []
        for source, (terms, _) in self.beside.items():
            laid += [(row, name) for row in self.rows[source] for name in terms]
        for source, (_, own) in self.beside.items():
            laid += [(row, name) for name in own for row in self.rows[source]]
        self.laid = torch.tensor([self._place_of(row, name) for row, name in laid], dtype=torch.long)

    def _place(self, device: torch.device) -> None:
        """Takes the indices to where op weights are, once: a copy in every pass would be waited for."""
        if self.order.device != device:
            self.order, self.by_source, self.targets, self.laid = (
                index.to(device) for index in (self.order, self.by_source, self.targets, self.laid)
            )

    def __call__(self, weights_EO: Tensor) -> dict[int, dict[str, Tensor]]:
        """Source -> candidate -> op weights [m] of the edges that hold it."""
        self._place(weights_EO.device)
        scales: dict[int, dict[str, Tensor]] = {}
        values = weights_EO.flatten().index_select(0, self.order).split(self.sizes)
        for (source, name), value in zip(self.keys, values, strict=True):
            scales.setdefault(source, {})[name] = value
        return scales

    def route(self, op_weights: OpWeights, name: str) -> Route:
        """What the cells of this group, whose name it is, do in one pass."""
        weights_EO = op_weights[name]
        run_EO, edges_E = op_weights.run.get(name), op_weights.edges.get(name)
        run = None if run_EO is None else self._run(run_EO)
        self._place(weights_EO.device)
        beside = None if edges_E is None else self._beside(edges_E)
        carried = {}
        if op_weights.carried and run_EO is not None and weights_EO.requires_grad:
            carried = self._carried((weights_EO * ~run_EO).sum(-1))
        return Route(self(weights_EO), run, beside, carried, partial(self._wide, weights_EO))

    def _wide(self, weights_EO: Tensor, channels: int) -> dict[int, Wide]:
        """What a cell of C channels needs, in one gather and one copy: its gradient comes back as one."""
        # No op weight is gathered twice: on a GPU the order of such sums would change from run to run.
        gathered_N = weights_EO.flatten().index_select(0, self.laid)
        terms_N, own_N = gathered_N.split([sum(self._terms), sum(self._own)])
        repeated_N = own_N[:, None].expand(-1, channels).reshape(-1)
        terms = terms_N.split(self._terms)
        own = repeated_N.split([size * channels for size in self._own])
        found = {}
        for (source, names), terms_X, own_X in zip(self.beside.items(), terms, own, strict=True):
            edges = len(self.rows[source])
            found[source] = Wide(
                terms_X.view(edges, -1) if names[0] else None, own_X.view(len(names[1]), edges * channels)
            )
        return found

    def _place_of(self, row: int, name: str) -> int:
        """Where the op weight of a candidate on an edge stands in [E, O], flattened."""
        return row * self.group.shape[1] + self.group.operations[row].index(name)

    def _beside(self, edges_E: Tensor) -> dict[int, Tensor]:
        parts = edges_E.index_select(0, self.by_source).split([len(rows) for rows in self.rows.values()])
        return dict(zip(self.rows, parts, strict=True))

    def _run(self, run_EO: Tensor) -> dict[int, list[set[str]]]:
        names = [
            {name for name, here in zip(operations, row, strict=True) if here}
            for operations, row in zip(self.group.operations, run_EO.tolist(), strict=True)
        ]
        return {source: [names[row] for row in rows] for source, rows in self.rows.items()}

    def _carried(self, values_E: Tensor) -> dict[int, Tensor]:
        targets = {target for _, target in self.group.edges}
        sums_N = values_E.new_zeros(max(targets) + 1).index_add(0, self.targets, values_E)
        return {target: sums_N[target] for target in targets}
