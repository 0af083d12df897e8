"""Where a black-box search has its figures from: a table of all architectures, or a surrogate."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from omegaconf import DictConfig

from nas.algorithms.algorithm import Algorithm, Draws
from nas.analysis.benchmark_table import BenchmarkTable, read_csv
from nas.analysis.blackbox import Asked, Budget, Listed, Searches, column_of, most_queries, search_in
from nas.analysis.natsbench import SCHEDULES, read_natsbench
from nas.analysis.surrogates import KEY, Predicted
from nas.analysis.tabular import SURROGATE, open_tabular
from nas.commands.blackbox_costs import Costs, costs_of
from nas.commands.costs import of_table
from nas.commands.tables import look_up_of
from nas.errors import ConfigError, require, require_one_of
from nas.genotype import Genotype
from nas.running.config import RunFailed, plain

Watch = Callable[[Sequence], Iterable]


class OfTable:
    """Figures of a table that answers for every architecture of the space.

    Args:
        config: of the command.
        budget: of each search.
        seeds: how many searches there are.
        space: whose architectures they are of.

    Attributes:
        genotypes: the architectures, by their places.
        rewards_N: what an algorithm is told of each.
        finals: the columns that searches are judged by, name -> [N].
        shown: the one that curves show.
        left_out: columns that lack architectures, and how many.
        costs: what the architectures cost; None where that is not asked.
        by: None; of a surrogate its import path.

    Raises:
        ConfigError: a setting cannot be used, or the table lacks an architecture.
    """

    by: str | None = None

    def __init__(self, config: DictConfig, budget: Budget, seeds: int, space: Any):
        self.architectures = space.architectures()
        tabular = open_tabular(plain(config.tabular), space.family, "")
        if tabular is None:
            raise ConfigError(
                "tabular.file=null: name the table that is searched on, tabular.file=<file>, or what "
                f"predicts figures, tabular={SURROGATE}"
            )
        require(
            len(self.architectures) <= len(tabular.table),
            f"{tabular.table.source}: has {len(tabular.table):,} architectures, and space={space.name} "
            f"{len(self.architectures):,}; a search may ask for any of them",
        )
        self.genotypes = [self.architectures.genotype(code) for code in self.architectures.all()]
        self._names = [str(one) for one in self.genotypes]
        given = config.reward
        table = reward_table(config, tabular.table)
        self.rewards_N = column_of(table, given.metric, "reward.metric", self._names, table.accuracies)
        self.seconds_N = self._seconds(config, budget, table)
        most_queries(budget, seeds, self.seconds_N)
        self.finals, self.left_out = self._finals(tabular.table, tabular.metric)
        self.shown = tabular.metric or shown_of(given.metric, self.finals)
        self.costs = costs_of(config, tabular, self.shown, space, self.genotypes)
        self.within_N = None if self.costs is None else self.costs.within_N
        if self.within_N is not None:
            lowest = float(self.rewards_N[self.within_N].min())
            require(
                lowest >= 0,
                f"reward.metric={given.metric}: goes down to {lowest:g}, and of what is above tabular.budget "
                "an algorithm may be told 0; rewards must not be negative",
            )

    def search(self, algorithm: Algorithm, draws: Draws, budget: Budget, watch: Watch) -> Searches:
        """Lets the algorithm ask."""
        known = Listed(self.architectures, self.rewards_N, self.seconds_N, self.within_N)
        return search_in(known, algorithm, draws, budget, watch)

    def best(self, figure_N: np.ndarray) -> float | None:
        """The best of the table, of what is within the budget where there is one."""
        return float((figure_N if self.within_N is None else figure_N[self.within_N]).max())

    def _seconds(self, config: DictConfig, budget: Budget, table: BenchmarkTable) -> np.ndarray | None:
        name, seconds = config.reward.seconds, budget.seconds
        require(
            seconds is None or name is not None,
            f"budget.seconds={seconds}: reward.seconds must name the column of what a query costs; "
            f"{table.source} has {', '.join(table.columns)}",
        )
        require(
            seconds is not None or name is None,
            f"reward.seconds={name}: queries are counted; it goes with budget.seconds",
        )
        if name is None:
            return None
        found = column_of(table, name, "reward.seconds", self._names, table.columns)
        require(
            found.min() > 0, f"reward.seconds={name}: {table.source} has {found.min()} s; must be above 0"
        )
        return found

    def _finals(
        self, table: BenchmarkTable, metric: str | None
    ) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        """The test columns, and of those that are left out how many architectures they lack."""
        finals, left_out = {}, {}
        for name in table.accuracies:
            lacking = table.column(name, self._names).count(None)
            if name == metric or (name.endswith("_test") and not lacking):
                finals[name] = column_of(table, name, "tabular.metric", self._names, table.accuracies)
            elif name.endswith("_test"):
                left_out[name] = lacking
        require(
            len(finals) > 0,
            f"{table.source}: no column of test accuracies (_test) has all {len(self._names):,} "
            "architectures",
        )
        return finals, left_out


class OfSurrogate:
    """Figures that a surrogate predicts when they are asked for, in a space that nobody has to list.

    Nobody knows the best of such a space. Before `search` nothing has been asked for.

    Args:
        config: of the command.
        budget: of each search, in queries.
        seeds: how many searches there are.
        space: whose architectures they are of.

    Attributes:
        genotypes, rewards_N, finals, shown, left_out, costs, by: as of `OfTable`, of what has been asked for.

    Raises:
        ConfigError: a setting cannot be used, or the space has no moves to search by.
    """

    def __init__(self, config: DictConfig, budget: Budget, seeds: int, space: Any):
        self.architectures = space.architectures()
        given = config.reward
        for key, value in (("file", given.file), ("epochs", given.epochs), ("seconds", given.seconds)):
            require(value is None, f"reward.{key}={value}: of a table; here tabular={SURROGATE} says rewards")
        require(
            budget.seconds is None,
            f"budget.seconds={budget.seconds}: nobody has said what a query of tabular={SURROGATE} costs; "
            "budget.queries=<number>",
        )
        most_queries(budget, seeds, None)
        surrogate = look_up_of(config, space, "")
        assert isinstance(surrogate, Predicted)  # that is what has been asked for
        require(
            given.metric in surrogate.accuracies,
            f"reward.metric={given.metric}: {KEY}={surrogate.by} returns no such accuracies; it returns "
            f"{', '.join(surrogate.accuracies)}",
        )
        self.by, self._surrogate, self._reward = surrogate.by, surrogate, given.metric
        self._costed = of_table(plain(config.tabular), surrogate, space)
        names = [one for one in surrogate.accuracies if one.endswith("_test")] or [given.metric]
        if surrogate.metric is not None and surrogate.metric not in names:
            names.append(surrogate.metric)
        self.shown = surrogate.metric or shown_of(given.metric, names)
        self.left_out: dict[str, int] = {}
        self.genotypes: list[Genotype] = []
        self.rewards_N, self.finals = np.empty(0), {name: np.empty(0) for name in names}
        self.costs: Costs | None = None
        self.within_N: np.ndarray | None = None

    def search(self, algorithm: Algorithm, draws: Draws, budget: Budget, watch: Watch) -> Searches:
        """Lets the algorithm ask.

        Raises:
            RunFailed: the surrogate fails on an architecture.
        """
        constrained = self._costed is not None and self._costed.budget is not None
        known = Asked(self.architectures, self._ask, constrained)
        found = search_in(known, algorithm, draws, budget, watch)
        self.genotypes, self.rewards_N, self.within_N = known.genotypes, known.rewards_N, known.within_N
        told = [self._surrogate.ask(one) for one in self.genotypes]
        self.finals = {name: np.array([one[name] for one in told]) for name in self.finals}
        self.costs = None if self._costed is None else Costs(self._costed, self.genotypes)
        return found

    def _ask(self, genotype: Genotype) -> tuple[float, bool]:
        try:
            figures = self._surrogate.ask(genotype)
        except ConfigError as error:
            told = str(error)
        else:
            costed = self._costed
            within = costed is None or costed.budget is None or figures[costed.of] <= costed.budget
            return figures[self._reward], within
        # Not from there: it breaks in the midst of a run, and no setting can be named that would mend it.
        raise RunFailed(f"{told}; a black-box search needs the figures of all that it asks for")

    def best(self, figure_N: np.ndarray) -> None:
        """Nobody knows."""


def shown_of(reward: str, finals: Iterable[str]) -> str:
    """The column that curves show: the test column of the data that gave the reward, else the first."""
    names = list(finals)
    stem = reward.removesuffix("_val").removesuffix("_test")
    return f"{stem}_test" if f"{stem}_test" in names else names[0]


def reward_table(config: DictConfig, usual: BenchmarkTable) -> BenchmarkTable:
    """The table that rewards come from.

    Raises:
        ConfigError: it cannot be read, or two are named.
    """
    given = config.reward
    require(
        given.file is None or given.epochs is None,
        f"reward.file={given.file}, reward.epochs={given.epochs}: a file has the figures of one schedule; "
        "set reward.epochs=null",
    )
    if given.file is not None:
        return read_csv(given.file, "reward.file")
    if given.epochs is None:
        return usual
    require_one_of("reward.epochs", given.epochs, SCHEDULES)
    require(
        config.tabular.name == "natsbench",
        f"reward.epochs={given.epochs}: only of tabular=natsbench; a CSV table of that schedule is named by "
        "reward.file=<file>",
    )
    return read_natsbench(config.tabular.file, given.epochs, config.tabular.cache)
