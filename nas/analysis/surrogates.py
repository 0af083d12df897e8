"""What a surrogate predicts of architectures, in place of a table of trained ones.

A surrogate is anybody's callable, genotype -> {column: figure}, such as NAS-Bench-301 (Zela et al. 2022) for
the space of DARTS. Columns that end in `_test` or `_val` are accuracies in percent, all others costs. Nobody
knows how its space is ranked, so there is no rank, no optimum and no front.
"""

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence

from nas.analysis.benchmark_table import fraction, is_accuracy
from nas.analysis.cost_table import TAKEN
from nas.analysis.tabular import METRICS, STANDING, Tabular
from nas.errors import ConfigError, require
from nas.genotype import Genotype
from nas.printable import shown
from nas.randomness import generators_kept

log = logging.getLogger(__name__)
KEY = "tabular.surrogate"
PREDICTED_BY = "predicted_by"
# What it is called with, and what it is to return; ends messages.
FORM = "a surrogate takes an architecture and returns {column: figure}"


class Predicted:
    """A surrogate as a run reads it.

    Each architecture is asked for once. One on which the surrogate fails has blank figures: the first is
    told, and the search goes on.

    Args:
        call: genotype -> {column: figure}.
        by: its import path, for what is said of it.
        some: architectures of the space, on which it is tried.
        metric: the column that judges; `auto` for that of the data set.
        dataset: that is searched on.

    Attributes:
        metric: the column that judges; None where none fits the data set.
        accuracies: its columns of accuracies, by name.
        prices: its columns of costs, by name.
        costs: none, as of a table without any.

    Raises:
        ConfigError: it cannot be called, fails on one of these, or returns what are no figures of one.
    """

    costs = None

    def __init__(
        self,
        call: Callable[[Genotype], Mapping[str, float]],
        by: str,
        some: Sequence[Genotype],
        metric: str | None = "auto",
        dataset: str = "",
    ):
        self.by, self._where = by, f"{KEY}={by}"
        require(callable(call), f"{self._where}: builds a {type(call).__name__}, which is not called; {FORM}")
        self._call, self._failed = call, False
        self._known = {genotype: self._ask(genotype) for genotype in some}
        self._blank: dict[Genotype, ConfigError] = {}
        names = tuple(sorted(next(iter(self._known.values()))))
        for genotype, found in self._known.items():
            self._same(names, found, genotype)
        self.accuracies = tuple(name for name in names if is_accuracy(name))
        self.prices = tuple(name for name in names if not is_accuracy(name))
        require(
            len(self.accuracies) > 0,
            f"{self._where}: no column of accuracies (a name that ends in _test or _val); it returns "
            f"{', '.join(names) or 'nothing'}",
        )
        for name in self.accuracies:
            most = max(one[name] for one in self._known.values())
            require(
                most > 1,
                f"{self._where}: column {name!r} is {most:g} at most; accuracies must be in percent",
            )
        self.metric = self._metric_of(metric, dataset)

    def _same(self, names: Sequence[str], found: Mapping[str, float], genotype: Genotype) -> None:
        require(
            set(found) == set(names),
            f"{self._where}: must return the same columns for every architecture, not {', '.join(names)} for "
            f"one and {', '.join(found) or 'none'} for another ({shown(str(genotype), 100)})",
        )

    def _metric_of(self, metric: str | None, dataset: str) -> str | None:
        if metric == "auto":
            fitting = (METRICS.get(dataset), f"{dataset}_test", f"{dataset}_val")
            return next((name for name in fitting if name in self.accuracies), None)
        require(
            metric is None or metric in self.accuracies,
            f"tabular.metric={shown(str(metric))}: {self._where} has no such accuracies; it returns "
            f"{', '.join(self.accuracies)}",
        )
        return metric

    def _ask(self, genotype: Genotype) -> dict[str, float]:
        """Its figures of an architecture; raises `ConfigError` where they are none."""
        of = f"of {shown(str(genotype), 100)}"
        try:
            with generators_kept():
                found = self._call(genotype)
        except (Exception, SystemExit) as error:
            said = " ".join(str(error).split())[:300]
            raise ConfigError(f"{self._where}: fails: {type(error).__name__}: {said} ({of})") from error
        require(isinstance(found, Mapping), f"{self._where}: returned a {type(found).__name__} {of}; {FORM}")
        return {self._name(name): self._number(name, value, of) for name, value in found.items()}

    def _name(self, name: object) -> str:
        good = isinstance(name, str) and re.fullmatch(r"\w[\w.-]{0,63}", name) is not None
        require(good, f"{self._where}: column {shown(str(name), 40)!r} is no name of letters, digits and _")
        require(
            name not in (*TAKEN, *STANDING, "metric", PREDICTED_BY),
            f"{self._where}: column {name!r} has a name that means something else here; rename it",
        )
        return str(name)

    def _number(self, name: object, value: object, of: str) -> float:
        about = f"{self._where}: {name} is {shown(str(value), 40)} {of}"
        try:
            number = math.nan if isinstance(value, str | bool) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError, RuntimeError):
            number = math.nan
        require(math.isfinite(number), f"{about}; must be a finite number")
        if is_accuracy(str(name)):
            require(0 <= number <= 100, f"{about}; accuracies must be in percent, from 0 to 100")
        else:
            require(number > 0, f"{about}; costs must be above 0")
        return number

    def ask(self, genotype: Genotype) -> dict[str, float]:
        """All figures of an architecture; raises `ConfigError` where the surrogate fails on it."""
        if genotype in self._blank:
            raise self._blank[genotype]
        if genotype not in self._known:
            try:
                found = self._ask(genotype)
                self._same((*self.accuracies, *self.prices), found, genotype)
            except ConfigError as error:
                self._blank[genotype] = error
                raise
            self._known[genotype] = found
        return self._known[genotype]

    def figures(self, genotype: Genotype) -> dict[str, float]:
        """The same, and none where it fails."""
        try:
            return self.ask(genotype)
        except ConfigError as error:
            if not self._failed:
                log.warning("%s; what it fails on is left blank, which is said once", error)
            self._failed = True
            return {}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of `metrics.csv` that `row` fills."""
        if self.metric is not None:
            return ("table_accuracy",)
        return tuple(f"table_{name}_accuracy" for name in self.accuracies)

    @property
    def best(self) -> None:
        """The highest accuracy of all, which nobody knows."""
        return None

    def accuracy(self, genotype: Genotype) -> float | None:
        """The judging accuracy, in percent; None if there is none."""
        return None if self.metric is None else self.figures(genotype).get(self.metric)

    def price(self, genotype: Genotype, name: str) -> float | None:
        """A cost; None if there is none."""
        return self.figures(genotype).get(name)

    def row(self, genotype: Genotype) -> dict[str, float | int | None]:
        """An architecture as columns of `metrics.csv`: accuracies are fractions there, None where unknown."""
        wanted = self.accuracies if self.metric is None else (self.metric,)
        figures = self.figures(genotype)
        return dict(zip(self.columns, (fraction(figures.get(name)) for name in wanted), strict=True))

    def report(self, genotype: Genotype) -> dict[str, float | int | str | None]:
        """What `summary.json` holds as `table`: the figures, by what they are predicted, and no standing."""
        unknown = dict.fromkeys(STANDING)
        return {**self.figures(genotype), **unknown, "metric": self.metric, PREDICTED_BY: self.by}

    def words(self, genotype: Genotype) -> str:
        """The same in one line for a person."""
        figures = self.figures(genotype)
        first = () if self.metric is None else (self.metric,)
        names = dict.fromkeys((*first, *self.accuracies))
        known = ", ".join(f"{name} {figures[name]:.2f}" for name in names if name in figures)
        return f"{known} (predicted by {self.by}, not trained)" if known else f"{self.by} predicts nothing"


# What a run looks its architectures up in.
LookUp = Tabular | Predicted
