"""What the searches of `experiments.drnas.reduced` found: one `Found` a search, as CSV and as Markdown."""

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from experiments.drawing import Curve, curve
from experiments.records import Rows, Run, markdown, numbers, provenance, read_run, sections, titled, told
from nas.analysis.benchmark_table import BenchmarkTable
from nas.engine.pictures import weight_history
from nas.engine.rows import count_skips
from nas.engine.run_folder import RunFolder
from nas.spaces.nasbench201.space import EDGES, OPERATIONS, NasBench201Space

METRIC = "cifar10_test"
EIGENVALUE = "hessian_eigenvalue"
TESTS = ("cifar10_test", "cifar100_test", "in16_test")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
NAMES = {"darts1": "DARTS 1st order", "darts2": "DARTS 2nd order", "drnas_nb201": "DrNAS", "random": "random"}


@dataclass(frozen=True)
class Found:
    """A search as far as it has come.

    Attributes:
        method, seed: which one.
        run: its run.
        figures: the record's figures of the present architecture, in percent.
        accuracies: judging accuracy of each epoch's architecture, in percent; NaN where the table has none.
        skips: skip connections of each epoch's architecture.
        eigenvalues: basis -> (epochs from 1, dominant eigenvalues).
        exploration: rows of `exploration.csv`, accuracies as fractions.
    """

    method: str
    seed: int
    run: Run
    figures: Mapping[str, float | int | str | None]
    accuracies: Sequence[float]
    skips: Sequence[int]
    eigenvalues: Mapping[str, Curve]
    exploration: Rows

    @property
    def name(self) -> str:
        """The method in words."""
        return NAMES.get(self.method, self.method)


def collect(
    method: str, seed: int, path: Path, table: BenchmarkTable, second: BenchmarkTable | None = None
) -> Found | None:
    """Reads a run folder and looks its architectures up; None if it has no epoch to show yet.

    Derivation keeps the strongest operation of an edge, and op weights have the order of what it ranks, edge
    by edge: `architecture.csv` tells every epoch's architecture.

    Args:
        method: the choice of `method`.
        seed: of the search.
        path: its run folder.
        table: the record's figures.
        second: figures that are given beside them (`12 epochs`).
    """
    folder, space = RunFolder(path), NasBench201Space("nasbench201")
    history = weight_history(folder, space.groups)
    if history is None:
        return None
    epochs = [space.derive({"cell": torch.tensor(weights_EO)}) for weights_EO in history["cell"]]
    present, run = str(epochs[-1]), read_run(path)
    known = _lookup(table, present)
    figures = {"architecture": present, **{name: known.get(name) for name in TESTS}}
    figures |= {"rank": None, "gap": None}
    if METRIC in known:
        gap = round(table.gap(present, METRIC), 4)
        figures |= {"rank": table.rank(present, METRIC), "gap": gap}
    if second is not None:
        figures |= {f"search_table_{METRIC}": _lookup(second, present).get(METRIC)}
    return Found(
        method,
        seed,
        run,
        figures | {"num_skip": count_skips(epochs[-1])},
        [_lookup(table, str(genotype)).get(METRIC, float("nan")) for genotype in epochs],
        [count_skips(genotype) for genotype in epochs],
        _eigenvalues(run),
        numbers(folder / "exploration.csv"),
    )


def _lookup(table: BenchmarkTable, arch: str) -> dict[str, float]:
    return table.lookup(arch) if arch in table else {}


def _eigenvalues(run: Run) -> dict[str, Curve]:
    """The first column has no label; the summary of a run that ended says which basis it is."""
    # Methods with a basis eta have mu before it; the others have alpha alone.
    columns = list(dict.fromkeys(name for row in run.rows for name in row if name.startswith(EIGENVALUE)))
    first = run.get("hessian_basis") or ("mu" if f"{EIGENVALUE}_eta" in columns else "alpha")
    return {name.removeprefix(EIGENVALUE).lstrip("_") or first: curve(run.rows, name) for name in columns}


