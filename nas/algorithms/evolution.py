"""Regularised evolution (Real et al. 2019, algorithm 1)."""

import numpy as np

from nas.algorithms.algorithm import Algorithm, Draws
from nas.errors import require_whole
from nas.spaces.architectures import Architectures


class Evolution(Algorithm):
    """Of some architectures of a population the best gets a child, which takes the place of the oldest.

    A child differs from its parent on one edge. The first population is drawn uniformly. What is above the
    budget of a cost is not born: another is drawn in its place.

    Args:
        population: P, architectures that are alive.
        sample: of how many of them, drawn with replacement, the best becomes a parent.

    Raises:
        ConfigError: one of them is not positive.
    """

    passes_over = True

    def __init__(self, population: int, sample: int):
        require_whole("algorithm.population", population, 1)
        require_whole("algorithm.sample", sample, 1)
        self.population, self.sample = population, sample

    def start(self, architectures: Architectures, draws: Draws) -> None:
        super().start(architectures, draws)
        self._seeds_S, self._born_S = np.arange(len(draws)), np.zeros(len(draws), dtype=np.int64)
        self._codes_SPE = np.zeros((len(draws), self.population, len(architectures.sizes_E)), dtype=np.int64)
        self._rewards_SP = np.zeros((len(draws), self.population))

    def ask(self) -> np.ndarray:
        first_S = self._born_S < self.population
        # Seeds differ in how many are born; each draws for both, so that none depends on the others.
        if first_S.all() and not self.constrained:
            return self.draw()
        fresh_SE = self.draw() if self.constrained else None
        drawn_ST = (self.draws.uniform(self.sample) * self.population).astype(np.int64)
        best_S = self._rewards_SP[self._seeds_S[:, None], drawn_ST].argmax(1)
        parents_SE = self._codes_SPE[self._seeds_S, drawn_ST[self._seeds_S, best_S]]
        k_S = (self.draws.uniform() * len(self.architectures.changed_K)).astype(np.int64)
        children_SE = self.architectures.neighbour(parents_SE, k_S)
        return children_SE if fresh_SE is None else np.where(first_S[:, None], fresh_SE, children_SE)

    def tell(self, codes_SE: np.ndarray, rewards_S: np.ndarray) -> None:
        seeds_B = np.flatnonzero(~np.isnan(rewards_S))
        oldest_B = self._born_S[seeds_B] % self.population
        self._codes_SPE[seeds_B, oldest_B] = codes_SE[seeds_B]
        self._rewards_SP[seeds_B, oldest_B] = rewards_S[seeds_B]
        self._born_S[seeds_B] += 1
