"""Finished searches as text: `searches.csv` has a row per search, `courses.csv` what happened on its way.

They are kept in the repository, so that a record that took days and several machines is added to and
never made anew. Of a course only the epochs are kept at which something changes or an eigenvalue was
measured.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from experiments.evidence.rows import Plan, Row
from nas.engine.run_folder import read_table
from nas.errors import ConfigError, require
from nas.files import write_text
from nas.reading.csv_text import csv_table, read_rows
from nas.reading.json_text import read_object
from nas.reading.plain import is_number
from nas.running.saved import read_overrides
from nas.spaces.nasbench201.space import EDGES, OPERATIONS

FIGURE = "cifar10_test"
TESTS = ("cifar10_test", "cifar100_test", "in16_test")
# What a run is told beside the settings of its row, and how: of no effect on what it finds.
ASIDE = (
    "seed",
    "dataset.root",
    "tabular.file",
    "hardware.threads",
    "trainer.enable_progress_bar",
    "hydra.run.dir",
)
COLUMNS = (
    "row", "seed", "settings", "architecture", *TESTS, "rank", "of", "best", "num_skip", "epochs",
    "planned_epochs", "steps", "seconds", "ended_by", "result_epoch", "hessian_basis", "split_hash",
    "dataset", "device", "threads", "torch", "git_commit",
)  # fmt: skip
COURSE = ("row", "seed", "epoch", "cell", "accuracy", "eigenvalue", "eigenvalue_eta")


@dataclass(frozen=True)
class Point:
    """What a search had after an epoch.

    Attributes:
        epoch: from 1.
        cell: the operations of its six edges, each by its number in the space's order.
        accuracy: of that cell in the table, in per cent; None where the table has none.
        eigenvalue: the dominant one of the Hessian, where it was measured; of DrNAS in mu.
        eigenvalue_eta: the same of DrNAS in eta.
    """

    epoch: int
    cell: str
    accuracy: float | None
    eigenvalue: float | None = None
    eigenvalue_eta: float | None = None

    @property
    def skips(self) -> int:
        """How many of the six edges are skip connections."""
        return self.cell.count(str(OPERATIONS.index("skip_connect")))


@dataclass(frozen=True)
class Search:
    """A finished search.

    Attributes:
        row, seed: which one.
        values: the columns of `searches.csv`, as text.
        course: what it had on its way, rising in epochs.
    """

    row: str
    seed: int
    values: Mapping[str, str]
    course: Sequence[Point] = field(default_factory=tuple)

    def number(self, name: str) -> float | None:
        """A column as a number; None where it is blank."""
        text = self.values.get(name, "")
        return float(text) if text else None

    @property
    def accuracy(self) -> float:
        """Test accuracy of its result in the table, in per cent."""
        return float(self.values[FIGURE])

    @property
    def skips(self) -> int:
        """Skip connections of its result."""
        return int(self.values["num_skip"])

    @property
    def collapsed(self) -> bool:
        """Whether its result is skip connections and nothing else: the paper's 54.30."""
        return self.skips == len(EDGES)

    @property
    def best_on_the_way(self) -> float:
        """The highest accuracy of the cells that it had after any epoch."""
        return max([self.accuracy, *(point.accuracy for point in self.course if point.accuracy is not None)])

    def eigenvalue_at(self, epoch: int) -> float | None:
        """The last that was measured up to an epoch."""
        known = [p.eigenvalue for p in self.course if p.epoch <= epoch and p.eigenvalue is not None]
        return known[-1] if known else None

    def collapse_epoch(self) -> int | None:
        """The epoch from which its cell was skip connections alone; None if it did not end so."""
        since = None
        for point in self.course:
            all_skips = point.skips == len(EDGES)
            since = (since or point.epoch) if all_skips else None
        return since if self.collapsed else None


def read_searches(folder: Path) -> list[Search]:
    """The searches that are kept in a folder; none where there is no file.

    Raises:
        ConfigError: a file is damaged.
    """
    if not (folder / "searches.csv").exists():
        return []
    courses: dict[tuple[str, int], list[Point]] = {}
    for row in read_rows(folder / "courses.csv"):
        accuracy, *eigenvalues = (
            float(row[name]) if row[name] else None for name in ("accuracy", "eigenvalue", "eigenvalue_eta")
        )
        point = Point(int(row["epoch"]), row["cell"], accuracy, *eigenvalues)
        courses.setdefault((row["row"], int(row["seed"])), []).append(point)
    searches = []
    for row in read_rows(folder / "searches.csv"):
        place = (row["row"], int(row["seed"]))
        searches.append(Search(*place, row, tuple(courses.get(place, ()))))
    return searches


