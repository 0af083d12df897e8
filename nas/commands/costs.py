"""What a search's architecture costs: which cost is logged, in what unit, and within which budget."""

from collections.abc import Mapping
from typing import Any

from nas.analysis.cost_table import operations_of
from nas.analysis.costed import Costed
from nas.analysis.tabular import Tabular
from nas.errors import require
from nas.genotype import Genotype
from nas.printable import shown


def check_budget_value(key: str, budget: Any) -> None:
    """Refuses a budget that is no positive number; raises `ConfigError`."""
    number = isinstance(budget, int | float) and not isinstance(budget, bool)
    require(
        budget is None or (number and 0 < budget < float("inf")),
        f"{key}={shown(str(budget))}: must be null or a positive number",
    )


def refuse(config: Any) -> None:
    """Refuses tables of costs in a command that reads accuracies alone; raises `ConfigError`."""
    for key in ("costs", "cost", "cost_unit", "budget"):
        value = config.tabular.get(key)
        require(
            value is None,
            f"tabular.{key}={value}: nas.{config.command} reads no costs; nas.search does",
        )


def of_table(settings: Mapping, tabular: Tabular | None, space: Any) -> Costed | None:
    """The cost that `tabular.cost` names, as a search logs it; None where it names none.

    Args:
        settings: the group `tabular`.
        tabular: the table that it opens.
        space: whose architectures the optimum and the front are of.

    Raises:
        ConfigError: there is no such column, or a key is set that nothing reads.
    """
    cost, unit, budget = (settings.get(key) for key in ("cost", "cost_unit", "budget"))
    check_budget_value("tabular.budget", budget)
    for key, value in (("cost_unit", unit), ("budget", budget)):
        require(
            value is None or cost is not None,
            f"tabular.{key}={value}: of which cost? tabular.cost=<column of tabular.costs>",
        )
    if cost is None:
        return None
    require(
        tabular is not None and tabular.costs is not None,
        f"tabular.cost={cost}: a column of which file? tabular.costs=<CSV>",
    )
    assert tabular is not None
    return column_costed(tabular, cost, space, unit, budget, "tabular.budget")


def column_costed(
    tabular: Tabular, name: str, space: Any, unit: str | None, budget: float | None, key: str
) -> Costed:
    """A column of the tables of costs, as a search logs it.

    Args:
        tabular: has costs.
        name: of the column.
        space: whose architectures there are.
        unit: of the column.
        budget: what an architecture may cost.
        key: that says so.

    Raises:
        ConfigError: there is no such column, or no architecture is within the budget.
    """
    assert tabular.costs is not None
    where = "tabular.cost" if key.startswith("tabular") else "method.cost.of"
    column = tabular.costs.column(name, where)
    operations = {one for group in space.groups.values() for row in group.operations for one in row}
    there = {arch: cost for arch, cost in column.values.items() if operations_of(arch) <= operations}
    require(len(there) > 0, f"{where}={name}: {tabular.costs.source} has no architecture of this space")
    least, most = min(there.values()), max(there.values())
    require(
        budget is None or budget >= least,
        f"{key}={budget}: no architecture of this space costs as little; {name} runs from {least:g} to "
        f"{most:g}",
    )

    def price(genotype: Genotype) -> float | None:
        return column.values.get(str(genotype))

    def rank(cost: float) -> tuple[int, int]:
        return column.rank(cost), column.equals(cost)

    return Costed(name, price, unit, budget, tabular.front(there, operations), tabular.accuracy, rank)
