"""What architectures of a space cost at least, in the middle and at most, from a few that are priced."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from nas.analysis.cost.linear import LinearCosts, fit_costs
from nas.errors import ConfigError
from nas.genotype import Genotype
from nas.spaces.space import EdgeGroup

# How far a sum over edges may be off that is taken for exact.
EXACT = 1e-6


@dataclass(frozen=True)
class CostRange:
    """What architectures of a space cost.

    Attributes:
        smallest, largest: of all; of those that were drawn where `exact` is false.
        middle: the median of architectures drawn uniformly.
        drawn: how many were.
        exact: whether the costs add up edge by edge, so that the cheapest and the dearest are known.
        linear: that sum; None where nothing was fitted.
    """

    smallest: float
    middle: float
    largest: float
    drawn: int
    exact: bool
    linear: LinearCosts | None = None


def range_of(
    price: Callable[[Genotype], float | None],
    genotypes: Sequence[Genotype],
    groups: Mapping[str, EdgeGroup],
    derive: Callable[[Mapping[str, Tensor]], Genotype],
    what: str,
) -> CostRange:
    """Prices random architectures, and where their costs add up the cheapest and the dearest as well.

    Args:
        price: architecture -> cost; None where it is not known.
        genotypes: drawn uniformly, distinct.
        groups: what rows and columns mean.
        derive: scores {group: [E, O]} -> architecture, which takes the candidates with the highest ones.
        what: names the cost, for messages.

    Raises:
        ConfigError: it is known of none.
    """
    known = [(one, cost) for one in genotypes if (cost := price(one)) is not None]
    costs = [cost for _, cost in known]
    if not costs:
        raise ConfigError(f"{what}: known of none of {len(genotypes)} architectures of this space")
    least, middle, most = min(costs), float(np.median(costs)), max(costs)
    try:
        linear = fit_costs([one for one, _ in known], costs, groups, what)
    except ConfigError:
        return CostRange(least, middle, most, len(costs), False)
    ends = []
    for sign in (-1.0, 1.0):
        scores = {name: 1.0 + sign * cost_EO for name, cost_EO in linear.costs.items()}
        lowest = min(float(score_EO.min()) for score_EO in scores.values())
        ends.append(derive({name: score_EO - lowest + 1.0 for name, score_EO in scores.items()}))
    prices = [price(one) for one in ends]
    sums = [linear(one, groups) for one in ends]
    exact = all(
        cost is not None and abs(cost - total) <= EXACT * max(abs(cost), most)
        for cost, total in zip(prices, sums, strict=True)
    )
    if not exact or 1.0 - linear.r2 > EXACT:
        return CostRange(least, middle, most, len(costs), False, linear)
    low, high = (float(cost) for cost in prices if cost is not None)
    return CostRange(low, middle, high, len(costs), True, linear)
