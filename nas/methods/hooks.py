"""What a method has to say to what is built around it; most methods have nothing to say."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class Hooks:
    """Base class of methods: every hook does nothing.

    Attributes:
        drops_candidates: whether candidates die one by one, so that what is alive is counted and recorded.
        wants_times: whether a step goes by how long each candidate takes, which someone measures or looks up.
        latency_table: file of such times; None to measure them.
        costs: what candidates cost, of a method that has asked for it.
        seconds: {group: [E, O]}, those times.
    """

    drops_candidates: bool = False
    wants_times: bool = False
    latency_table: str | None = None
    costs: Mapping[str, Any] | None = None
    seconds: Mapping[str, Tensor] | None = None

    def attach(self, costs: Callable[[], Mapping[str, Any]], guards: Mapping[str, Sequence[Any]]) -> None:
        """Tells the method what it goes by in this space.

        Args:
            costs: says what the candidates of each group cost; called by a method that asks for it.
            guards: which of a group's rows may not all die.
        """

    def spare(self, guards: Mapping[str, Sequence[Any]]) -> None:
        """Makes a draw spare what it is not about."""

    def needs_no_times(self) -> None:
        """From here on steps are taken for what they need and not for what they find."""

    def check_settings(self, several: bool, implicit_every: int) -> None:
        """Refuses what a search with this method cannot do; raises `ConfigError`.

        Args:
            several: whether the search has several processes.
            implicit_every: how often the terms of second order are to be compared, 0 for never.
        """

    def has_step(self, name: str) -> bool:
        """Whether a search takes steps of this name: `weight`, `first_order`, `second_order`, ..."""
        return True

    def begin(self, clean: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
        """Drops what need not wait for the search; `clean` leaves of a mask what has an effect."""

    def leave(
        self,
        index: int,
        clean: Callable[[dict[str, Tensor]], dict[str, Tensor]],
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        """Drops what the `index`-th leg of the search begins without.

        Args:
            index: of the leg, from 0.
            clean: leaves of a mask {group: bool [E, O]} what has an effect in the space.
            optimizer: of alpha; forgets the moments of what is dropped.
        """

    def alive(self) -> dict[str, Tensor]:
        """Which candidates count, {group: bool [E, O]}, of a method that drops them one by one."""
        return {}

    def spending(self) -> dict[str, float]:
        """What is recorded each epoch of a search with a budget: the expected cost, and its price."""
        return {}

    def compared(self, mask_EO: Tensor) -> Tensor:
        """Which op weights tell whether the search has learnt, out of those that are kept."""
        return mask_EO
