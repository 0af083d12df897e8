"""A cost with a budget as a part of a method: what it means, and that the result is within it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch

from nas.errors import require
from nas.methods.cost import ExpectedCost
from nas.methods.monitors import Decision, Monitor, Seen
from nas.methods.parameters import Parameters

# As a monitor of the method, by this name.
BUDGET = "budget"


class WithinBudget(Monitor):
    """The result is the architecture of the last epoch that is within the budget; the last one where none is.

    Epochs in which alpha rests do not count: what is derived then, nobody has learnt.

    Args:
        active: epoch -> whether alpha moves in it.
        within: whether the present architecture is within the budget.
    """

    def __init__(self, active: Callable[[int], bool], within: Callable[[], bool]):
        self.active, self.within = active, within
        self.last: int | None = None

    def end_epoch(self, seen: Seen) -> Decision | None:
        """Names the epoch if it is within the budget."""
        if not self.active(seen.epoch) or not self.within():
            return None
        self.last = seen.epoch
        return Decision(result=seen.epoch)

    def keeps(self) -> Collection[int]:
        """The last one within."""
        return () if self.last is None else (self.last,)

    def state(self) -> dict[str, Any]:
        """The last one within."""
        return {"last": self.last}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from there."""
        self.last = None if state["last"] is None else int(state["last"])


def priced(
    cost: Mapping[str, Any] | None, name: str, update: Any, monitors: Mapping[str, Any], selection: Any
) -> ExpectedCost | None:
    """The cost of a method that has one.

    Args:
        cost: the arguments of `ExpectedCost`.
        name: of the method.
        update: of the method.
        monitors: of the method.
        selection: of the method.

    Raises:
        ConfigError: an argument is out of range, or the method has parts that leave no room for it.
    """
    given = dict(cost or {})
    if not given.get("weight") and given.get("budget") is None:
        return None
    found = ExpectedCost(**given)
    key = "weight" if found.budget is None else "budget"
    require(
        update is not None and update.moves,
        f"method.cost.{key}: alpha of method {name} never moves, so that it could act on nothing; "
        + ("0" if key == "weight" else "null"),
    )
    if found.budget is None:
        return found
    deciding = [key for key, monitor in monitors.items() if monitor is not None and monitor.decides]
    require(
        not deciding,
        f"method.monitors.{', '.join(deciding)}: may name another epoch than method.cost.budget, which "
        "takes the last one within; null for one or the other",
    )
    require(
        selection is None,
        "method.selection: takes what the supernet prefers, whatever method.cost.budget is; null for one or "
        "the other",
    )
    return found


class Priced(Parameters):
    """Architecture parameters whose expected cost may have a price.

    Attributes:
        cost: the term of the objective; None for none.
    """

    cost: ExpectedCost | None = None

    @property
    def budgeted(self) -> bool:
        """Whether what is found is to be within a budget."""
        return self.cost is not None and self.cost.budget is not None

    def attach(self, costs: Callable[[], Mapping[str, Any]], guards: Mapping[str, Sequence[Any]]) -> None:
        """Tells the method what candidates cost, if it asks; raises `ConfigError` where nobody has said."""
        if self.cost is not None:
            self.cost.attach(costs)

    def needs_no_times(self) -> None:
        """What is read from tables changes what is found, and not what a step needs."""
        if self.cost is not None:
            self.cost.idle = True

    def move_price(self) -> None:
        """After a step of alpha: the price follows what would be derived now."""
        if self.cost is not None and self.budgeted:
            self.cost.move(self.scores())

    def within_budget(self) -> bool:
        """Whether what would be derived now is known to be within the budget of its cost."""
        return self.cost is not None and self.cost.within(self.scores())

    @torch.no_grad()
    def spending(self) -> dict[str, float]:
        """The expected cost over that of equal op weights, and its price; {} without a budget."""
        if self.cost is None or not self.budgeted:
            return {}
        return {
            "expected_cost": float(self.cost.expected(self.strengths())),
            "cost_multiplier": self.cost.price,
        }

    def get_extra_state(self) -> dict:
        """As of the parameters, and the price of a cost with a budget."""
        moved = {} if self.cost is None or not self.budgeted else {"cost_price": self.cost.price}
        return super().get_extra_state() | moved

    def set_extra_state(self, state: dict) -> None:
        """Takes both; raises `ConfigError` as `Parameters` does."""
        super().set_extra_state(state)
        if self.cost is not None and "cost_price" in state:
            self.cost.price = float(state["cost_price"])
