"""What can be had within a budget: the best accuracy for a cost, the exact front, and how far one is from it.

Costs are better the lower, accuracies (in per cent) the higher they are.
"""

from collections.abc import Sequence

import numpy as np


class Front:
    """All architectures of which both are known, by cost.

    Args:
        costs: one per architecture.
        accuracies: one per architecture, in per cent.
    """

    def __init__(self, costs: Sequence[float], accuracies: Sequence[float]):
        costs_N, accuracies_N = np.asarray(costs, dtype=float), np.asarray(accuracies, dtype=float)
        order_N = np.lexsort((-accuracies_N, costs_N))
        self._costs_N = costs_N[order_N]
        self._accuracies_N = accuracies_N[order_N]
        self._best_N = np.maximum.accumulate(self._accuracies_N) if len(order_N) else self._accuracies_N

    def __len__(self) -> int:
        return len(self._costs_N)

    def best(self, budget: float) -> float | None:
        """The highest accuracy of those that cost at most this much; None where there is none."""
        count = int(np.searchsorted(self._costs_N, budget, side="right"))
        return float(self._best_N[count - 1]) if count else None

    def distance(self, cost: float, accuracy: float) -> float:
        """Percentage points to the best accuracy at the same cost or less; 0 on the front."""
        best = self.best(cost)
        return 0.0 if best is None else max(0.0, best - accuracy)

    def points(self) -> list[tuple[float, float]]:
        """The front: (cost, accuracy), both ascending; of equals one."""
        better_N = np.ones(len(self), dtype=bool)
        better_N[1:] = self._best_N[1:] > self._best_N[:-1]
        return list(zip(self._costs_N[better_N].tolist(), self._best_N[better_N].tolist(), strict=True))

    def quantile(self, share: float) -> float:
        """The cost that this share of the architectures does not exceed, itself one of theirs."""
        return float(np.quantile(self._costs_N, share, method="inverted_cdf"))


def hypervolume(points: Sequence[tuple[float, float]], cost: float, accuracy: float = 0.0) -> float:
    """The area that points (cost, accuracy) beat, up to a reference point that is dearer and less accurate.

    Args:
        points: any, not only those of a front.
        cost: of the reference point; what costs as much or more adds nothing.
        accuracy: of the reference point; what is no more accurate adds nothing.
    """
    area, reached = 0.0, accuracy
    for own, height in sorted(points, key=lambda point: (point[0], -point[1])):
        if own < cost and height > reached:
            area += (cost - own) * (height - reached)
            reached = height
    return area
