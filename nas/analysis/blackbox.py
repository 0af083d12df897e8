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
from nas.genotype import Genotype
from nas.printable import shown

# Queries of all seeds together, of which a few numbers each are held in memory.
LARGEST = 20_000_000
# Points of a curve over seconds.
POINTS = 200
# What is asked for above a cost's budget is free, so a search might not end: questions, at most, per query.
IN_VAIN = 100
# Architectures that room is made for at once.
BLOCK = 4096


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


@dataclass
class Listed:
    """What algorithms ask of architectures that are all known.

    Attributes:
        architectures: of the space.
        rewards_N: what an algorithm is told of each, in percent, by its place among all.
        seconds_N: what a query costs, above 0; None for a budget of queries.
        within_N: which are within the budget of a cost; None for all.
    """

    architectures: Any
    rewards_N: np.ndarray
    seconds_N: np.ndarray | None = None
    within_N: np.ndarray | None = None

    def places(self, codes_SE: np.ndarray) -> np.ndarray:
        """The place [S] of each code."""
        return self.architectures.index(codes_SE)


class Asked:
    """The same where figures are predicted when they are asked for: of a space that nobody can list.

    Args:
        architectures: of the space.
        ask: architecture -> its reward in percent, and whether it is within the budget of a cost.
        constrained: whether there is such a budget.

    Attributes:
        genotypes: the architectures that have been asked for, by their places among these.
    """

    seconds_N = None

    def __init__(
        self, architectures: Any, ask: Callable[[Genotype], tuple[float, bool]], constrained: bool = False
    ):
        self.architectures, self._ask, self._constrained = architectures, ask, constrained
        self.genotypes: list[Genotype] = []
        self._places: dict[Genotype, int] = {}
        self._codes: dict[bytes, int] = {}
        self._rewards_N, self._within_N = np.empty(0), np.empty(0, dtype=bool)

    @property
    def rewards_N(self) -> np.ndarray:
        """The rewards of what has been asked for."""
        return self._rewards_N[: len(self.genotypes)]

    @property
    def within_N(self) -> np.ndarray | None:
        """Which of it is within the budget of a cost; None where there is none."""
        return self._within_N[: len(self.genotypes)] if self._constrained else None

    def places(self, codes_SE: np.ndarray) -> np.ndarray:
        """The place [S] of each code; asks for what has not been asked for."""
        return np.array([self._place(code_E) for code_E in codes_SE])

    def _place(self, code_E: np.ndarray) -> int:
        # Of one width, whatever kind of whole numbers an algorithm has.
        key = code_E.astype(np.int64).tobytes()
        if key not in self._codes:
            genotype = self.architectures.genotype(code_E)
            if genotype not in self._places:
                self._add(genotype)
            self._codes[key] = self._places[genotype]
        return self._codes[key]

    def _add(self, genotype: Genotype) -> None:
        place = len(self.genotypes)
        if place == len(self._rewards_N):
            self._rewards_N = np.resize(self._rewards_N, 2 * place + BLOCK)
            self._within_N = np.resize(self._within_N, 2 * place + BLOCK)
        self._rewards_N[place], self._within_N[place] = self._ask(genotype)
        self._places[genotype] = place
        self.genotypes.append(genotype)


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
    return search_in(Listed(architectures, rewards_N, seconds_N, within_N), algorithm, draws, budget, watch)


def search_in(
    known: Listed | Asked,
    algorithm: Any,
    draws: Any,
    budget: Budget,
    watch: Callable[[Sequence], Iterable] = iter,
) -> Searches:
    """The same by figures that are listed, or predicted.

    Args:
        known: what is told of an architecture.
        algorithm: as for `search`.
        draws: likewise.
        budget: likewise; of seconds where figures are listed.
        watch: likewise.

    Raises:
        ConfigError: as `search`.
    """
    seeds, architectures = len(draws), known.architectures
    constrained, timed = known.within_N is not None, known.seconds_N is not None
    algorithm.constrained = constrained
    algorithm.start(architectures, draws)
    most = most_queries(budget, seeds, known.seconds_N)
    beyond = np.nan if algorithm.passes_over else 0.0
    if constrained:
        most = max(most, min(most * IN_VAIN, LARGEST // seeds))
    limit = budget.limit
    counted = not constrained and not timed
    asked, spent, spent_S = [], [], np.zeros(seeds)
    for _ in watch(range(most)):
        if bool((spent_S >= limit).all()):
            break
        codes_SE = algorithm.ask()
        index_S = known.places(_checked(codes_SE, architectures, seeds, algorithm))
        told_S = known.rewards_N[index_S]
        price_S = np.ones(seeds) if known.seconds_N is None else known.seconds_N[index_S]
        if known.within_N is not None:
            within_S = known.within_N[index_S]
            told_S, price_S = np.where(within_S, told_S, beyond), np.where(within_S, price_S, 0.0)
        algorithm.tell(codes_SE, told_S)
        asked.append(index_S)
        spent_S = spent_S + price_S
        if not counted:
            spent.append(spent_S)
    index_QS, spent_QS = np.array(asked, dtype=np.int32), np.array(spent)
    if counted:
        return Searches(index_QS, np.full(seeds, len(index_QS)), known.rewards_N[index_QS], None)
    # A query is made if there was something left before it.
    made_S = 1 + (spent_QS[:-1] < limit).sum(0)
    seen_N = known.rewards_N if known.within_N is None else np.where(known.within_N, known.rewards_N, -np.inf)
    return Searches(index_QS, made_S, seen_N[index_QS], spent_QS, "seconds" if timed else "queries")


def _checked(codes_SE: Any, architectures: Any, seeds: int, algorithm: Any) -> np.ndarray:
    shape = (seeds, len(architectures.sizes_E))
    codes = np.asarray(codes_SE)
    whole = codes.shape == shape and np.issubdtype(codes.dtype, np.integer)
    if whole and bool(((codes >= 0) & (codes < architectures.sizes_E)).all()):
        return codes
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
