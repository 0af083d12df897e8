"""An early stop by the number of skip connections."""

from typing import Any

from nas.errors import require, require_whole
from nas.methods.monitors.base import Decision, Monitor, Seen


class Skips(Monitor):
    """Stops when the normal cell holds too many skips; the result is the cell of that epoch.

    The first criterion of DARTS+ (Liang et al. 2019). `num_skip` counts those that would be derived now.

    Args:
        limit: the number of skips that ends the search; paper 2.

    Raises:
        ConfigError: it is below 1.
    """

    needs = ("num_skip",)

    def __init__(self, limit: int = 2):
        require_whole("method.monitors: limit", limit, 1)
        self.limit = limit

    def check(self, method: Any) -> None:
        """Raises `ConfigError` where the method derives fewer skips than would end the search."""
        require(
            method.max_skips is None or self.limit <= method.max_skips,
            f"method.monitors: limit={self.limit}: is never reached where "
            f"method.max_skips={method.max_skips}, of which at most so many are derived",
        )

    def end_epoch(self, seen: Seen) -> Decision | None:
        """Counts."""
        skips = int(seen.values["num_skip"])
        return Decision(stop=f"{skips} skips, limit {self.limit}") if skips >= self.limit else None
