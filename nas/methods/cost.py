"""The expected cost of the architecture as a term of alpha's objective: parameters or multiply-adds."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nas.errors import require, require_one_of


class ExpectedCost:
    """weight times what candidates cost on average, in units of that average at equal op weights.

    With strengths s (the expected op weights) and costs c of every candidate of every edge, of all cells that
    follow the edge's group together, the expected cost is E = sum s c, and U the same at op weights of 1/O.

    - `linear`: weight * E / U (Cai et al. 2019, equations 6 and 7, with parameters in place of latency).
    - `log`: weight * log(E / U) (Xie et al. 2019, section 2.3, whose code takes the logarithm). Where all
      that is kept is free, there is nothing to gain and no gradient.

    Args:
        of: `params` (parameters) or `macs` (multiply-adds per image), both as in the supernet.
        weight: above 0.
        form: see above.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    def __init__(self, of: str = "params", weight: float = 0.0, form: str = "linear"):
        require_one_of("method.cost.of", of, ("params", "macs"))
        require_one_of("method.cost.form", form, ("linear", "log"))
        require(weight >= 0, f"method.cost.weight={weight}: must be at least 0")
        self.of = of
        self.weight = weight
        self.form = form
        self.shares: dict[str, Tensor] = {}

    def attach(self, costs: Mapping[str, Any]) -> None:
        """Hears what the candidates of each group cost, [E, O] a group as `params_EO` or `macs_EO`.

        Raises:
            ConfigError: the space does not say that of its candidates, or they are all free.
        """
        missing = sorted(group for group, cost in costs.items() if not hasattr(cost, f"{self.of}_EO"))
        require(
            not missing,
            f"method.cost.of={self.of}: this space does not say what each candidate of {', '.join(missing)} "
            "costs; set method.cost.weight=0",
        )
        counts = {group: getattr(cost, f"{self.of}_EO").double() for group, cost in costs.items()}
        uniform = sum(float(cost_EO.sum()) / cost_EO.shape[1] for cost_EO in counts.values())
        require(uniform > 0, f"method.cost.of={self.of}: no candidate of this space has any; use another")
        self.shares = {group: cost_EO / uniform for group, cost_EO in counts.items()}

    def penalty(self, strengths: Mapping[str, Tensor]) -> Tensor:
        """The term of the objective, a scalar, at strengths {group: [E, O]}, 0 for what is dropped."""
        terms = [(strengths[g] * share_EO.to(strengths[g])).sum() for g, share_EO in self.shares.items()]
        expected = torch.stack(terms).sum()
        if self.form == "log":
            expected = expected.clamp_min(torch.finfo(expected.dtype).tiny).log()
        return self.weight * expected
