"""`python -m nas.blackbox`: searches that see an architecture's figure alone, by a table or a surrogate."""

import logging
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, open_dict
from rich.console import Console
from rich.table import Table

from nas.algorithms.algorithm import Algorithm, Draws
from nas.analysis.blackbox import Budget, Searches, curve, mean_std
from nas.analysis.plots.incumbents import draw_incumbents
from nas.analysis.surrogates import PREDICTED_BY
from nas.analysis.tabular import SURROGATE
from nas.commands.blackbox_figures import OfSurrogate, OfTable
from nas.domains.networks import space_of
from nas.engine.progress import watch
from nas.errors import require
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
    require(
        config.resume is None,
        f"resume={config.resume}: nothing is kept before the end (a table takes seconds, a surrogate as long "
        "as its predictions); start it anew",
    )
    session = Session(config, path)
    comparison = BlackBox(config, budget)
    session.open(None)
    session.run(lambda: comparison.run(session))


class BlackBox:
    """One algorithm, many seeds: everything that can be refused is built on construction."""

    def __init__(self, config: DictConfig, budget: Budget):
        self.config, self.budget = config, budget
        self.seeds = range(config.seed, config.seed + config.seeds)
        self.algorithm = algorithm_of(config)
        space = space_of(config)
        require(
            len(space.architectures().changed_K) > 0,
            f"space.operations: space={space.name} has one architecture with them, nothing to search",
        )
        of = OfSurrogate if config.tabular.name == SURROGATE else OfTable
        self.figures: OfSurrogate | OfTable = of(config, budget, len(self.seeds), space)

    def run(self, session: Session) -> None:
        """Searches, writes, draws and prints."""
        config, figures = self.config, self.figures
        for name, lacking in figures.left_out.items():
            print(f"left out: {name}, which the table lacks for {lacking:,} architectures", flush=True)
        draws = Draws(self.seeds)
        found = figures.search(self.algorithm, draws, self.budget, lambda steps: watch("asking", steps))
        rows = curve(found, {REWARD: figures.rewards_N} | figures.finals)
        if not rows:
            raise RunFailed(
                f"none of {len(self.seeds)} seeds has asked for an architecture within tabular.budget; give "
                "them more queries (budget.queries, budget.seconds) or a higher tabular.budget"
            )
        write_text(session.folder / "curve.csv", csv_table(tuple(rows[0]), rows))
        last_S = self._write_seeds(session, found)
        self._tell_unspent(found, last_S)
        title = f"{config.algorithm.name}, {len(self.seeds)} seeds, reward {config.reward.metric}"
        best = figures.best(figures.finals[figures.shown])
        draw_incumbents(
            rows, figures.shown, best, session.folder.figures / "curve.png", title, session.caption
        )
        there_S = last_S[last_S >= 0]
        chosen = figures.genotypes[there_S[figures.rewards_N[there_S].argmax()]]
        write_text(session.folder / "genotype.json", chosen.to_json() + "\n")
        session.summary |= {
            "algorithm": config.algorithm.name,
            "n": len(there_S),
            "queries": round(float(found.queries().mean()), 6),
            "genotype": str(chosen),
            "reward_metric": config.reward.metric,
        }
        self._sum_up(session, there_S)
        if figures.costs is not None:
            session.summary |= figures.costs.report(last_S, figures.finals[figures.shown])
        print(f"run folder: {session.folder.path}", flush=True)

    def _tell_unspent(self, found: Searches, last_S: np.ndarray) -> None:
        """Says of how many seeds the algorithm went on to ask for what is above the budget."""
        if self.figures.within_N is None or found.spent_QS is None:
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
            for name, figure_N in ({REWARD: self.figures.rewards_N} | self.figures.finals).items():
                row[name] = figure_N[place] if place >= 0 else None
            row |= {} if self.figures.costs is None else self.figures.costs.of(place)
            rows.append(row | {"genotype": str(self.figures.genotypes[place]) if place >= 0 else None})
        write_text(session.folder / "seeds.csv", csv_table(tuple(rows[0]), rows))
        return last_S

    def _sum_up(self, session: Session, last_S: np.ndarray) -> None:
        """Adds mean, deviation, optimum and regret of every figure to the summary, and prints them."""
        n, figures = len(last_S), self.figures
        best = figures.best(figures.finals[figures.shown])
        means = {name: mean_std(figure_N[last_S])[0] for name, figure_N in figures.finals.items()}
        # What nas.sweeps makes a table of.
        standing = {"metric": figures.shown, "best": best, "gap": _below(means[figures.shown], best)}
        predicted = {} if figures.by is None else {PREDICTED_BY: figures.by}
        session.summary["table"] = means | standing | predicted
        best_heading = "best of the table" if figures.within_N is None else "best within the budget"
        headings = ("figure", "mean ± std", "n", *(() if figures.by else (best_heading, "regret")))
        table = Table(title=f"what the incumbents of {n} seeds reach (%)")
        for heading in headings:
            table.add_column(heading, justify="left" if heading == "figure" else "right")
        for name, figure_N in ({REWARD: figures.rewards_N} | figures.finals).items():
            (mean, spread), best = mean_std(figure_N[last_S]), figures.best(figure_N)
            session.summary |= {
                name: mean,
                f"{name}_std": spread,
                f"{name}_best": best,
                f"{name}_regret": _below(mean, best),
            }
            reached = f"{mean:.2f}" + ("" if spread is None else f" ± {spread:.2f}")
            named = f"{name} ({self.config.reward.metric})" if name == REWARD else name
            table.add_row(
                named, reached, str(n), *(() if best is None else (f"{best:.2f}", f"{best - mean:.2f}"))
            )
        Console().print(table)
        if figures.by is not None:
            print(
                f"predicted by {figures.by}, not trained; {len(figures.genotypes):,} architectures were "
                "asked for, and nobody knows the best of the space"
            )


def _below(mean: float, best: float | None) -> float | None:
    return None if best is None else round(best - mean, 6)


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
