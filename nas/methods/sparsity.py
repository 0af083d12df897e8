"""How hard a method prices scaling factors, which of them are alive, and which may not all die.

A factor is alive unless it is exactly 0; there is no threshold (Zhang et al. 2018, section 3.2). Nothing here
reads a tensor's value to the host.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from nas.errors import ConfigError, require, require_one_of

ADAPTIVE = ("none", "flops", "count", "memory", "latency")


class GroupCosts(Protocol):
    """What the connections of one edge group cost, as the space knows it.

    Attributes:
        memory_EO: memory access cost of the operation that a connection feeds, divided by the largest one.
    """

    memory_EO: Tensor

    def share(self, alive_EO: Tensor) -> Tensor:
        """Multiply-adds of what is alive, after cleaning, divided by those of the whole group; a scalar."""

    def count(self, alive_EO: Tensor) -> Tensor:
        """The authors' surrogate of it, which counts operations; a scalar."""


class Guarded(Protocol):
    """A rule of a group: at least `least` of these rows keep a factor that is not 0."""

    @property
    def rows(self) -> Sequence[int]: ...

    @property
    def least(self) -> int: ...


class Sparsity:
    """The price gamma of a scaling factor, made to depend on what it costs, and when the dead are removed.

    What `adaptive` multiplies gamma with:

    - `none`: 1.
    - `flops` (equation 9): for a whole group, its multiply-adds that are alive divided by all of its
      multiply-adds. A group that is still large is pruned harder.
    - `count`: the same with the authors' code's surrogate: separable and output convolutions counted, pooling
      free.
    - `memory` (equation 10): for each connection, the memory access cost of the operation that it feeds
      divided by the largest one.
    - `latency` (authors' code): for each connection, from 0.5 for the fastest to 1 for the slowest of its
      group's operations that are alive, linearly in the seconds that one saves by dropping it; 1 for what is
      dead, and where all take the same time. The authors measure the network without each connection in turn,
      every epoch, and give the largest gamma to the one without which the network is fastest; here the
      operation that a connection feeds is measured, once.

    Args:
        gamma: weight of the L1 norm in the objective (equation 5), at least 0. The paper gives none; its code
            has 0.001 for CIFAR and 0.01 for ImageNet.
        adaptive: see above.
        prune_every: epochs between two removals of what is dead, 5 (CIFAR) or 1 (ImageNet) in the authors'
            code; None to remove nothing before the end.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    def __init__(self, gamma: float, adaptive: str = "none", prune_every: int | None = 5):
        require(0 <= gamma < float("inf"), f"method.gamma={gamma}: must be at least 0 and finite")
        require_one_of("method.adaptive", adaptive, ADAPTIVE)
        require(
            prune_every is None or prune_every >= 1,
            f"method.prune_every={prune_every}: must be null (never) or at least 1 epoch",
        )
        self.gamma = gamma
        self.adaptive = adaptive
        self.prune_every = prune_every
        self._placed: dict[str, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def scales(
        self,
        alpha: Mapping[str, Tensor],
        costs: Mapping[str, GroupCosts] | None = None,
        seconds: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """What gamma is multiplied with at the present scaling factors.

        Args:
            alpha: scaling factors [E, O] a group.
            costs: of every group; for `flops`, `count` and `memory`.
            seconds: {group: [E, O]}, measured times of the operations that the connections feed; for
                `latency`. Two measurements never agree, so a search that is to be resumed has to keep them.

        Returns:
            For each group a scalar, or a tensor [E, O], on the device of its alpha.

        Raises:
            ConfigError: what `adaptive` needs is missing for a group, or means nothing for it.
        """
        if self.adaptive == "none":
            return {group: alpha_EO.new_ones(()) for group, alpha_EO in alpha.items()}
        known: Mapping[str, Any] = (seconds if self.adaptive == "latency" else costs) or {}
        missing = sorted(set(alpha) - set(known))
        if missing:
            what = "measured times" if self.adaptive == "latency" else "costs"
            raise ConfigError(
                f"method.adaptive={self.adaptive}: needs {what}, and there are none for group "
                f"{', '.join(missing)}; use none"
            )
        return {group: self._scale(group, alpha_EO != 0, known[group]) for group, alpha_EO in alpha.items()}

    def _scale(self, group: str, alive_EO: Tensor, known: Any) -> Tensor:
        if self.adaptive == "flops":
            return known.share(alive_EO).to(alive_EO.device)
        if self.adaptive == "count":
            return known.count(alive_EO).to(alive_EO.device)
        if self.adaptive == "memory":
            return self._constant(group, known.memory_EO, alive_EO.device)
        return _slowness(alive_EO, self._constant(group, known, alive_EO.device))

    def _constant(self, group: str, values_EO: Tensor, device: torch.device) -> Tensor:
        """What never changes, on alpha's device: copied there once, and not in every step."""
        given, placed = self._placed.get(group, (None, None))
        if given is not values_EO or placed is None or placed.device != device:
            placed = values_EO.to(device)
            self._placed[group] = (values_EO, placed)
        return placed


def _slowness(alive_EO: Tensor, seconds_EO: Tensor) -> Tensor:
    least = seconds_EO.where(alive_EO, torch.inf).amin()
    most = seconds_EO.where(alive_EO, -torch.inf).amax()
    return (0.5 + 0.5 * (seconds_EO - least) / (most - least)).where(alive_EO & (most > least), 1.0)


@torch.no_grad()
def guard(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], guards: Mapping[str, Sequence[Guarded]]
) -> dict[str, Tensor]:
    """Takes back the part of a step that would leave too few rows alive.

    If fewer than `least` of the guarded rows have a factor that is not 0, the missing number of rows is given
    back: those of the dead rows with the largest factor before the step, ties to the row that the rule names
    first, and of each the largest factor alone, with the value that it had. Nothing else changes. So if a
    rule held before a step it holds after it; rows that were dead before cannot be given back.

    Args:
        before: scaling factors [E, O] a group before the step; sizes are absolute values.
        after: the same after it.
        guards: the rules of a group; a group without any may be left out.

    Returns:
        What the factors should be, {group: [E, O]}, as new tensors.
    """
    guarded = {group: after_EO.clone() for group, after_EO in after.items()}
    for group, rules in guards.items():
        for rule in rules:
            # Row by row: indexing with a list would copy the list to the device.
            was_RO, now_RO = (
                torch.stack([values_EO[row] for row in rule.rows])
                for values_EO in (before[group], guarded[group])
            )
            for row, values_O in zip(rule.rows, _given_back(was_RO, now_RO, rule.least), strict=True):
                guarded[group][row] = values_O
    return guarded


def _given_back(was_RO: Tensor, now_RO: Tensor, least: int) -> Tensor:
    size_R, best_R = was_RO.abs().max(dim=1)
    lives_R = (now_RO != 0).any(dim=1)
    rank_R = size_R.masked_fill(lives_R, torch.inf).sort(descending=True, stable=True).indices
    needed_R = torch.zeros_like(lives_R).scatter(0, rank_R[:least], True)
    best_R1 = best_R[:, None]
    row_RO = torch.zeros_like(now_RO).scatter(1, best_R1, was_RO.gather(1, best_R1))
    return torch.where((needed_R & ~lives_R)[:, None], row_RO, now_RO)
