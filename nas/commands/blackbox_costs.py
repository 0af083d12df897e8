"""Costs in `nas.blackbox`: what architectures cost, which are within the budget, what was found there."""

from dataclasses import replace
from typing import Any

import numpy as np
from omegaconf import DictConfig

from nas.analysis.blackbox import mean_std
from nas.analysis.costed import COST, DISTANCE, MET, REGRET, Costed
from nas.analysis.tabular import Tabular
from nas.commands.costs import of_table
from nas.errors import require
from nas.genotype import Genotype
from nas.running.config import plain


class Costs:
    """A column of `tabular.costs` for every architecture of a space.

    Args:
        costed: the column.
        genotypes: all architectures.

    Attributes:
        within_N: which are within the budget; None where there is none. What is not known is not within.
    """

    def __init__(self, costed: Costed, genotypes: list[Genotype]):
        self._costed = costed
        prices = [costed.price(one) for one in genotypes]
        self._costs_N = np.array([np.nan if price is None else price for price in prices])
        self.within_N = None if costed.budget is None else self._costs_N <= costed.budget

    def of(self, place: int) -> dict[str, float | None]:
        """The column of `seeds.csv`: its cost, blank where that is not known or there is none."""
        cost = self._costs_N[place] if place >= 0 else np.nan
        return {COST: None if np.isnan(cost) else float(cost)}

    def report(self, last_S: np.ndarray, figure_N: np.ndarray) -> dict[str, Any]:
        """What `summary.json` says, means over the seeds of which both figures are known.

        Args:
            last_S: what each seed has found, by its place; -1 of a seed that has found none.
            figure_N: the accuracy that judges, in per cent.
        """
        costed, front = self._costed, self._costed.front
        known_S = last_S[last_S >= 0]
        known_S = known_S[~np.isnan(self._costs_N[known_S])]
        best = None if front is None or costed.budget is None else front.best(costed.budget)
        found: dict[str, Any] = {
            "cost_of": costed.of,
            COST: _mean(self._costs_N[known_S]),
            "cost_unit": costed.unit,
            "cost_budget": costed.budget,
            MET: None if costed.budget is None else bool((last_S >= 0).all()),
            REGRET: None if best is None else _mean(best - figure_N[known_S]),
            DISTANCE: None,
        }
        if front is not None:
            pairs = zip(self._costs_N[known_S], figure_N[known_S], strict=True)
            found[DISTANCE] = _mean(np.array([front.distance(cost, figure) for cost, figure in pairs]))
        return found


def costs_of(
    config: DictConfig, tabular: Tabular, shown: str, space: Any, genotypes: list[Genotype]
) -> Costs | None:
    """The cost that `tabular.cost` names; None where it names none.

    Args:
        config: of the command.
        tabular: the table that it opens.
        shown: the column of test accuracies that optimum and front are of.
        space: whose architectures they are.
        genotypes: all of them.

    Raises:
        ConfigError: there is no such column, a key is set that nothing reads, or no architecture is within
            the budget.
    """
    found = of_table(plain(config.tabular), replace(tabular, metric=shown), space)
    require(
        found is not None or tabular.costs is None,
        f"tabular.costs={config.tabular.costs}: which of its columns? tabular.cost=<column>",
    )
    return None if found is None else Costs(found, genotypes)


def _mean(values: np.ndarray) -> float | None:
    return mean_std(values)[0] if len(values) else None
