"""The front of several searches: what each has found, accuracy against cost, beside the exact one."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from rich.table import Table

from nas.analysis.constrained import Front, hypervolume
from nas.analysis.cost_table import operations_of
from nas.analysis.plots.fronts import draw_fronts
from nas.analysis.sampling import COSTS, pareto_front
from nas.analysis.surrogates import PREDICTED_BY, LookUp, Predicted
from nas.analysis.tabular import SURROGATE
from nas.commands.cost_ranges import COUNTED, LATENCY, UNITS, counting, part, predictor
from nas.commands.derived_run import with_run
from nas.commands.tables import look_up_of
from nas.domains.networks import genotype_of, size_overrides, source_of, space_of
from nas.engine import trainer
from nas.engine.progress import console
from nas.errors import ConfigError, require, require_one_of
from nas.files import subfolder, write_text
from nas.genotype import Genotype, parse
from nas.printable import shown
from nas.reading.csv_text import csv_table
from nas.reading.json_text import read_object
from nas.reading.plain import is_number
from nas.running.config import typed_keys
from nas.running.runs import read_runs
from nas.running.saved import read_config
from nas.running.session import Session

log = logging.getLogger(__name__)
# Keys that a front of several searches reads, beside those of groups.
READ = ("run", "front", "trust", "traceback", "outputs", "latency.table", "dataset.root", "dataset.file")


@dataclass
class Point:
    """What one search has found.

    Attributes:
        run: its folder.
        genotype: the architecture.
        cost: by the cost of the front; None where it is not known.
        accuracy: in the table, in per cent; None where it is not known.
        front: whether no other of the searches beats it.
        budget: what it was asked to cost at most; None for any number, or of another cost.
        met: whether it does; None without a budget.
    """

    run: Path
    genotype: Genotype
    cost: float | None = None
    accuracy: float | None = None
    front: bool = False
    budget: float | None = None
    met: bool | None = None


def folders_of(run: Any) -> list[Path] | None:
    """The searches that `run=` names if they are several: a list, or a folder of runs; None for one search.

    Raises:
        ConfigError: it names none that has found an architecture.
    """
    if isinstance(run, ListConfig):
        require(len(run) > 0, "run=[]: name the run folders of searches")
        # A search that is named twice is one.
        return list(dict.fromkeys(Path(str(one)).expanduser().absolute() for one in run))
    folder = None if run is None else Path(str(run)).expanduser().absolute()
    if folder is None or (folder / "config.yaml").is_file() or not folder.is_dir():
        return None
    # Fewer would be one search, whose own folder says what it is.
    found = [place for place in read_runs(folder).places if _has_found(place)]
    require(
        len(found) > 0,
        f"run={run}: no run folder there (config.yaml is missing), and no search that has found a cell below",
    )
    return found


def refuse_table(config: DictConfig) -> None:
    """Refuses a table where one search alone is derived from, which does not look into it."""
    typed = sorted(key for key in typed_keys() if key.split(".")[0] == "tabular")
    require(
        not typed,
        f"{', '.join(typed)}: read where run= names several searches; a search looks its own architecture up",
    )


def _has_found(place: Path) -> bool:
    if not (place / "genotype.json").is_file():
        return False
    try:
        return read_config(place / "config.yaml", str(place)).get("command") == "search"
    except ConfigError as error:
        log.warning("left out: %s", error)
        return False


def run_front(config: DictConfig, path: Path, folders: Sequence[Path]) -> None:
    """Draws the front as configured; see `conf/derive.yaml`.

    Raises:
        ConfigError: a setting cannot be used, or the searches cannot be compared.
    """
    groups = ("tabular", "recipe")
    idle = [key for key in sorted(typed_keys()) if key not in READ and key.split(".")[0] not in groups]
    require(
        not idle,
        f"{', '.join(idle)}: without effect where run= names several searches, whose found architectures are "
        "compared",
    )
    require(
        config.tabular.name == SURROGATE or config.tabular.file is not None,
        "tabular.file=null: the searches are compared by a table of accuracies (or a surrogate); scores of "
        "different searches have no common scale",
    )
    trainer.quiet()
    comparison = Fronts(config, folders, typed_keys())
    session = Session(comparison.config, path)
    session.open(None)
    session.run(lambda: comparison.run(session))


class Fronts:
    """The searches, and how they are judged: everything that can be refused is built on construction.

    Args:
        config: of `nas.derive`.
        folders: of the searches.
        typed: the keys that were set for this front.
    """

    def __init__(self, config: DictConfig, folders: Sequence[Path], typed: Collection[str]):
        configs = []
        for folder in folders:
            one = config.copy()
            one.run = str(folder)
            configs.append(with_run(one))
        first = configs[0]
        space, source = space_of(first), source_of(first)
        for other in configs[1:]:
            require(
                other.dataset.name == first.dataset.name or config.tabular.metric != "auto",
                f"run={other.run}: a search on {other.dataset.name}, {first.run} on "
                f"{first.dataset.name}; tabular.metric=<column> says by which accuracy they are compared",
            )
            same = space_of(other)
            require(
                same.family == space.family and size_overrides(other, same) == size_overrides(first, space),
                f"run={other.run}: its networks are not those of {first.run} ({same.name} with "
                f"{', '.join(size_overrides(other, same))}; {space.name} with "
                f"{', '.join(size_overrides(first, space))}), so that their costs do not compare",
            )
        self.space = space
        self.tabular = self._table(first)
        self.axis = config.front or "params"
        self._refuse_idle(typed)
        self.price, self.unit = self._cost(first, source)
        self.points = [self._point(one) for one in configs]
        self.config: Any = OmegaConf.create(OmegaConf.to_container(first, resolve=True))
        self.config.run = [str(folder) for folder in folders]

    def _point(self, config: DictConfig) -> Point:
        """What a search has found, and what it was asked for if that was of the front's cost."""
        folder = Path(config.run)
        found = Point(folder, genotype_of(config, self.space, str(folder / "genotype.json")))
        said = read_object(folder / "summary.json") if (folder / "summary.json").is_file() else {}
        budget: Any = said.get("cost_budget")
        met = said.get("budget_met")
        own = read_config(folder / "config.yaml", str(folder)) if self.axis == LATENCY else None
        # Milliseconds of another device are another cost.
        table = None if own is None else OmegaConf.select(own, "method.cost.table")
        alike = own is None or Path(str(table)).absolute() == Path(str(config.latency.table)).absolute()
        if alike and said.get("cost_of") == self.axis and is_number(budget, 0) and isinstance(met, bool):
            found.budget, found.met = float(budget), met
        return found

    def _refuse_idle(self, typed: Collection[str]) -> None:
        """Refuses what was typed for another cost than that of the front; raises `ConfigError`."""
        ours = self.axis in (*COUNTED, LATENCY)
        idle = {"tabular.costs", "tabular.cost_unit"} if ours else set()
        idle |= set() if self.axis == LATENCY else {"latency.table"}
        idle |= set() if ours else {key for key in typed if key.startswith("recipe.")}
        found = sorted(idle & set(typed))
        require(not found, f"{', '.join(found)}: without effect where front={self.axis}")

    def _table(self, config: DictConfig) -> LookUp:
        found = look_up_of(config, self.space, config.dataset.name)
        assert found is not None  # `run_front` asks for it
        for key in ("cost", "budget"):
            require(
                config.tabular[key] is None,
                f"tabular.{key}={config.tabular[key]}: front=<column> says which cost; no budget",
            )
        require(
            found.metric is not None,
            "tabular.metric=auto: no column of the table belongs to this data set; set it to one of "
            f"{', '.join(found.accuracies)}",
        )
        return found

    def _cost(self, config: DictConfig, source: Any) -> tuple[Callable[[Genotype], float | None], str | None]:
        """Architecture -> the cost of the front, and its unit."""
        if self.axis in COUNTED:
            price = part(counting(config, self.space, source), COUNTED.index(self.axis))
            return price, UNITS[self.axis]
        if self.axis == LATENCY:
            predict = predictor(config, self.space, source, config.latency.table, "latency.table")
            return predict, UNITS[LATENCY]
        found = self.tabular
        if isinstance(found, Predicted):
            require_one_of("front", self.axis, (*COSTS, *found.prices))
            return (lambda genotype: found.price(genotype, self.axis)), config.tabular.cost_unit
        columns = () if found.costs is None else tuple(found.costs.columns)
        require_one_of("front", self.axis, (*COSTS, *columns))
        assert found.costs is not None
        values = found.costs.column(self.axis, "front").values
        return (lambda genotype: values.get(str(genotype))), config.tabular.cost_unit

    def run(self, session: Session) -> None:
        """Looks up, writes, draws and prints."""
        caption = f"run {session.folder.title}: {len(self.points)} searches, space {self.space.name}"
        session.summary |= {"run": [str(one.run) for one in self.points]}
        session.summary |= self.drawn(session.folder.path, session.folder.figures / "front.png", caption)
        self._write_genotypes(session)
        self._print(session)

    def drawn(self, folder: Path, picture: Path, caption: str) -> dict[str, Any]:
        """Looks up, writes `front.csv` into a folder and draws; returns what `summary.json` says.

        Raises:
            ConfigError: nothing is known of any search.
        """
        for point in self.points:
            point.cost, point.accuracy = (
                self.price(point.genotype),
                self.tabular.accuracy(point.genotype),
            )
            if point.budget is not None:
                # Networks of other sizes than those of the search cost something else.
                point.met = None if point.cost is None else point.cost <= point.budget
        known = self.known = [one for one in self.points if one.cost is not None and one.accuracy is not None]
        require(
            len(known) > 0,
            f"front={self.axis}: neither cost nor accuracy is known of what any of the searches has found",
        )
        costs, heights = [one.cost or 0.0 for one in known], [one.accuracy or 0.0 for one in known]
        for one, on in zip(known, pareto_front(costs, heights), strict=True):
            one.front = on
        exact = self.exact = self._exact()
        found = list(zip(costs, heights, strict=True))
        everything = exact.points() if exact is not None and len(exact) else found
        # The dearest of all that there are; a guess is better than no accuracy at all.
        reference = exact.quantile(1.0) if exact is not None and len(exact) else max(costs)
        own, whole = hypervolume(found, reference), hypervolume(everything, reference)
        self._write(folder)
        label = f"{self.axis} ({self.unit})" if self.unit else self.axis
        percent = "%, predicted" if isinstance(self.tabular, Predicted) else "%"
        draw_fronts(
            found, [one.front for one in known], [] if exact is None else everything,
            picture, label, f"{self.tabular.metric} ({percent})", caption,
        )  # fmt: skip
        return {
            "front": self.axis,
            "front_unit": self.unit,
            "metric": self.tabular.metric,
            **({PREDICTED_BY: self.tabular.by} if isinstance(self.tabular, Predicted) else {}),
            "searches": len(self.points),
            "on_front": sum(one.front for one in known),
            "reference_cost": reference,
            "hypervolume": round(own, 6),
            "hypervolume_exact": round(whole, 6) if exact is not None and len(exact) else None,
        }

    def _exact(self) -> Front | None:
        """The front of all architectures of the table, of the chosen cost; None where there is no table."""
        if isinstance(self.tabular, Predicted):
            return None
        operations = {one for group in self.space.groups.values() for row in group.operations for one in row}
        archs = [arch for arch in self.tabular.table.archs if operations_of(arch) <= operations]
        if self.axis in (*COUNTED, LATENCY):
            costs = {arch: self.price(parse(arch)) for arch in archs}
        else:
            assert self.tabular.costs is not None
            costs = dict(self.tabular.costs.column(self.axis, "front").values)
        return self.tabular.front(
            {arch: cost for arch, cost in costs.items() if cost is not None}, operations
        )

    def _write(self, folder: Path) -> None:
        """Writes `front.csv`."""
        rows: list[dict[str, object]] = [
            {
                "run": one.run, "genotype": str(one.genotype), self.axis: one.cost,
                str(self.tabular.metric): one.accuracy, "front": "yes" if one.front else "no",
                "budget": one.budget, "budget_met": None if one.met is None else "yes" if one.met else "no",
            }
            for one in self.points
        ]  # fmt: skip
        write_text(folder / "front.csv", csv_table(tuple(rows[0]), rows))

    def _write_genotypes(self, session: Session) -> None:
        """Writes the architectures of the front, the most accurate first."""
        best = sorted((one for one in self.known if one.front), key=lambda one: -(one.accuracy or 0.0))
        genotypes = list(dict.fromkeys(one.genotype for one in best))
        folder = subfolder(session.folder / "genotypes")
        for rank, genotype in enumerate(genotypes, start=1):
            write_text(folder / f"rank_{rank:03d}.json", genotype.to_json() + "\n")
        write_text(session.folder / "genotype.json", genotypes[0].to_json() + "\n")
        session.summary["genotype"] = str(genotypes[0])

    def rows(self) -> list[list[str]]:
        """The searches by their cost, as a table to read, its headings first."""
        unit = f" ({self.unit})" if self.unit else ""
        asked = any(one.budget is not None for one in self.points)
        found = [["run", *(["asked", "met"] if asked else []), f"{self.axis}{unit}"]]
        found[0] += [f"{self.tabular.metric} (%)", "below the best at this cost", ""]
        for one in sorted(self.points, key=lambda one: (one.cost is None, one.cost)):
            below = "" if self.exact is None or one.cost is None or one.accuracy is None else (
                f"{self.exact.distance(one.cost, one.accuracy):.2f}"
            )  # fmt: skip
            budget = "" if one.budget is None else f"{one.budget:,.6g}"
            met = "" if one.met is None else "yes" if one.met else "NO"
            cost = "not known" if one.cost is None else f"{one.cost:,.6g}"
            accuracy = "not known" if one.accuracy is None else f"{one.accuracy:.2f}"
            row = [shown(one.run.name), *([budget, met] if asked else []), cost, accuracy, below]
            found.append([*row, "front" if one.front else ""])
        return found

    def _print(self, session: Session) -> None:
        head, *rows = self.rows()
        table = Table(title=f"what {len(self.points)} searches have found")
        for heading in head:
            table.add_column(heading, justify="left" if heading == "run" else "right")
        for row in rows:
            table.add_row(*row)
        console().print(table)
        found = session.summary
        own, whole = found["hypervolume"], found["hypervolume_exact"]
        share = f", {own / whole:.1%} of the exact front's" if whole else ""
        print(f"hypervolume {own:,.6g} (to {self.axis} {found['reference_cost']:,.6g}, 0%){share}")
        if isinstance(self.tabular, Predicted):
            print(f"{self.tabular.metric} is predicted by {self.tabular.by}, not trained")
        print(f"run folder: {session.folder.path}", flush=True)
