"""`python -m nas.blackbox`: searches that see an architecture's figure alone, on the table of a benchmark."""

import logging
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, open_dict
from rich.console import Console
from rich.table import Table

from nas.algorithms.algorithm import Algorithm, Draws
from nas.analysis.benchmark_table import BenchmarkTable, read_csv
from nas.analysis.blackbox import Budget, Searches, column_of, curve, mean_std, most_queries, search
from nas.analysis.natsbench import SCHEDULES, read_natsbench
from nas.analysis.plots.incumbents import draw_incumbents
from nas.analysis.tabular import open_tabular
from nas.commands.blackbox_costs import costs_of
from nas.domains.networks import space_of
from nas.engine.progress import watch
from nas.errors import ConfigError, require, require_one_of
from nas.files import write_text
from nas.reading.csv_text import csv_table
from nas.running.config import RunFailed, instantiate, plain, typed_keys
from nas.running.session import Session

log = logging.getLogger(__name__)
REWARD = "reward"


def run(config: DictConfig, path: Path) -> None:
    """Searches as configured; see `conf/blackbox.yaml` for every key.

    Raises:
        ConfigError: a setting cannot be used, or a table does not answer for every architecture.
        RunFailed: a search broke down.
    """
    budget = Budget(**plain(config.budget))
    require(config.resume is None, f"resume={config.resume}: it takes seconds; start it anew")
    session = Session(config, path)
    comparison = BlackBox(config, budget)
    session.open(None)
    session.run(lambda: comparison.run(session))


