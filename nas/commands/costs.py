"""What a search's architecture costs: which cost is logged, in what unit, and within which budget."""

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from nas.analysis.constrained import Front
from nas.analysis.cost.linear import POOR, USELESS, LinearCosts, fit_costs, keeps_every_edge
from nas.analysis.cost.whole_space import range_of
from nas.analysis.cost_table import operations_of
from nas.analysis.costed import MET, Costed
from nas.analysis.surrogates import KEY, LookUp, Predicted
from nas.analysis.tabular import Tabular
from nas.commands.cost_ranges import COUNTED, LATENCY, UNITS, Counting, drawn, part, predictor
from nas.errors import require
from nas.genotype import Genotype, parse
from nas.printable import shown
from nas.running.config import plain

log = logging.getLogger(__name__)
# Architectures of a column that a fit looks at, those that are held out among them.
LOOKED_AT = 2500


def check_budget_value(key: str, budget: Any) -> None:
    """Refuses a budget that is no positive number; raises `ConfigError`."""
    number = isinstance(budget, int | float) and not isinstance(budget, bool)
    require(
        budget is None or (number and 0 < budget < float("inf")),
        f"{key}={shown(str(budget))}: must be null or a positive number",
    )


def refuse(config: Any) -> None:
    """Refuses keys of costs in a command that logs none; raises `ConfigError`."""
    for key in ("costs", "cost", "cost_unit", "budget"):
        value = config.tabular.get(key)
        require(
            value is None,
            f"tabular.{key}={value}: without effect in nas.{config.command}; nas.search and nas.blackbox "
            "log costs",
        )


def of_table(settings: Mapping, tabular: LookUp | None, space: Any) -> Costed | None:
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
            f"tabular.{key}={value}: of which cost? tabular.cost=<column of "
            f"{'the surrogate' if isinstance(tabular, Predicted) else 'tabular.costs'}>",
        )
    if cost is None:
        return None
    if isinstance(tabular, Predicted):
        return _of_surrogate(tabular, cost, unit, budget)
    require(
        tabular is not None and tabular.costs is not None,
        f"tabular.cost={cost}: a column of which file? tabular.costs=<CSV>",
    )
    assert isinstance(tabular, Tabular)
    return column_costed(tabular, cost, space, unit, budget, "tabular.budget")


def _of_surrogate(surrogate: Predicted, name: str, unit: str | None, budget: float | None) -> Costed:
    """A cost that a surrogate predicts; raises `ConfigError` where it predicts none of that name."""
    require(
        name in surrogate.prices,
        f"tabular.cost={name}: {KEY}={surrogate.by} returns no such cost; of costs it returns "
        f"{', '.join(surrogate.prices) or 'none'}",
    )

    def price(genotype: Genotype) -> float | None:
        return surrogate.price(genotype, name)

    return Costed(name, price, unit, budget, None, surrogate.accuracy, predicted=True)


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


def costed_of(
    config: DictConfig, space: Any, source: Any, method: Any, tabular: LookUp | None, count: Counting
) -> Costed | None:
    """The cost that a search logs, if any; the method is told what its own cost is of.

    Args:
        config: of the search.
        space: the search space.
        source: the data set.
        method: the search method.
        tabular: the table that the configuration names.
        count: architecture -> parameters and multiply-adds of its network.

    Raises:
        ConfigError: a cost is not known, a key is set that nothing reads, or no architecture is within the
            budget.
    """
    found = _logged(config, space, source, method, tabular, count)
    if found is None:
        require(
            tabular is None or tabular.costs is None or bool(config.get("plan")),
            "tabular.costs: which of its columns? tabular.cost=<column> logs one, method.cost.of=<column> is "
            "searched by",
        )
        return None
    # Of a budget of the method's own the summary says whether it is met under the usual name.
    return replace(found, met=f"cost_{MET}") if method.budget else found


def _logged(
    config: DictConfig, space: Any, source: Any, method: Any, tabular: LookUp | None, count: Counting
) -> Costed | None:
    settings = plain(config.tabular)
    cost = method.cost
    columns = _columns(tabular)
    own_unit = cost is not None and cost.of in columns and settings.get("cost") is None
    unit = settings.get("cost_unit") if own_unit else None
    logged = of_table({**settings, "cost_unit": None} if own_unit else settings, tabular, space)
    if cost is None or (cost.of in COUNTED and cost.budget is None):
        return logged
    if cost.of in (*COUNTED, LATENCY):
        own = _of_networks(config, space, source, method, tabular, count)
    else:
        require(
            cost.of in columns,
            f"method.cost.of={cost.of}: unknown; known are {', '.join((*COUNTED, LATENCY, *columns))}"
            + ("" if columns else ", and the columns of tabular.costs=<CSV>"),
        )
        of_column = _of_predicted if isinstance(tabular, Predicted) else _of_column
        own = of_column(tabular, space, cost, unit)
    _let_measure(cost, own, space)
    if logged is None:
        return own
    if logged.of != own.of:
        return replace(logged, proxy=own)
    require(
        None in (logged.budget, own.budget) or logged.budget == own.budget,
        f"tabular.budget={logged.budget}, method.cost.budget={own.budget}: one cost, two budgets",
    )
    return replace(own, unit=logged.unit, budget=own.budget if logged.budget is None else logged.budget)


def _columns(tabular: LookUp | None) -> tuple[str, ...]:
    """The costs that a table or a surrogate has."""
    if isinstance(tabular, Predicted):
        return tabular.prices
    return () if tabular is None or tabular.costs is None else tuple(tabular.costs.columns)


