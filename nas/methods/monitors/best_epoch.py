"""The architecture of the best epoch as the result."""

from collections.abc import Collection, Mapping
from typing import Any

from nas.methods.monitors.base import Decision, Monitor, Seen, compare_epochs

LOSS, ACCURACY = "architecture_loss", "architecture_accuracy"


class BestEpoch(Monitor):
    """The result is the architecture of the epoch that was validated best, the earliest of equal ones.

    By accuracy on the architecture split where the task has one, by its loss elsewhere.
    """

    needs = (LOSS,)

    def __init__(self) -> None:
        self.best: tuple[int, float] | None = None

    def check(self, method: Any) -> None:
        """Raises `ConfigError` where a stage begins anew: its epochs are not to be compared with others."""
        compare_epochs(self, method)

    def end_epoch(self, seen: Seen) -> Decision | None:
        """Compares."""
        score = seen.values.get(ACCURACY, -seen.values[LOSS])
        if self.best is not None and score <= self.best[1]:
            return None
        self.best = seen.epoch, score
        return Decision(result=seen.epoch)

    def keeps(self) -> Collection[int]:
        """The best so far."""
        return () if self.best is None else self.best[:1]

    def state(self) -> dict[str, Any]:
        """The best epoch and what it reached."""
        return {"best": None if self.best is None else list(self.best)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on comparing."""
        self.best = None if state["best"] is None else (int(state["best"][0]), float(state["best"][1]))
