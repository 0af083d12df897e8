"""Local search (White, Nolen and Savani 2021, algorithm 1)."""

import numpy as np

from nas.algorithms.algorithm import Algorithm, Draws
from nas.spaces.architectures import Architectures


class LocalSearch(Algorithm):
    """Asks for all neighbours of where it stands, goes to the best of them, and begins anew at an optimum.

    Neighbours are asked for in random order. Those that differ on the edge of the last move are left out:
    they were neighbours of the place before as well, and are no better.
    """

    def start(self, architectures: Architectures, draws: Draws) -> None:
        super().start(architectures, draws)
        count, edges = len(draws), len(architectures.sizes_E)
        self._seeds_S = np.arange(count)
        self._here_SE, self._reward_S = np.zeros((count, edges), dtype=np.int64), np.full(count, -np.inf)
        self._best_SE, self._best_S = self._here_SE.copy(), self._reward_S.copy()
        self._best_edge_S = np.full(count, -1)
        # Which neighbours are asked for, how many of them, and how many have been; none are left at first.
        self._order_SK = np.zeros((count, len(architectures.changed_K)), dtype=np.int64)
        self._length_S = self._asked_S = np.zeros(count, dtype=np.int64)

    def ask(self) -> np.ndarray:
        around = self._asked_S < self._length_S
        fresh_SE = self.draw()
        if not around.any():
            return fresh_SE
        near_SE = self.architectures.neighbour(self._here_SE, self._next())
        return np.where(around[:, None], near_SE, fresh_SE)

    def tell(self, codes_SE: np.ndarray, rewards_S: np.ndarray) -> None:
        around = self._asked_S < self._length_S
        better = around & (rewards_S > self._best_S)
        self._best_SE = np.where(better[:, None], codes_SE, self._best_SE)
        self._best_S = np.where(better, rewards_S, self._best_S)
        if better.any():
            edge_S = self.architectures.changed_K[self._next()]
            self._best_edge_S = np.where(better, edge_S, self._best_edge_S)
        self._asked_S = self._asked_S + around
        improved = around & (self._asked_S == self._length_S) & (self._best_S > self._reward_S)
        self._enter(~around, codes_SE, rewards_S, np.full(len(rewards_S), -1))
        self._enter(improved, self._best_SE, self._best_S, self._best_edge_S)

    def _next(self) -> np.ndarray:
        """Which neighbour [S] is asked for next; any where none is left."""
        last = max(self._order_SK.shape[1] - 1, 0)
        return self._order_SK[self._seeds_S, np.minimum(self._asked_S, last)]

    def _enter(
        self, where_S: np.ndarray, codes_SE: np.ndarray, rewards_S: np.ndarray, edge_S: np.ndarray
    ) -> None:
        """Some seeds go to another place, of which what differs on one edge (-1 for none) is known."""
        known_SK = self.architectures.changed_K == edge_S[:, None]
        order_SK = (self.draws.uniform(known_SK.shape[1]) + known_SK).argsort(1)
        self._here_SE = np.where(where_S[:, None], codes_SE, self._here_SE)
        self._reward_S = np.where(where_S, rewards_S, self._reward_S)
        self._order_SK = np.where(where_S[:, None], order_SK, self._order_SK)
        self._length_S = np.where(where_S, known_SK.shape[1] - known_SK.sum(1), self._length_S)
        self._asked_S = np.where(where_S, 0, self._asked_S)
        self._best_S = np.where(where_S, -np.inf, self._best_S)
