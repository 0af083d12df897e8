"""How far the costs of one device stand for those of another: rank correlations, and choices by them.

Shapes: N architectures, D devices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# Budgets at which a choice is tried: shares of the architectures that are within.
SHARES = (0.1, 0.3, 0.6)
# Rank correlation from which one table is taken to stand for another.
SUFFICES = 0.95


@dataclass(frozen=True)
class Transfer:
    """One device's costs in the place of another's.

    Attributes:
        known: the device whose costs are known.
        target: the device that the network is for.
        n: architectures whose costs on both are known.
        spearman: rank correlation; equals share their mean rank. None where all of one cost the same.
        overruns: for each of `SHARES` by how much, as a share, the best within the budget by the known device
            exceeds the budget of the same share on the target; below 0 where it does not.
        regrets: how far it is below the best within the budget on the target, in percentage points; None
            where it exceeds it.
    """

    known: str
    target: str
    n: int
    spearman: float | None
    overruns: tuple[float, ...]
    regrets: tuple[float | None, ...]


def transfer(known: str, target: str, columns: Mapping[str, np.ndarray], heights_N: np.ndarray) -> Transfer:
    """What a choice by one device's costs is on another.

    Args:
        known: name of the one.
        target: name of the other.
        columns: device -> costs [N]; nan where they are not known.
        heights_N: accuracies in per cent; nan where they are not known: no choice.
    """
    known_N, target_N = columns[known], columns[target]
    both_N = np.isfinite(known_N) & np.isfinite(target_N)
    spearman = _spearman(known_N[both_N], target_N[both_N])
    there_N = both_N & np.isfinite(heights_N)
    known_N, target_N, heights_N = (values_N[there_N] for values_N in (known_N, target_N, heights_N))
    overruns, regrets = [], []
    for share in SHARES if there_N.any() else ():
        limit, budget = (_at(costs_N, share) for costs_N in (known_N, target_N))
        chosen = int(np.where(known_N <= limit, heights_N, -np.inf).argmax())
        overruns.append(float(target_N[chosen] / budget - 1))
        within = bool(target_N[chosen] <= budget)
        regrets.append(float(heights_N[target_N <= budget].max() - heights_N[chosen]) if within else None)
    return Transfer(known, target, int(both_N.sum()), spearman, tuple(overruns), tuple(regrets))


def _at(costs_N: np.ndarray, share: float) -> float:
    return float(np.quantile(costs_N, share, method="inverted_cdf"))


def _spearman(first_N: np.ndarray, second_N: np.ndarray) -> float | None:
    from scipy.stats import rankdata

    if len(first_N) < 3 or first_N.min() == first_N.max() or second_N.min() == second_N.max():
        return None
    return float(np.corrcoef(rankdata(first_N), rankdata(second_N))[0, 1])


def fewest(names: Sequence[str], pairs: Sequence[Transfer], least: float = SUFFICES) -> dict[str, list[str]]:
    """Few devices whose tables stand for all, each with those that it is the first to stand for.

    Greedy: the device that stands for most of those that are left, the first of equals. That may be more than
    the fewest.

    Args:
        names: the devices.
        pairs: all ordered pairs of them.
        least: rank correlation from which one stands for another.
    """
    stands = {name: {name} for name in names}
    for pair in pairs:
        if pair.spearman is not None and pair.spearman >= least:
            stands[pair.known].add(pair.target)
    left, found = set(names), {}
    while left:
        best = max(names, key=lambda name: len(stands[name] & left))
        found[best] = [name for name in names if name in stands[best] & left]
        left -= stands[best]
    return found


def in_order_of_likeness(names: Sequence[str], pairs: Sequence[Transfer]) -> list[str]:
    """The devices so that those alike are neighbours: leaves of an average linkage by 1 - |rho|."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(names) < 3:
        return list(names)
    place = {name: index for index, name in enumerate(names)}
    apart_DD = np.zeros((len(names), len(names)))
    for pair in pairs:
        apart_DD[place[pair.known], place[pair.target]] = 1 - abs(pair.spearman or 0.0)
    apart_DD = (apart_DD + apart_DD.T) / 2
    order = leaves_list(linkage(squareform(apart_DD, checks=False), "average", optimal_ordering=True))
    return [names[index] for index in order]
