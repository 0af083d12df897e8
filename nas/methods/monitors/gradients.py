"""Whether the two losses of a search pull a candidate's weights the same way; if not, these rest."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nas.errors import require, require_whole
from nas.methods.monitors.base import Monitor


class GradientAgreement(Monitor):
    """Freezes the weights of a candidate whose two gradients disagree (OLES; Jiang et al. 2023).

    The score of a candidate on one edge of one cell is the mean, over `steps` steps, of the cosine between
    the gradients of training and of validation loss with respect to its weights. A frozen candidate stays in
    the mixture, and alpha goes on learning what it is worth.

    Args:
        threshold: candidates below it rest; authors' options 0.4. -1 freezes nothing.
        steps: steps in a mean, after which another one begins; authors' options 20.

    Raises:
        ConfigError: a value is out of range.
    """

    compares_gradients = True

    def __init__(self, threshold: float = 0.4, steps: int = 20):
        require(-1 <= threshold <= 1, f"method.monitors: threshold={threshold}: a cosine, from -1 to 1")
        require_whole("method.monitors: steps", steps, 1)
        self.threshold, self.steps = threshold, steps
        self._done = 0
        self._sums_N = self._counts_N = torch.zeros(0)

    def end_step(self, cosine_N: Tensor) -> Tensor | None:
        """Adds up; a candidate that no step of the window has run is not judged."""
        if len(self._sums_N) != len(cosine_N):  # at the start, and in a network of other candidates
            self._done = 0
        if not self._done:
            self._sums_N, self._counts_N = torch.zeros_like(cosine_N), torch.zeros_like(cosine_N)
        self._sums_N = self._sums_N.to(cosine_N) + cosine_N.nan_to_num(0.0)
        self._counts_N = self._counts_N.to(cosine_N) + ~cosine_N.isnan()
        self._done += 1
        if self._done < self.steps:
            return None
        self._done = 0
        return (self._counts_N > 0) & (self._sums_N < self.threshold * self._counts_N)

    def state(self) -> dict[str, Any]:
        """The window so far."""
        return {"done": self._done, "sums": self._sums_N.cpu(), "counts": self._counts_N.cpu()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on in the middle of a window."""
        sums_N, counts_N = state["sums"], state["counts"]
        if not (
            isinstance(sums_N, Tensor) and isinstance(counts_N, Tensor) and sums_N.shape == counts_N.shape
        ):
            raise ValueError("sums and counts of one length")
        self._done, self._sums_N, self._counts_N = int(state["done"]), sums_N, counts_N
