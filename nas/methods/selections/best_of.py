"""The best of some random architectures by the weights of the supernet (Li and Talwalkar 2019, section 3)."""

import logging
from collections.abc import Callable

from nas.errors import require, require_one_of, require_whole
from nas.methods.selections.base import Selection
from nas.op_weights import OpWeights

log = logging.getLogger(__name__)


class BestOf(Selection):
    """Draws architectures, judges all on the same first batches, and the best of these on all batches.

    Args:
        count: architectures that are drawn; equal ones count once.
        batches: of the architecture split, that each is judged on.
        finalists: how many of them are judged on the whole split; 0 takes the first of the first batches.
        statistics: what batch norms normalise with, those of the `batch` or the `running` ones, which are of
            a mixture of all architectures.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    def __init__(self, count: int = 100, batches: int = 1, finalists: int = 0, statistics: str = "batch"):
        require_whole("method.selection.count", count, 1)
        require_whole("method.selection.batches", batches, 1)
        require_whole("method.selection.finalists", finalists, 0)
        require(
            finalists <= count,
            f"method.selection.finalists={finalists}: of method.selection.count={count}; at most that",
        )
        require_one_of("method.selection.statistics", statistics, ("batch", "running"))
        self.count = count
        self.batches = batches
        self.finalists = finalists
        self.statistics = statistics
        self._drawn: list[OpWeights] = []
        self._sums: list[float] = []
        self._batches = 0

    def passes(self, epochs: int, batches: int) -> dict[str, int]:
        """All of them on the first batches, and the finalists on the rest."""
        first = min(batches, self.batches)
        return {"validation": self.count * first + self.finalists * (batches - first)}

    def begin(self, draw: Callable[[], OpWeights]) -> None:
        """Draws them."""
        seen: dict[tuple, OpWeights] = {}
        for _ in range(self.count):
            drawn = draw()
            seen.setdefault(tuple(tuple(drawn[group].flatten().tolist()) for group in sorted(drawn)), drawn)
        self._drawn, self._batches = list(seen.values()), 0
        self._sums = [0.0] * len(self._drawn)

    def observe(self, batch: int, score: Callable[[OpWeights], tuple[float, int]]) -> None:
        """Judges those that are still compared."""
        if batch >= self.batches and not self.finalists:
            return
        if batch == self.batches:
            best = self._order()[: self.finalists]
            self._drawn = [self._drawn[index] for index in best]
            self._sums = [self._sums[index] for index in best]
        self._batches = batch + 1
        for index, op_weights in enumerate(self._drawn):
            worth, size = score(op_weights)
            self._sums[index] += worth * size

    def chosen(self) -> OpWeights:
        """The best one, of equal ones that which was drawn first."""
        wanted = self.batches + bool(self.finalists)
        if self._batches < wanted:
            log.warning(
                "method.selection: the validation has %d batches, of %d that batches=%d finalists=%d ask for",
                self._batches, wanted, self.batches, self.finalists,
            )  # fmt: skip
        return self._drawn[self._order()[0]]

    def _order(self) -> list[int]:
        return sorted(range(len(self._drawn)), key=lambda index: -self._sums[index])
