"""Black-box searches on the table of a benchmark, many seeds side by side, and the curve of their incumbents.

An incumbent is what a search has found so far: of the architectures that it has asked for, the first with the
highest reward. Nothing here trains; a reward and its cost are looked up.

What a network costs on a device is known before it is trained. So what lies above a budget of that kind is
not queried: it takes nothing of the search's own budget and is never an incumbent. The algorithm draws
another in its place where it draws at all; else it is told the lowest reward there is, 0.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.analysis.benchmark_table import BenchmarkTable
from nas.errors import ConfigError, require
from nas.printable import shown

# Queries of all seeds together, of which a few numbers each are held in memory.
LARGEST = 20_000_000
# Points of a curve over seconds.
POINTS = 200
# What is asked for above a cost's budget is free, so a search might not end: questions, at most, per query.
IN_VAIN = 100


@dataclass(frozen=True)
class Budget:
    """When a search ends.

    Attributes:
        queries: how many rewards it sees; one that it has seen before counts again.
        seconds: what its queries cost together. The query that goes beyond it is the last, and counts.

    Raises:
        ConfigError: none of the two is given, or both are, or it is not positive.
    """

    queries: int | None = None
    seconds: float | None = None

    def __post_init__(self):
        require(
            self.queries is not None or self.seconds is not None,
            "budget.queries=null: say how many architectures a search may ask for, such as "
            "budget.queries=100 (or budget.seconds, where the table has training times)",
        )
        require(
            self.queries is None or self.seconds is None,
            f"budget.queries={self.queries}, budget.seconds={self.seconds}: give one of the two; the other "
            "stays null",
        )
        for key in ("queries", "seconds"):
            value = getattr(self, key)
            require(value is None or value > 0, f"budget.{key}={value}: must be positive")

    @property
    def limit(self) -> float:
        """What a search may spend, in the unit that is given."""
        found = self.queries if self.seconds is None else self.seconds
        assert found is not None
        return found


@dataclass(frozen=True)
class Searches:
    """What S searches have asked for, in up to Q questions.

    Attributes:
        index_QS: which architecture, by its place among all.
        made_S: how many of its Q questions the budget of a seed had room for.
        rewards_QS: what they were told; -inf of what is above a cost's budget.
        spent_QS: queries or seconds up to and with each question; None where each is one query.
        along: what is spent, `queries` or `seconds`.
    """

    index_QS: np.ndarray
    made_S: np.ndarray
    rewards_QS: np.ndarray
    spent_QS: np.ndarray | None
    along: str = "queries"

    def queries(self) -> np.ndarray:
        """How many architectures each seed has paid for, [S]."""
        made_QS = np.arange(len(self.index_QS))[:, None] < self.made_S
        return (made_QS & np.isfinite(self.rewards_QS)).sum(0)

    def incumbents(self) -> np.ndarray:
        """Which question of a seed gave its incumbent after each, [Q, S]; -1 where none has yet."""
        queries_Q = np.arange(len(self.index_QS))[:, None]
        rewards_QS = np.where(queries_Q < self.made_S, self.rewards_QS, -np.inf)
        highest_QS = np.maximum.accumulate(rewards_QS)
        better_QS = np.isfinite(rewards_QS)
        better_QS[1:] &= rewards_QS[1:] > highest_QS[:-1]
        return np.maximum.accumulate(np.where(better_QS, queries_Q, -1))

    def last(self) -> np.ndarray:
        """The place of what each seed has found among all architectures, [S]; -1 of a seed without any."""
        seeds_S = np.arange(len(self.made_S))
        query_S = self.incumbents()[self.made_S - 1, seeds_S]
        return np.where(query_S < 0, -1, self.index_QS[query_S, seeds_S])

    def points(self) -> Iterator[tuple[float, np.ndarray]]:
        """The points of a curve, queries or seconds, and how many questions each seed has put there, [S]."""
        if self.spent_QS is None:
            yield from ((done, np.minimum(done, self.made_S)) for done in range(1, len(self.index_QS) + 1))
            return
        most = self.spent_QS[self.made_S - 1, np.arange(len(self.made_S))].max()
        points = (
            range(1, round(float(most)) + 1)
            if self.along == "queries"
            else np.linspace(0, most, POINTS + 1)[1:].tolist()
        )
        for point in points:
            made_S = np.minimum((self.spent_QS <= point).sum(0), self.made_S)
            yield (round(point, 6) if self.along == "seconds" else point), made_S


def most_queries(budget: Budget, seeds: int, seconds_N: np.ndarray | None) -> int:
    """How many queries a seed may come to.

    Raises:
        ConfigError: they are too many to be held.
    """
    most = budget.queries
    if most is None:
        assert budget.seconds is not None and seconds_N is not None
        most = int(np.ceil(budget.seconds / seconds_N.min()))
    require(
        most * seeds <= LARGEST,
        f"seeds={seeds}: up to {most:,} queries of each are more than the {LARGEST:,} that can be held; take "
        "fewer seeds or a smaller budget",
    )
    return most


def search(
    algorithm: Any,
    architectures: Any,
    draws: Any,
    budget: Budget,
    rewards_N: np.ndarray,
    seconds_N: np.ndarray | None = None,
    watch: Callable[[Sequence], Iterable] = iter,
    within_N: np.ndarray | None = None,
) -> Searches:
    """Lets an algorithm ask until the budget of every seed is spent.

    Args:
        algorithm: a `nas.algorithms.Algorithm`.
        architectures: of the space, `nas.spaces.architectures.Architectures`.
        draws: the random numbers of the seeds.
        budget: of each seed.
        rewards_N: what the algorithm is told of each architecture, in percent.
        seconds_N: what a query costs, above 0; None for a budget of queries.
        watch: shows how far it is.
        within_N: which architectures are within the budget of a cost; None for all. A seed whose algorithm
            goes on to ask for others ends after `IN_VAIN` questions a query, without having spent its budget.

    Raises:
        ConfigError: the budget is too large to be held, or the algorithm asks for what there is not.
    """
    seeds = len(draws)
    algorithm.constrained = within_N is not None
    algorithm.start(architectures, draws)
    most = most_queries(budget, seeds, seconds_N)
    beyond = np.nan if algorithm.passes_over else 0.0
    told_N = rewards_N if within_N is None else np.where(within_N, rewards_N, beyond)
    price_N = np.ones(len(rewards_N)) if seconds_N is None else seconds_N
    if within_N is not None:
        most = max(most, min(most * IN_VAIN, LARGEST // seeds))
        price_N = np.where(within_N, price_N, 0.0)
    limit = budget.limit
    counted = within_N is None and seconds_N is None
    asked, spent, spent_S = [], [], np.zeros(seeds)
    for _ in watch(range(most)):
        if bool((spent_S >= limit).all()):
            break
        codes_SE = algorithm.ask()
        index_S = _index(codes_SE, architectures, seeds, algorithm)
        algorithm.tell(codes_SE, told_N[index_S])
        asked.append(index_S)
        spent_S = spent_S + price_N[index_S]
        if not counted:
            spent.append(spent_S)
    index_QS, spent_QS = np.array(asked, dtype=np.int32), np.array(spent)
    if counted:
        return Searches(index_QS, np.full(seeds, len(index_QS)), rewards_N[index_QS], None)
    # A query is made if there was something left before it.
    made_S = 1 + (spent_QS[:-1] < limit).sum(0)
    seen_N = rewards_N if within_N is None else np.where(within_N, rewards_N, -np.inf)
    along = "queries" if seconds_N is None else "seconds"
    return Searches(index_QS, made_S, seen_N[index_QS], spent_QS, along)


def _index(codes_SE: Any, architectures: Any, seeds: int, algorithm: Any) -> np.ndarray:
    shape = (seeds, len(architectures.sizes_E))
    codes = np.asarray(codes_SE)
    whole = codes.shape == shape and np.issubdtype(codes.dtype, np.integer)
    if whole and bool(((codes >= 0) & (codes < architectures.sizes_E)).all()):
        return architectures.index(codes)
    said = shown(codes[:2].tolist()) if codes.shape == shape else f"{codes.dtype} of shape {codes.shape}"
    raise ConfigError(
        f"algorithm: {type(algorithm).__name__}.ask() gave {said}; it must give whole numbers of shape "
        f"{shape}, each below the number of candidates of its edge"
    )


def curve(searches: Searches, figures: Mapping[str, np.ndarray]) -> list[dict[str, float | int | None]]:
    """What the incumbents reach over the budget: for each figure its mean and deviation over the seeds.

    Args:
        searches: what was asked for.
        figures: name -> [N], a figure of every architecture, by its place among all.

    Returns:
        Rows `queries` or `seconds`, `n` (seeds with an incumbent by then), and of every figure `<name>`
        (mean) and `<name>_std` (sample standard deviation; None of a single seed).
    """
    incumbents_QS, seeds_S = searches.incumbents(), np.arange(len(searches.made_S))
    rows = []
    for point, made_S in searches.points():
        query_S = np.where(made_S > 0, incumbents_QS[made_S - 1, seeds_S], -1)
        there_S = seeds_S[query_S >= 0]
        if len(there_S) == 0:
            continue
        index_S = searches.index_QS[query_S[there_S], there_S]
        row: dict[str, float | int | None] = {searches.along: point, "n": len(there_S)}
        for name, figure_N in figures.items():
            row[name], row[f"{name}_std"] = mean_std(figure_N[index_S])
        rows.append(row)
    return rows


def mean_std(values: np.ndarray) -> tuple[float, float | None]:
    """Mean and sample standard deviation, None of a single value, without the noise of a sum."""
    spread = round(float(values.std(ddof=1)), 6) if len(values) > 1 else None
    return round(float(values.mean()), 6), spread


def column_of(
    table: BenchmarkTable, name: str, key: str, names: Sequence[str], known: Sequence[str]
) -> np.ndarray:
    """A column of a table for every architecture of a space, [N].

    Args:
        table: where it is looked up.
        name: of the column.
        key: that says so, for messages.
        names: the architectures, as text.
        known: the columns that it may be.

    Raises:
        ConfigError: the table has no such column, or lacks it for some of the architectures.
    """
    require(
        name in known,
        f"{key}={shown(name)}: {table.source} has no such column; it has {', '.join(known)}",
    )
    figures = table.column(name, names)
    missing = [arch for arch, value in zip(names, figures, strict=True) if value is None]
    require(
        not missing,
        f"{key}={shown(name)}: {table.source} has no figure there for {len(missing):,} of the space's "
        f"{len(names):,} architectures, such as {missing[0] if missing else ''}; a search may ask for any of "
        "them. Rewards can come from a table of their own: reward.file=<file>",
    )
    return np.array(figures, dtype=float)
