"""The expected cost of the architecture as a term of alpha's objective, at a price that may move."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from nas.errors import require, require_one_of

# What is counted of the supernet's candidates; any other cost is told (`ExpectedCost.told`).
COUNTED = ("params", "macs")
MULTIPLIERS = ("lagrangian", "adaptive")
UNTOLD = (
    "method.cost.of={of}: nobody has said what each candidate costs; known are params, macs, latency "
    "(method.cost.table) and the columns of tabular.costs or of a surrogate, which nas.search reads"
)


class ExpectedCost:
    """price times what candidates cost on average, in units of that average at equal op weights.

    With strengths s (the expected op weights) and costs c of every candidate of every edge, of all cells that
    follow the edge's group together, the expected cost is E = sum s c, and U the same at op weights of 1/O.

    - `linear`: price * E / U (Cai et al. 2019, equations 6 and 7).
    - `log`: price * log(E / U) (Xie et al. 2019, section 2.3, whose code takes the logarithm). Where all
      that is kept is free, there is nothing to gain and no gradient.

    Without a budget the price is `weight`. With one it moves after every step of alpha, by what the
    architecture costs that would be derived now, C, against the budget B:

    - `lagrangian`: price <- max(0, price + rate * clip(C / B - 1, -1, 1)), from `weight` on. Dual ascent
      whose multiplier sees the cost itself, and alpha the expected one, which has a gradient (the proxy
      Lagrangian of Cotter et al. 2019).
    - `adaptive`: price = weight * C / B, as DSO-NAS's gamma follows the share of the multiply-adds that are
      left (Zhang et al. 2018, equation 9), with the budget in place of the whole block.

    Args:
        of: `params` (parameters) or `macs` (multiply-adds per image), both as in the supernet; or another
            cost, which is told.
        weight: at least 0; with a budget the price at the start, or that at the budget.
        form: see above.
        budget: what the derived architecture may cost, inclusive; None for any number.
        multiplier: how the price moves, see above.
        rate: of `lagrangian`, what a step adds at most.
        table: of `latency`, the file that says what pieces take; read by `nas.search`.

    Attributes:
        price: what the term is multiplied with now.
        measure: scores -> what the architecture that is derived from them costs; None where nobody has said,
            or where that is not known.
        estimate: the same by a fit, which knows all; None where there is no fit.
        scale: what an architecture costs at op weights of 1/O, in the cost's unit; None before it is told.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    def __init__(
        self,
        of: str = "params",
        weight: float = 0.0,
        form: str = "linear",
        budget: float | None = None,
        multiplier: str = "lagrangian",
        rate: float = 0.05,
        table: str | None = None,
    ):
        require_one_of("method.cost.form", form, ("linear", "log"))
        require(0 <= weight < float("inf"), f"method.cost.weight={weight}: must be at least 0")
        number = isinstance(budget, int | float) and not isinstance(budget, bool)
        require(
            budget is None or (number and 0 < budget < float("inf")),
            f"method.cost.budget={budget}: must be null or a positive number",
        )
        require_one_of("method.cost.multiplier", multiplier, MULTIPLIERS)
        require(0 < rate < float("inf"), f"method.cost.rate={rate}: must be above 0")
        require(
            budget is None or multiplier != "adaptive" or weight > 0,
            "method.cost.weight=0: method.cost.multiplier=adaptive multiplies it, which moves nothing; "
            "above 0, or lagrangian",
        )
        require(
            (table is None) or of == "latency",
            f"method.cost.table={table}: read by method.cost.of=latency alone, not {of}",
        )
        self.of, self.weight, self.form = of, weight, form
        self.budget, self.multiplier, self.rate, self.table = budget, multiplier, rate, table
        self.price = float(weight)
        self.measure: Callable[[Mapping[str, Tensor]], float | None] | None = None
        self.estimate: Callable[[Mapping[str, Tensor]], float] | None = None
        self.shares: dict[str, Tensor] = {}
        self.scale: float | None = None
        self.idle = False

    def told(self, costs: Mapping[str, Tensor]) -> None:
        """Hears what the candidates of each group cost, {group: [E, O]}, at least 0.

        Raises:
            ConfigError: they are all free.
        """
        uniform = sum(float(cost_EO.sum()) / cost_EO.shape[1] for cost_EO in costs.values())
        require(uniform > 0, f"method.cost.of={self.of}: no candidate of this space has any; use another")
        self.scale = uniform
        self.shares = {group: cost_EO.double() / uniform for group, cost_EO in costs.items()}

    def attach(self, costs: Callable[[], Mapping[str, Any]]) -> None:
        """Asks the space what its candidates cost, unless that has been told.

        Args:
            costs: what the candidates of each group cost, [E, O] a group as `params_EO` or `macs_EO`.

        Raises:
            ConfigError: the space does not say that of its candidates, or they are all free.
        """
        if self.shares or self.idle:
            return
        require(self.of in COUNTED, UNTOLD.format(of=self.of))
        counted = costs()
        missing = sorted(group for group, cost in counted.items() if not hasattr(cost, f"{self.of}_EO"))
        require(
            not missing,
            f"method.cost.of={self.of}: this space does not say what each candidate of {', '.join(missing)} "
            "costs; set method.cost.weight=0",
        )
        self.told({group: getattr(cost, f"{self.of}_EO") for group, cost in counted.items()})

    def expected(self, strengths: Mapping[str, Tensor]) -> Tensor:
        """E / U at strengths {group: [E, O]}, a scalar; 0 where nobody has said what candidates cost."""
        if not self.shares:
            return 0.0 * next(iter(strengths.values())).sum()
        # To alpha's device once, and not in every step.
        self.shares = {group: share_EO.to(strengths[group].device) for group, share_EO in self.shares.items()}
        terms = [
            (strengths[g] * share_EO.to(strengths[g].dtype)).sum() for g, share_EO in self.shares.items()
        ]
        return torch.stack(terms).sum()

    def penalty(self, strengths: Mapping[str, Tensor]) -> Tensor:
        """The term of the objective, a scalar, at strengths {group: [E, O]}, 0 for what is dropped."""
        expected = self.expected(strengths)
        if self.form == "log" and self.shares:
            expected = expected.clamp_min(torch.finfo(expected.dtype).tiny).log()
        return self.price * expected

    def within(self, scores: Mapping[str, Tensor]) -> bool:
        """Whether the architecture that is derived from these scores is known to be within the budget."""
        cost = None if self.measure is None else self.measure(scores)
        return cost is not None and self.budget is not None and cost <= self.budget

    def move(self, scores: Mapping[str, Tensor]) -> None:
        """Moves the price after a step of alpha; it stays without a budget, or where the cost is unknown."""
        if self.budget is None or self.measure is None:
            return
        cost = self.measure(scores)
        if cost is None and self.estimate is not None:
            cost = self.estimate(scores)
        if cost is None:
            return
        if self.multiplier == "adaptive":
            self.price = self.weight * cost / self.budget
        else:
            excess = min(1.0, max(-1.0, cost / self.budget - 1.0))
            self.price = max(0.0, self.price + self.rate * excess)
