"""What every black-box algorithm is: it asks for an architecture per seed, and is told what each is worth."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from nas.spaces.architectures import Architectures

# Numbers of a seed that are drawn at once.
BLOCK = 4096


class Draws:
    """The random numbers of S seeds side by side, each from a stream of its own.

    What a seed gets depends on that seed and on what has been asked for, not on the others.
    """

    def __init__(self, seeds: Sequence[int]):
        self._generators = [np.random.default_rng(seed) for seed in seeds]
        self._block_SN, self._used = np.empty((len(seeds), 0)), 0

    def __len__(self) -> int:
        return len(self._generators)

    def uniform(self, *shape: int) -> np.ndarray:
        """Numbers of [0, 1), [S, *shape]."""
        count = int(np.prod(shape, dtype=np.int64))
        if self._used + count > self._block_SN.shape[1]:
            size = max(BLOCK, count)
            self._block_SN, self._used = np.stack([rng.random(size) for rng in self._generators]), 0
        self._used += count
        return self._block_SN[:, self._used - count : self._used].reshape(-1, *shape)

    def normal(self, *shape: int) -> np.ndarray:
        """Standard normal numbers, [S, *shape]."""
        return np.stack([rng.standard_normal(shape) for rng in self._generators])


class Algorithm(ABC):
    """S searches side by side that know nothing of each other: row s of every array is that of seed s.

    Attributes:
        architectures: all, one at random, and neighbours; set by `start`.
        draws: the only source of chance; set by `start`.
        constrained: whether architectures may lie above the budget of a cost; set before `start`.
        passes_over: of the class: whether `tell` passes over a reward of nan, which stands for such an
            architecture, so that `ask` draws anew. Where it does not, that reward is 0.
    """

    architectures: Architectures
    draws: Draws
    constrained: bool = False
    passes_over: ClassVar[bool] = False

    def start(self, architectures: Architectures, draws: Draws) -> None:
        """Begins anew, for as many seeds as `draws` has."""
        self.architectures, self.draws = architectures, draws

    @abstractmethod
    def ask(self) -> np.ndarray:
        """The codes [S, E] of the architectures whose rewards are to be looked up next."""

    @abstractmethod
    def tell(self, codes_SE: np.ndarray, rewards_S: np.ndarray) -> None:
        """What was asked for, and its rewards in percent; nan if it `passes_over` what is not queried."""

    def draw(self) -> np.ndarray:
        """Codes [S, E] of architectures that are drawn uniformly."""
        return self.architectures.random(self.draws.uniform(len(self.architectures.sizes_E)))
