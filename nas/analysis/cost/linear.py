"""A cost as a sum over edges: a number for each candidate of each edge, fitted by least squares.

Parameters, multiply-adds and sums over a table of pieces are such sums, and the fit is exact. A measured
latency is one approximately; how far it is off is said on architectures that the fit has not seen.
Shapes: N architectures, E edges, O operations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nas.analysis.sampling import choices_of
from nas.errors import require
from nas.genotype import Genotype
from nas.spaces.space import EdgeGroup

# Of the architectures; the others tell the error.
SHARE = 0.8
# Below: whoever goes by the fit is told that it is poor, and nobody may go by it.
POOR, USELESS = 0.9, 0.5


@dataclass(frozen=True)
class LinearCosts:
    """The fit.

    Attributes:
        costs: {group: [E, O]}, float64; 0 of a candidate that no architecture has.
        known: {group: bool [E, O]}, which candidates an architecture has.
        constant: what every architecture costs beside its edges.
        fitted, held_out: how many architectures it was fitted to, and tried on.
        r2: share of the variance of those that were held out that it explains.
        error: median of |fit - cost| / cost of those that were held out.
    """

    costs: Mapping[str, Tensor]
    known: Mapping[str, Tensor]
    constant: float
    fitted: int
    held_out: int
    r2: float
    error: float

    def __call__(self, genotype: Genotype, groups: Mapping[str, EdgeGroup]) -> float:
        """The cost of an architecture by the fit."""
        return self.constant + sum(
            float(self.costs[name][row, column])
            for name, pairs in choices_of(genotype, groups).items()
            for row, column in pairs
        )

    def from_zero(self, groups: Mapping[str, EdgeGroup], edgewise: bool) -> dict[str, Tensor]:
        """The costs with that of the cheapest candidate at 0, {group: [E, O]}; the differences stay.

        A sum over edges does not say what belongs to an edge and what to all: a number may be moved from the
        candidates of one edge to the constant, or, where derivation chooses among the edges of a node, from
        those of a node. What no architecture has, such as `none` in a DARTS cell, is free.

        Args:
            groups: what rows and columns mean.
            edgewise: whether every architecture has an operation on every edge.
        """
        found = {}
        for name, cost_EO in self.costs.items():
            known_EO = self.known[name]
            targets = [row if edgewise else target for row, (_, target) in enumerate(groups[name].edges)]
            least_E = cost_EO.masked_fill(~known_EO, torch.inf).amin(1)
            lowest = {one: min(least_E[[other == one for other in targets]].tolist()) for one in set(targets)}
            shift_E1 = torch.tensor([lowest[one] for one in targets], dtype=torch.float64)[:, None]
            found[name] = (cost_EO - shift_E1).where(known_EO, 0.0).clamp_min(0.0)
        return found


def keeps_every_edge(genotypes: Sequence[Genotype], groups: Mapping[str, EdgeGroup]) -> bool:
    """Whether these architectures have an operation on every edge."""
    edges = sum(len(group.edges) for group in groups.values())
    return all(sum(len(list(cell.edges)) for _, cell in one.cells) == edges for one in genotypes)


def fit_costs(
    genotypes: Sequence[Genotype], values: Sequence[float], groups: Mapping[str, EdgeGroup], what: str
) -> LinearCosts:
    """Least squares over indicators of (edge, candidate) and a constant; of many solutions the shortest.

    Args:
        genotypes: in an order of chance; the first `SHARE` of them are fitted.
        values: what each costs.
        groups: what rows and columns mean.
        what: names the cost, for messages.

    Raises:
        ConfigError: there are too few architectures, or all cost the same.
    """
    starts, width = {}, 1
    for name, group in groups.items():
        starts[name] = width
        width += group.shape[0] * group.shape[1]
    count = int(SHARE * len(genotypes))
    require(
        len(genotypes) - count >= 3 and count >= 3,
        f"{what}: known of {len(genotypes)} architectures, too few to fit a cost of each candidate to",
    )
    design_NK = np.zeros((len(genotypes), width))
    design_NK[:, 0] = 1.0
    for index, genotype in enumerate(genotypes):
        for name, pairs in choices_of(genotype, groups).items():
            for row, column in pairs:
                design_NK[index, starts[name] + row * groups[name].shape[1] + column] = 1.0
    values_N = np.asarray(values, dtype=float)
    weights_K = np.linalg.lstsq(design_NK[:count], values_N[:count], rcond=None)[0]
    true_N, found_N = values_N[count:], design_NK[count:] @ weights_K
    spread = float(((true_N - true_N.mean()) ** 2).sum())
    require(spread > 0, f"{what}: all architectures cost the same, so there is nothing to choose by")

    def by_edge(values_K: np.ndarray) -> dict[str, Tensor]:
        return {
            name: torch.from_numpy(values_K[start : start + np.prod(groups[name].shape)].copy()).view(
                groups[name].shape
            )
            for name, start in starts.items()
        }

    return LinearCosts(
        by_edge(weights_K),
        by_edge(np.asarray(design_NK.any(0))),
        float(weights_K[0]),
        count,
        len(genotypes) - count,
        1.0 - float(((true_N - found_N) ** 2).sum()) / spread,
        float(np.median(np.abs(found_N - true_N) / true_N)),
    )
