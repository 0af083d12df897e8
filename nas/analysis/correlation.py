"""How far one number puts architectures into the order of another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nas.errors import require


@dataclass(frozen=True)
class Correlation:
    """Rank correlations.

    Attributes:
        n: architectures of which both numbers are known.
        spearman: rho; None where there are less than three, or all have one number.
        kendall: tau-b; None in the same cases.
    """

    n: int
    spearman: float | None
    kendall: float | None


def correlate(first: Sequence[float | None], second: Sequence[float | None]) -> Correlation:
    """The rank correlations of two numbers of the same architectures; None and nan are left out.

    Infinite numbers have their place in the order.

    Raises:
        ConfigError: the lengths differ.
    """
    from scipy.stats import kendalltau, rankdata, spearmanr

    require(len(first) == len(second), f"{len(first)} numbers of one kind and {len(second)} of another")
    pairs = [
        (a, b)
        for a, b in zip(first, second, strict=True)
        if a is not None and b is not None and not (math.isnan(a) or math.isnan(b))
    ]
    if len(pairs) < 3 or any(len(set(values)) == 1 for values in zip(*pairs, strict=True)):
        return Correlation(len(pairs), None, None)
    # Ranks, since infinite numbers have no differences.
    ranks = [rankdata(values) for values in zip(*pairs, strict=True)]
    return Correlation(len(pairs), *(float(rank(*ranks).statistic) for rank in (spearmanr, kendalltau)))