def rows_of(runs: Sequence[Found]) -> list[dict[str, object]]:
    """One flat row per run: what was found, where it stands, what it took."""
    rows = []
    for search in runs:
        ends = {f"eigenvalue_{basis}": values[-1] for basis, (_, values) in search.eigenvalues.items()}
        of_summary = {key: search.run.get(key) for key in ("status", "epochs", "steps", "seconds")}
        rows.append({"method": search.method, "seed": search.seed, **search.figures, **of_summary, **ends})
    return rows


def accuracies_of(table: BenchmarkTable, metric: str) -> np.ndarray:
    """The accuracies that a table has of all architectures of the space, in percent."""
    template = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
    archs = (template.format(*chosen) for chosen in itertools.product(OPERATIONS, repeat=len(EDGES)))
    accuracies = (_lookup(table, arch).get(metric) for arch in archs)
    return np.array([value for value in accuracies if value is not None])


def report(
    runs: Sequence[Found], planned: int, table: BenchmarkTable, second: BenchmarkTable | None = None
) -> str:
    """The record as Markdown: methods, every run, the random baseline, and how it was made.

    Args:
        runs: what there is; methods are averaged over the finished ones alone.
        planned: how many searches there are to be.
        table: gives the random baseline exactly, as the mean over all of its architectures.
        second: not shown.
    """
    finished = [search for search in runs if search.run.finished]
    return sections(
        f"{len(finished)} of {planned} searches finished.",
        *titled("Mean ± sample standard deviation over seeds.", _summaries(finished)),
        *titled("## Each search", _each(runs)),
        *("## A random architecture", _baseline(table)),
        *("## How", _provenance(runs)),
    )


def _summaries(runs: Sequence[Found]) -> list[dict[str, str]]:
    rows = []
    for method in dict.fromkeys(search.method for search in runs):
        group = [search for search in runs if search.method == method]
        row = {"method": group[0].name, "n": str(len(group))}
        columns = {f"{name} (%)": (name, 2) for name in TESTS}
        columns |= {"rank": ("rank", 0), "gap": ("gap", 2), "skip connections": ("num_skip", 1)}
        row |= {title: _mean((s.figures[key] for s in group), n) for title, (key, n) in columns.items()}
        ends = {
            basis: [search.eigenvalues[basis][1][-1] for search in group if basis in search.eigenvalues]
            for basis in group[0].eigenvalues
        }
        words = [f"{basis} {_mean(values, 3)}" for basis, values in ends.items()]
        row |= {"eigenvalue at the end": ", ".join(words) or "not computed"}
        rows.append(row | {"hours a search": _mean((_hours(search) or None for search in group), 2)})
    return rows


def _hours(search: Found) -> float:
    return (search.run.get("seconds") or 0) / 3600


def _mean(values: Iterable[float | None], digits: int) -> str:
    values = [value for value in values if value is not None]
    text = f"{statistics.mean(values):.{digits}f}" if values else ""
    return f"{text} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else text


def _each(runs: Sequence[Found]) -> list[dict[str, object]]:
    columns = ("architecture", *TESTS, "rank", "num_skip")
    return [
        {"method": search.name, "seed": search.seed, **{name: search.figures[name] for name in columns}}
        | {"epochs": search.run.get("epochs"), "hours": _hours(search)}
        for search in runs
    ]


def _baseline(table: BenchmarkTable) -> str:
    rows = []
    for name in TESTS:
        if name not in table.accuracies:
            continue
        values = accuracies_of(table, name)
        row = {
            "test set": name,
            "n": f"{len(values):,}",
            "mean ± sd (%)": f"{values.mean():.2f} ± {values.std():.2f}",
        }
        row |= {f"{quantile:.0%}": f"{np.quantile(values, quantile):.2f}" for quantile in QUANTILES}
        rows.append(row | {"best": f"{values.max():.2f}"})
    return (
        "Exactly, over all architectures of the table and not from draws; the columns are quantiles.\n\n"
        + markdown(rows)
    )


def _provenance(searches: Sequence[Found]) -> str:
    runs = [search.run for search in searches]
    return provenance(
        runs,
        (search.seed for search in searches),
        f"- data: {told(runs, 'dataset')}, split {told(runs, 'split_hash')}",
        f"- epochs: {told(runs, 'epochs')}; steps: {told(runs, 'steps')}",
    )
