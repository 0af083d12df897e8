"""What the architectures of a search's space cost: smallest, in the middle and largest, of each cost."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from omegaconf import DictConfig

from nas.analysis.constrained import Front
from nas.analysis.cost.latency_table import Predictor, read_table
from nas.analysis.cost.pricing import EdgePrices, WholePrices
from nas.analysis.cost.whole_space import CostRange, range_of
from nas.analysis.cost_table import operations_of
from nas.analysis.surrogates import LookUp, Predicted
from nas.commands.latency import check_pieces, pieces_of
from nas.domains.networks import cost_of, size_overrides
from nas.errors import require
from nas.genotype import Genotype
from nas.running.printed import command_for

# Architecture -> parameters and multiply-adds.
Counting = Callable[[Genotype], tuple[int, int]]
COUNTED = ("params", "macs")
LATENCY = "latency"
UNITS = {"params": "parameters", "macs": "multiply-adds", LATENCY: "ms"}
# Architectures that are drawn: where every edge has a choice, and where connections are dropped one by one.
DRAWN, FEW = 1000, 20


def drawn(space: Any, seed: int = 0, count: int | None = None) -> list[Genotype]:
    """Distinct architectures of the space, every candidate of an edge as likely as another.

    Args:
        space: derives them.
        seed: of the draws.
        count: how many are drawn, equal ones included; None for as many as a range of costs is told by.
    """
    generator = torch.Generator().manual_seed(seed)
    found: dict[Genotype, None] = {}
    for _ in range(count or (DRAWN if has_choices(space) else FEW)):
        scores = {name: torch.rand(group.shape, generator=generator) for name, group in space.groups.items()}
        if not has_choices(space):
            scores = {name: score.where(score < 0.5, 0.0) for name, score in scores.items()}
        found[space.derive(scores)] = None
    return list(found)


def has_choices(space: Any) -> bool:
    """Whether an edge has candidates to choose among."""
    return all(group.shape[1] > 1 for group in space.groups.values())


def counting(config: DictConfig, space: Any, source: Any) -> Counting:
    """Architecture -> parameters and multiply-adds of its evaluation network, without the auxiliary head."""

    def price(genotype: Genotype) -> tuple[int, int]:
        cost = cost_of(config, space, genotype, source=source)
        return cost.params, cost.macs

    return EdgePrices(price) if has_choices(space) else WholePrices(price)


def predictor(
    config: DictConfig, space: Any, source: Any, table: str | None, key: str = "method.cost.table"
) -> Predictor:
    """Architecture -> milliseconds of its evaluation network, as a sum over a table of `nas.latency`.

    Raises:
        ConfigError: there is no table, or the space's networks cannot be cut into pieces.
    """
    require(
        table is not None,
        f"{key}=null: latency is read from a table, which python -m nas.latency measures; name its file or "
        "run folder",
    )
    assert table is not None
    check_pieces(space)
    sizes = [f"++{one}" for one in size_overrides(config, space)]
    again, where = command_for("latency", config, last=sizes, hardware=False), f"{key}={table}"
    pieces = pieces_of(config, space, source)
    return Predictor(read_table(table, key), pieces, again, True, where)


def plan_rows(
    config: DictConfig, space: Any, source: Any, method: Any, tabular: LookUp | None, count: Counting
) -> Iterator[tuple[str, str]]:
    """Rows of a plan: smallest, middle and largest cost of the space, in each unit that is known.

    What is looked up comes first, since networks may take too long to be counted.
    """
    yield "costs of all architectures", "smallest / middle / largest"
    operations = {one for group in space.groups.values() for row in group.operations for one in row}
    for name, column in tabular.costs.columns.items() if tabular is not None and tabular.costs else ():
        costs = [cost for arch, cost in column.values.items() if operations_of(arch) <= operations]
        if costs:
            front = Front(costs, [0.0] * len(costs))
            ends = CostRange(min(costs), front.quantile(0.5), max(costs), len(costs), True)
            yield f"{name} ({len(costs):,} known)", _words(ends)
    some = drawn(space)
    if isinstance(tabular, Predicted):
        yield from _predicted_rows(tabular, some[:FEW])
    if method.cost is not None and method.cost.of == LATENCY:
        predict = predictor(config, space, source, method.cost.table)
        found = range_of(predict, some, space.groups, space.derive, "method.cost.table")
        yield "latency by method.cost.table (ms)", _words(found)
    for place, name in enumerate(COUNTED):
        found = range_of(part(count, place), some, space.groups, space.derive, name)
        yield UNITS[name], _words(found)


def _predicted_rows(surrogate: Predicted, some: Sequence[Genotype]) -> Iterator[tuple[str, str]]:
    """What a surrogate predicts that a few architectures cost."""
    for name in surrogate.prices:
        costs = [cost for one in some if (cost := surrogate.price(one, name)) is not None]
        if costs:
            ends = CostRange(min(costs), statistics.median(costs), max(costs), len(costs), False)
            yield f"{name} (predicted)", _words(ends)


def part(price: Counting, place: int) -> Callable[[Genotype], float]:
    """One of the two numbers of `counting`."""
    return lambda genotype: price(genotype)[place]


def _words(found: CostRange) -> str:
    three = " / ".join(map(_short, (found.smallest, found.middle, found.largest)))
    return three if found.exact or found.smallest == found.largest else f"{three} (of {found.drawn} drawn)"


def _short(cost: float) -> str:
    return f"{cost:,.0f}" if cost >= 10_000 else f"{cost:,.5g}"
