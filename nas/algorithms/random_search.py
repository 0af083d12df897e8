"""Random search: the floor of every claim."""

import numpy as np

from nas.algorithms.algorithm import Algorithm


class Random(Algorithm):
    """Asks for architectures that are drawn uniformly, with replacement."""

    passes_over = True

    def ask(self) -> np.ndarray:
        return self.draw()

    def tell(self, codes_SE: np.ndarray, rewards_S: np.ndarray) -> None:
        """Nothing is learnt from it."""
