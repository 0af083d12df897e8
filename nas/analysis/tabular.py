"""Tabular benchmarks: what an architecture of NAS-Bench-201 reaches when it is trained, looked up.

NAS-Bench-201 (Dong and Yang 2020) trained all 15,625 cells of its space on three data sets. Its figures come
from a CSV file or from the official NATS-Bench files (Dong et al. 2021). Accuracies are in percent, as in the
benchmark. No torch in here.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from nas.analysis.benchmark_table import BenchmarkTable, fraction, read_csv
from nas.analysis.constrained import Front
from nas.analysis.cost_table import FLOOR, CostTable, operations_of, read_costs
from nas.analysis.natsbench import read_natsbench
from nas.errors import require, require_one_of
from nas.genotype import Genotype
from nas.genotype_text import form_of

# Which column judges a search on a data set.
METRICS = {"cifar10": "cifar10_test", "cifar100": "cifar100_test", "imagenet16_120": "in16_test"}
# The `name` of what is no table: figures are predicted (`nas.analysis.surrogates`).
SURROGATE = "surrogate"
# Where an architecture stands among all.
STANDING = ("rank", "of", "gap", "best")


@dataclass(frozen=True)
class Tabular:
    """A table as a run reads it.

    Attributes:
        table: the figures.
        metric: the column that judges this run; None where none fits its data set.
        costs: columns of costs beside it; None for none.
    """

    table: BenchmarkTable
    metric: str | None
    costs: CostTable | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of `metrics.csv` that `row` fills."""
        if self.metric is not None:
            return ("table_accuracy", "table_rank")
        return tuple(f"table_{name}_accuracy" for name in self._tests())

    def _tests(self) -> tuple[str, ...]:
        return tuple(name for name in self.table.accuracies if name.endswith("_test"))

    @property
    def accuracies(self) -> tuple[str, ...]:
        """The columns of accuracies that are not empty, by name."""
        return self.table.accuracies

    @property
    def best(self) -> float | None:
        """The highest judging accuracy of all, in percent; None where no metric fits."""
        return None if self.metric is None else self.table.best(self.metric)

    def accuracy(self, genotype: Genotype) -> float | None:
        """The judging accuracy, in percent; None if the table does not have it."""
        arch = str(genotype)
        if self.metric is None or arch not in self.table:
            return None
        return self.table.lookup(arch).get(self.metric)

    def front(self, costs: Mapping[str, float], operations: Collection[str]) -> Front | None:
        """Accuracy against a cost, over the architectures of these operations of which both are known.

        None where no metric fits.
        """
        if self.metric is None:
            return None
        archs = [arch for arch in costs if arch in self.table and operations_of(arch) <= set(operations)]
        figures = self.table.column(self.metric, archs)
        both = [(costs[arch], value) for arch, value in zip(archs, figures, strict=True) if value is not None]
        return Front([cost for cost, _ in both], [value for _, value in both])

    def row(self, genotype: Genotype) -> dict[str, float | int | None]:
        """An architecture as columns of `metrics.csv`: accuracies are fractions there, None where unknown."""
        arch = str(genotype)
        figures = self.table.lookup(arch) if arch in self.table else {}
        wanted = (self.metric,) if self.metric is not None else self._tests()
        values = [fraction(figures.get(name)) for name in wanted]
        if self.metric is not None:
            values.append(self.table.rank(arch, self.metric) if arch in self.table else None)
        return dict(zip(self.columns, values, strict=True))

    def report(self, genotype: Genotype) -> dict[str, float | int | str | None]:
        """What `summary.json` holds as `table`: the figures as looked up, and where they stand.

        `metric`, `rank`, `of`, `gap` and `best` are None where no metric fits or the table has no figure.
        """
        arch = str(genotype)
        known = arch in self.table
        standing = dict.fromkeys(STANDING)
        if self.metric is not None:
            standing |= {"of": self.table.count(self.metric), "best": self.best}
            gap = self.table.gap(arch, self.metric) if known else None
            if gap is not None:
                standing |= {"rank": self.table.rank(arch, self.metric), "gap": round(gap, 6)}
        return {**(self.table.lookup(arch) if known else {}), "metric": self.metric, **standing}

    def words(self, genotype: Genotype) -> str:
        """The same in one line for a person."""
        figures = self.report(genotype)
        others = [
            f"{name} {figures[name]:.2f}" for name in self._tests() if name in figures and name != self.metric
        ]
        if self.metric is None or figures["rank"] is None:
            known = ", ".join(others)
            return known or "this architecture is not in it"
        line = (
            f"{self.metric} {figures[self.metric]:.2f}, rank {figures['rank']:,} of {figures['of']:,}, "
            f"{figures['gap']:.2f} below the best ({figures['best']:.2f})"
        )
        return f"{line}; {', '.join(others)}" if others else line


def open_tabular(settings: Mapping, family: str, dataset: str) -> Tabular | None:
    """The table that the group `tabular` asks for; None if it asks for none.

    Args:
        settings: keys `name`, `file`, `metric` of a table; of `natsbench` also `epochs` and `cache`;
            `costs` and `cost_floor` where a run has them.
        family: the space's family; `nas.genotype_text` says which have tables.
        dataset: the data set that is searched on; decides what `metric: auto` means.

    Raises:
        ConfigError: it asks for a surrogate, the space is not tabular, the table cannot be read, or it lacks
            the metric.
    """
    name = settings["name"]
    require_one_of("tabular.name", name, ("none", "csv", "natsbench", SURROGATE))
    require(
        name != SURROGATE,
        f"tabular={SURROGATE}: it says what an architecture would reach, and here a table of all of them is "
        "looked up, tabular.file=<file>; nas.search, nas.blackbox, nas.rank and the fronts of nas.derive "
        "take a surrogate",
    )
    file, metric, costs = settings["file"], settings["metric"], settings.get("costs")
    floor = settings.get("cost_floor", FLOOR)
    require(
        costs is not None or floor == FLOOR,
        f"tabular.cost_floor={floor}: without effect where tabular.costs=null",
    )
    if name == "none" and file is None:
        require(
            costs is None,
            f"tabular.costs={costs}: costs stand beside accuracies, tabular.file=<CSV>",
        )
        return None
    given = f"tabular={name}" if file is None else f"tabular.file={file}"
    require(
        form_of(family).tabular,
        f"{given}: a table has nothing to say about this space (it makes architectures of {family!r}); "
        "use space=nasbench201, or tabular=none without a tabular.file",
    )
    require(
        file is not None,
        f"tabular={name}: tabular.file must say where the table is "
        + ("(a .csv or .csv.gz file)" if name == "csv" else "(the folder NATS-tss-v1_0-3ffb9-simple)"),
    )
    if name == "natsbench":
        table = read_natsbench(file, settings["epochs"], settings["cache"])
    else:
        table = read_csv(file)
    if metric == "auto":
        metric = METRICS.get(dataset)
    if metric is not None:
        table.count(metric)  # refuses a column that is not there
    found = None
    if costs is not None:
        found = read_costs(costs, table.columns, floor=floor)
        found.tell()
    return Tabular(table, metric, found)