class BlackBox:
    """One algorithm on one table: everything that can be refused is built on construction."""

    def __init__(self, config: DictConfig, budget: Budget):
        self.config, self.budget = config, budget
        self.seeds = range(config.seed, config.seed + config.seeds)
        self.algorithm = algorithm_of(config)
        space = space_of(config)
        self.architectures = space.architectures()
        require(
            len(self.architectures) > 1,
            f"space.operations: space={space.name} has one architecture with them, nothing to search",
        )
        tabular = open_tabular(plain(config.tabular), space.family, "")
        if tabular is None:
            raise ConfigError("tabular.file=null: name the table that is searched on, tabular.file=<file>")
        require(
            len(self.architectures) <= len(tabular.table),
            f"{tabular.table.source}: has {len(tabular.table):,} architectures, and space={space.name} "
            f"{len(self.architectures):,}; a search may ask for any of them",
        )
        self.genotypes = [self.architectures.genotype(code) for code in self.architectures.all()]
        self.names = [str(one) for one in self.genotypes]
        given = config.reward
        table = reward_table(config, tabular.table)
        self.rewards_N = column_of(table, given.metric, "reward.metric", self.names, table.accuracies)
        self.seconds_N = self._seconds(table)
        most_queries(budget, len(self.seeds), self.seconds_N)
        self.finals, self.left_out = self._finals(tabular.table, tabular.metric)
        stem = given.metric.removesuffix("_val").removesuffix("_test")
        self.shown = tabular.metric or next(
            (name for name in self.finals if name == f"{stem}_test"), next(iter(self.finals))
        )
        self.costs = costs_of(config, tabular, self.shown, space, self.genotypes)
        self.within_N = None if self.costs is None else self.costs.within_N
        self._check_within()

    def _check_within(self) -> None:
        if self.within_N is not None:
            lowest, given = float(self.rewards_N[self.within_N].min()), self.config.reward.metric
            require(
                lowest >= 0,
                f"reward.metric={given}: goes down to {lowest:g}, and of what is above tabular.budget an "
                "algorithm may be told 0; rewards must not be negative",
            )

    def _best(self, figure_N: np.ndarray) -> float:
        """The best of the table, of what is within the budget where there is one."""
        return float((figure_N if self.within_N is None else figure_N[self.within_N]).max())

    def _seconds(self, table: BenchmarkTable) -> np.ndarray | None:
        name, seconds = self.config.reward.seconds, self.budget.seconds
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
        found = column_of(table, name, "reward.seconds", self.names, table.columns)
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
            lacking = table.column(name, self.names).count(None)
            if name == metric or (name.endswith("_test") and not lacking):
                finals[name] = column_of(table, name, "tabular.metric", self.names, table.accuracies)
            elif name.endswith("_test"):
                left_out[name] = lacking
        require(
            len(finals) > 0,
            f"{table.source}: no column of test accuracies (_test) has all {len(self.names):,} architectures",
        )
        return finals, left_out

    def run(self, session: Session) -> None:
        """Searches, writes, draws and prints."""
        config = self.config
        for name, lacking in self.left_out.items():
            print(f"left out: {name}, which the table lacks for {lacking:,} architectures", flush=True)
        draws = Draws(self.seeds)
        found = search(
            self.algorithm, self.architectures, draws, self.budget, self.rewards_N, self.seconds_N,
            lambda steps: watch("asking", steps), self.within_N,
        )  # fmt: skip
        rows = curve(found, {REWARD: self.rewards_N} | self.finals)
        if not rows:
            raise RunFailed(
                f"none of {len(self.seeds)} seeds has asked for an architecture within tabular.budget; give "
                "them more queries (budget.queries, budget.seconds) or a higher tabular.budget"
            )
        write_text(session.folder / "curve.csv", csv_table(tuple(rows[0]), rows))
        last_S = self._write_seeds(session, found)
        self._tell_unspent(found, last_S)
        title = f"{config.algorithm.name}, {len(self.seeds)} seeds, reward {config.reward.metric}"
        best = self._best(self.finals[self.shown])
        draw_incumbents(rows, self.shown, best, session.folder.figures / "curve.png", title, session.caption)
        there_S = last_S[last_S >= 0]
        chosen = self.genotypes[there_S[self.rewards_N[there_S].argmax()]]
        write_text(session.folder / "genotype.json", chosen.to_json() + "\n")
        session.summary |= {
            "algorithm": config.algorithm.name,
            "n": len(there_S),
            "queries": round(float(found.queries().mean()), 6),
            "genotype": str(chosen),
            "reward_metric": config.reward.metric,
        }
        self._sum_up(session, there_S)
        if self.costs is not None:
            session.summary |= self.costs.report(last_S, self.finals[self.shown])
        print(f"run folder: {session.folder.path}", flush=True)

    def _tell_unspent(self, found: Searches, last_S: np.ndarray) -> None:
        """Says of how many seeds the algorithm went on to ask for what is above the budget."""
        if self.within_N is None or found.spent_QS is None:
            return
        unspent = int((found.spent_QS[-1] < self.budget.limit).sum())
        if unspent:
            log.warning(
                "%d of %d seeds ended with queries left, %d of them with nothing: what they asked for was "
                "above tabular.budget", unspent, len(self.seeds), int((last_S < 0).sum()),
            )  # fmt: skip

    def _write_seeds(self, session: Session, found: Searches) -> np.ndarray:
        """Writes `seeds.csv`, what each seed has found; returns the architectures' places [S], -1 of none."""
        last_S = found.last()
        spent_S: list = [None] * len(self.seeds)
        if found.spent_QS is not None and found.along == "seconds":
            spent_S = list(found.spent_QS[found.made_S - 1, np.arange(len(self.seeds))])
        rows = []
        for seed, made, place, spent in zip(self.seeds, found.queries(), last_S, spent_S, strict=True):
            row = {"seed": seed, "queries": made, "seconds": spent}
            for name, figure_N in ({REWARD: self.rewards_N} | self.finals).items():
                row[name] = figure_N[place] if place >= 0 else None
            row |= {} if self.costs is None else self.costs.of(place)
            rows.append(row | {"genotype": self.names[place] if place >= 0 else None})
        write_text(session.folder / "seeds.csv", csv_table(tuple(rows[0]), rows))
        return last_S

    def _sum_up(self, session: Session, last_S: np.ndarray) -> None:
        """Adds mean, deviation, optimum and regret of every figure to the summary, and prints them."""
        n, best = len(last_S), self._best(self.finals[self.shown])
        means = {name: mean_std(figure_N[last_S])[0] for name, figure_N in self.finals.items()}
        # What nas.sweeps makes a table of.
        standing = {"metric": self.shown, "best": best, "gap": round(best - means[self.shown], 6)}
        session.summary["table"] = means | standing
        best_heading = "best of the table" if self.within_N is None else "best within the budget"
        table = Table(title=f"what the incumbents of {n} seeds reach (%)")
        for heading in ("figure", "mean ± std", "n", best_heading, "regret"):
            table.add_column(heading, justify="left" if heading == "figure" else "right")
        for name, figure_N in ({REWARD: self.rewards_N} | self.finals).items():
            (mean, spread), best = mean_std(figure_N[last_S]), self._best(figure_N)
            session.summary |= {
                name: mean,
                f"{name}_std": spread,
                f"{name}_best": best,
                f"{name}_regret": round(best - mean, 6),
            }
            reached = f"{mean:.2f}" + ("" if spread is None else f" ± {spread:.2f}")
            named = f"{name} ({self.config.reward.metric})" if name == REWARD else name
            table.add_row(named, reached, str(n), f"{best:.2f}", f"{best - mean:.2f}")
        Console().print(table)


def algorithm_of(config: DictConfig) -> Algorithm:
    """The algorithm of a configuration; its `name` is for reports.

    Raises:
        ConfigError: it cannot be built, is no `Algorithm`, or would be reported under another's name.
    """
    target, typed = config.algorithm.get("_target_"), typed_keys()
    require(
        "algorithm._target_" not in typed or "algorithm.name" in typed,
        f"algorithm._target_={target}: reports would call it {config.algorithm.name}; say "
        "algorithm.name=<name>",
    )
    node = config.algorithm.copy()
    node._set_parent(config)
    with open_dict(node):
        node.pop("name")
    found = instantiate(node)
    require(
        isinstance(found, Algorithm),
        f"algorithm._target_={target}: must be a class that derives from nas.algorithms.Algorithm",
    )
    return found


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
