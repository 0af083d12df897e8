"""Regularised evolution (Real et al. 2019, algorithm 1)."""

import numpy as np

from nas.algorithms.algorithm import Algorithm, Draws
from nas.errors import require_whole
from nas.spaces.architectures import Architectures


class Evolution(Algorithm):
    """Of some architectures of a population the best gets a child, which takes the place of the oldest.

    A child differs from its parent on one edge. The first population is drawn uniformly.

    Args:
        population: P, architectures that are alive.
        sample: of how many of them, drawn with replacement, the best becomes a parent.

    Raises:
        ConfigError: one of them is not positive.
    """

    def __init__(self, population: int, sample: int):
        require_whole("algorithm.population", population, 1)
        require_whole("algorithm.sample", sample, 1)
        self.population, self.sample = population, sample

    def start(self, architectures: Architectures, draws: Draws) -> None:
        super().start(architectures, draws)
        self._seeds_S, self._born = np.arange(len(draws)), 0
        self._codes_SPE = np.zeros((len(draws), self.population, len(architectures.sizes_E)), dtype=np.int64)
        self._rewards_SP = np.zeros((len(draws), self.population))

    def ask(self) -> np.ndarray:
        if self._born < self.population:
            return self.draw()
        drawn_ST = (self.draws.uniform(self.sample) * self.population).astype(np.int64)
        best_S = self._rewards_SP[self._seeds_S[:, None], drawn_ST].argmax(1)
        parents_SE = self._codes_SPE[self._seeds_S, drawn_ST[self._seeds_S, best_S]]
        k_S = (self.draws.uniform() * len(self.architectures.changed_K)).astype(np.int64)
        return self.architectures.neighbour(parents_SE, k_S)

    def tell(self, codes_SE: np.ndarray, rewards_S: np.ndarray) -> None:
        oldest = self._born % self.population
        self._codes_SPE[:, oldest], self._rewards_SP[:, oldest] = codes_SE, rewards_S
        self._born += 1
