"""For which device within which budget is searched, and how an architecture does there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.algorithms.algorithm import Algorithm, Draws
from nas.analysis.benchmark_table import BenchmarkTable
from nas.analysis.blackbox import Budget, column_of, search
from nas.analysis.constrained import Front
from nas.analysis.cost_table import CostTable
from nas.spaces.nasbench201 import NasBench201Space

FIGURE, REWARD = "cifar10_test", "cifar10_val"
QUERIES = 100


@dataclass(frozen=True)
class Standing:
    """How an architecture does on a device.

    Attributes:
        cost: there; None where that is not known.
        met: whether it is within the budget.
        regret: percentage points to the best within the budget; None of what is above it.
        accuracy: in per cent.
    """

    cost: float | None
    met: bool
    regret: float | None
    accuracy: float


class Tables:
    """Accuracies, and what every architecture costs.

    Args:
        accuracies: after 200 epochs, which judge.
        costs: columns of devices, and of multiply-adds where they have one.
        rewards: after 12 epochs, which black-box searches are told; None for none.

    Raises:
        ConfigError: there is no such column, or it lacks an architecture.
    """

    def __init__(self, accuracies: BenchmarkTable, costs: CostTable, rewards: BenchmarkTable | None = None):
        self.architectures = NasBench201Space("nasbench201").architectures()
        self.names = [str(self.architectures.genotype(code)) for code in self.architectures.all()]
        self._final_N = column_of(accuracies, FIGURE, "--table", self.names, accuracies.accuracies)
        self._final = dict(zip(self.names, self._final_N.tolist(), strict=True))
        self._costs = costs
        self._fronts: dict[str, Front] = {}
        self._rewards_N = None
        if rewards is not None:
            known = rewards.accuracies
            self._rewards_N = column_of(rewards, REWARD, "--search-table", self.names, known)

    def front(self, device: str) -> Front:
        """Accuracy against what a device takes, of all architectures of which it is known."""
        if device not in self._fronts:
            values = self._costs.column(device, "--devices").values
            self._fronts[device] = Front(list(values.values()), [self._final[arch] for arch in values])
        return self._fronts[device]

    def budget(self, device: str, share: float) -> float:
        """What a share of all architectures do not exceed there."""
        return self.front(device).quantile(share)

    def standing(self, arch: str, device: str, share: float) -> Standing:
        """How an architecture does where a share of all are within the budget."""
        cost = self._costs.column(device, "--devices").values.get(arch)
        front, accuracy = self.front(device), self._final[arch]
        budget = front.quantile(share)
        best = front.best(budget)
        met = cost is not None and cost <= budget
        return Standing(cost, met, round(best - accuracy, 4) if met and best is not None else None, accuracy)

    def blackbox(self, algorithm: Algorithm, device: str, share: float, seeds: int) -> np.ndarray:
        """The regret of what each seed of a black-box search within the budget returns, [S].

        A seed that finds nothing within it has a regret of nan.
        """
        assert self._rewards_N is not None
        budget = self.budget(device, share)
        values = self._costs.column(device, "--devices").values
        within_N = np.array([values.get(arch, np.inf) <= budget for arch in self.names])
        draws = Draws(range(seeds))
        last_S = search(
            algorithm, self.architectures, draws, Budget(QUERIES), self._rewards_N, within_N=within_N
        ).last()
        best = self._final_N[within_N].max()
        return np.where(last_S >= 0, best - self._final_N[last_S], np.nan)


def percent(shares: Sequence[float]) -> list[str]:
    """Shares as the names of folders and columns have them."""
    return [f"{share:.0%}" for share in shares]