def _let_measure(cost: Any, own: Costed, space: Any) -> None:
    """Lets the price follow what is derived; every architecture is priced once."""
    known: dict[Genotype, float | None] = {}

    def measure(scores: Mapping[str, Tensor]) -> float | None:
        genotype = space.derive(scores)
        if genotype not in known:
            known[genotype] = own.price(genotype)
        return known[genotype]

    cost.measure = measure


def _of_column(tabular: LookUp | None, space: Any, cost: Any, unit: str | None) -> Costed:
    """A column as the cost of a method: what each candidate costs is fitted to it."""
    assert isinstance(tabular, Tabular) and tabular.costs is not None
    own = column_costed(tabular, cost.of, space, unit, cost.budget, "method.cost.budget")
    operations = {one for group in space.groups.values() for row in group.operations for one in row}
    values = tabular.costs.column(cost.of, "method.cost.of").values
    archs = sorted(arch for arch in values if operations_of(arch) <= operations)
    random.Random(0).shuffle(archs)
    archs = archs[:LOOKED_AT]
    genotypes = [parse(arch) for arch in archs]
    prices = [values[arch] for arch in archs]
    linear = fit_costs(genotypes, prices, space.groups, f"method.cost.of={cost.of}")
    return _by_fit(cost, own, linear, space, genotypes)


def _of_predicted(tabular: LookUp | None, space: Any, cost: Any, unit: str | None) -> Costed:
    """A cost that a surrogate predicts: what candidates cost is fitted to what it says of a few."""
    assert isinstance(tabular, Predicted)
    own = _of_surrogate(tabular, cost.of, unit, cost.budget)
    some, where = drawn(space), f"method.cost.of={cost.of}"
    found = range_of(own.price, some, space.groups, space.derive, where)
    if found.linear is None:
        known = [(one, price) for one in some if (price := own.price(one)) is not None]
        # Says what keeps it from fitting.
        fit_costs([one for one, _ in known], [price for _, price in known], space.groups, where)
    require(
        cost.budget is None or not found.exact or cost.budget >= found.smallest,
        f"method.cost.budget={cost.budget}: no architecture of this space costs as little; {cost.of} is "
        f"predicted to run from {found.smallest:,.6g} to {found.largest:,.6g}",
    )
    assert found.linear is not None
    return _by_fit(cost, own, found.linear, space, some)


def _by_fit(cost: Any, own: Costed, linear: LinearCosts, space: Any, genotypes: list[Genotype]) -> Costed:
    """Tells a method what candidates cost by a fit, and how far that is off; refuses one that says little."""
    where = f"method.cost.of={cost.of}"
    says = "the surrogate" if own.predicted else "the table"
    line = (
        f"{where}: a cost for each operation of each edge, fitted to {linear.fitted:,} architectures; on "
        f"{linear.held_out:,} others R2 {linear.r2:.3f}, median error {linear.error:.1%}"
    )
    require(linear.r2 >= USELESS, f"{line}. That is no sum over edges: below {USELESS} it is not gone by")
    if linear.r2 < POOR:
        log.warning(
            "%s. Below %s the gradient leads astray; whether the budget is met goes by %s", line, POOR, says
        )
    else:
        log.info("%s", line)
    _tell(cost, linear, space, genotypes)
    cost.estimate = lambda scores: linear(space.derive(scores), space.groups)
    return replace(own, fit=(round(linear.r2, 6), round(linear.error, 6)))


def _tell(cost: Any, linear: LinearCosts, space: Any, genotypes: list[Genotype]) -> None:
    cost.told(linear.from_zero(space.groups, keeps_every_edge(genotypes, space.groups)))


def _of_networks(
    config: DictConfig, space: Any, source: Any, method: Any, tabular: LookUp | None, count: Counting
) -> Costed:
    """Parameters, multiply-adds or latency of evaluation networks as the cost of a method."""
    cost, some = method.cost, drawn(space)
    price: Callable[[Genotype], float]
    if cost.of == LATENCY:
        price = predictor(config, space, source, cost.table)
    else:
        price = part(count, COUNTED.index(cost.of))

    found = range_of(price, some, space.groups, space.derive, f"method.cost.of={cost.of}")
    if cost.of == LATENCY:
        require(
            found.linear is not None, "method.cost.of=latency: all networks of this space take the same time"
        )
        assert found.linear is not None
        _tell(cost, found.linear, space, some)
    require(
        cost.budget is None or not found.exact or cost.budget >= found.smallest,
        f"method.cost.budget={cost.budget}: no architecture of this space costs as little; {UNITS[cost.of]} "
        f"of its evaluation networks run from {found.smallest:,.6g} to {found.largest:,.6g}",
    )
    front = _front(tabular, space, price) if isinstance(tabular, Tabular) else None
    accuracy = (lambda genotype: None) if tabular is None else tabular.accuracy
    return Costed(cost.of, price, UNITS[cost.of], cost.budget, front, accuracy)


def _front(tabular: Tabular, space: Any, price: Callable[[Genotype], float]) -> Front | None:
    """Accuracy in the table against what the networks of its architectures cost."""
    operations = {one for group in space.groups.values() for row in group.operations for one in row}
    if tabular.metric is None:
        return None
    there = [arch for arch in tabular.table.archs if operations_of(arch) <= operations]
    return tabular.front({arch: price(parse(arch)) for arch in there}, operations)