def write_searches(folder: Path, searches: Sequence[Search], plan: Plan) -> None:
    """Keeps searches in a folder, by rows and seeds; rows that the plan does not know any more stay."""
    order = {row.name: place for place, row in enumerate(plan.rows)}
    ordered = sorted(searches, key=lambda s: (order.get(s.row, len(order)), s.row, s.seed))
    write_text(folder / "searches.csv", csv_table(COLUMNS, [s.values for s in ordered]), parents=True)
    points = [
        {"row": search.row, "seed": search.seed, **{name: getattr(point, name) for name in COURSE[2:]}}
        for search in ordered
        for point in search.course
    ]
    write_text(folder / "courses.csv", csv_table(COURSE, points))


def take(place: Path, row: Row, seed: int) -> Search | None:
    """A finished run folder as a record; None if the run has not finished.

    Raises:
        ConfigError: it is a run of other settings or another seed, or was not looked up in a table.
    """
    if not (place / "summary.json").exists():
        return None
    summary = read_object(place / "summary.json")
    if summary.get("status") != "finished":
        return None
    typed = [str(word) for word in read_overrides(place / "overrides.yaml")]
    settings = tuple(word for word in typed if word.partition("=")[0] not in ASIDE)
    require(
        sorted(settings) == sorted(row.settings),
        f"{place}: a search of {' '.join(settings)}; row {row.name} is {' '.join(row.settings)}",
    )
    require(summary.get("seed") == seed, f"{place}: a search from seed {summary.get('seed')}, not {seed}")
    table = summary.get("table")
    require(
        isinstance(table, dict) and is_number(table.get(FIGURE)),
        f"{place}: its cell was not looked up in a table with {FIGURE}; a search needs tabular.file=<CSV>",
    )
    versions = summary.get("versions") or {}
    known = {
        **summary, **table, "row": row.name, "architecture": summary.get("genotype"),
        "settings": " ".join(row.settings), "torch": versions.get("torch"),
    }  # fmt: skip
    values = {name: "" if known.get(name) is None else str(known[name]) for name in COLUMNS}
    course = _course(place)
    if course and values["architecture"] and course[-1].cell != code(values["architecture"]):
        # A monitor has named an earlier epoch's cell, which is what the search gives when it ends.
        result = {"cell": code(values["architecture"]), "accuracy": float(values[FIGURE])}
        course = (*course[:-1], replace(course[-1], **result))
    return Search(row.name, seed, values, course)


def _course(place: Path) -> tuple[Point, ...]:
    """The epochs at which anything changes, and the last."""
    cells = {}
    for line in (place / "genotypes.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        cells[int(entry["epoch"])] = code(str(entry["genotype"]))
    metrics = {int(row["epoch"]): row for row in read_table(place / "metrics.csv")}
    points: list[Point] = []
    last = max(cells, default=0)
    for epoch, cell in sorted(cells.items()):
        row = metrics.get(epoch, {})
        accuracy = round(100 * float(row["table_accuracy"]), 4) if row.get("table_accuracy") else None
        names = ("hessian_eigenvalue", "hessian_eigenvalue_eta")
        eigenvalues = [float(f"{float(row[name]):.6g}") if row.get(name) else None for name in names]
        same = points and (points[-1].cell, points[-1].accuracy) == (cell, accuracy)
        if not same or eigenvalues[0] is not None or epoch == last:
            points.append(Point(epoch + 1, cell, accuracy, *eigenvalues))
    return tuple(points)


def code(architecture: str) -> str:
    """The operations of the six edges, each by its number in the space's order, such as `111111`.

    Raises:
        ConfigError: it is no cell of the space.
    """
    names = [part.partition("~")[0] for part in architecture.replace("+", "").split("|") if part]
    if len(names) != len(EDGES) or not set(names) <= set(OPERATIONS):
        raise ConfigError(f"{architecture[:100]}: no cell of NAS-Bench-201")
    return "".join(str(OPERATIONS.index(name)) for name in names)
