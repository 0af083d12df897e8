"""What the searches of `experiments.drnas.reduced` found: one `Found` a search, as CSV and as Markdown."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from experiments.pipeline import markdown, read_summary
from experiments.records import as_csv, effort, numbers, origin, told
from nas.analysis.benchmark_table import BenchmarkTable
from nas.engine.pictures import weight_history
from nas.engine.rows import count_skips
from nas.engine.run_folder import RunFolder, read_table
from nas.spaces.nasbench201.space import EDGES, OPERATIONS, NasBench201Space

METRIC = "cifar10_test"
TESTS = ("cifar10_test", "cifar100_test", "in16_test")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
NAMES = {"darts1": "DARTS 1st order", "darts2": "DARTS 2nd order", "drnas_nb201": "DrNAS", "random": "random"}


@dataclass(frozen=True)
class Found:
    """A search as far as it has come.

    Attributes:
        method, seed: which one.
        summary: its `summary.json`.
        figures: the record's figures of the present architecture, in percent.
        accuracies: judging accuracy of each epoch's architecture, in percent; NaN where the table has none.
        skips: skip connections of each epoch's architecture.
        eigenvalues: basis -> (epochs from 1, dominant eigenvalues).
        exploration: rows of `exploration.csv`, accuracies as fractions.
    """

    method: str
    seed: int
    summary: Mapping
    figures: Mapping[str, float | int | str | None]
    accuracies: Sequence[float]
    skips: Sequence[int]
    eigenvalues: Mapping[str, tuple[list[int], list[float]]]
    exploration: Sequence[Mapping[str, float]] = field(default_factory=tuple)

    @property
    def name(self) -> str:
        """The method in words."""
        return NAMES.get(self.method, self.method)

    @property
    def finished(self) -> bool:
        """Whether all of its epochs are done."""
        return self.summary.get("status") == "finished"


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
    present = str(epochs[-1])
    rows, summary = read_table(folder / "metrics.csv"), read_summary(path)
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
        summary,
        figures | {"num_skip": count_skips(epochs[-1])},
        [_lookup(table, str(genotype)).get(METRIC, float("nan")) for genotype in epochs],
        [count_skips(genotype) for genotype in epochs],
        _eigenvalues(rows, summary),
        numbers(folder / "exploration.csv"),
    )


def _lookup(table: BenchmarkTable, arch: str) -> dict[str, float]:
    return table.lookup(arch) if arch in table else {}


def _eigenvalues(rows: Sequence[Mapping], summary: Mapping) -> dict[str, tuple[list[int], list[float]]]:
    """The first column has no label; the summary of a run that ended says which basis it is."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    # Methods with a basis eta have mu before it; the others have alpha alone.
    first = "mu" if any("hessian_eigenvalue_eta" in row for row in rows) else "alpha"
    for row in rows:
        for column, text in row.items():
            if column.startswith("hessian_eigenvalue") and text:
                label = column.removeprefix("hessian_eigenvalue").lstrip("_")
                label = label or summary.get("hessian_basis", first)
                epochs, values = found.setdefault(label, ([], []))
                epochs.append(int(row["epoch"]) + 1)
                values.append(float(text))
    return found


def rows_of(runs: Sequence[Found]) -> list[dict[str, object]]:
    """One flat row a run: what was found, where it stands, what it took."""
    rows = []
    for run in runs:
        ends = {f"eigenvalue_{basis}": values[-1] for basis, (_, values) in run.eigenvalues.items()}
        of_summary = {key: run.summary.get(key) for key in ("status", "epochs", "steps", "seconds")}
        rows.append({"method": run.method, "seed": run.seed, **run.figures, **of_summary, **ends})
    return rows


def runs_csv(runs: Sequence[Found]) -> str:
    """All runs as CSV, one a line."""
    return as_csv(rows_of(runs))


def accuracies_of(table: BenchmarkTable, metric: str) -> np.ndarray:
    """The accuracies that a table has of all architectures of the space, in percent."""
    template = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
    archs = (template.format(*chosen) for chosen in itertools.product(OPERATIONS, repeat=len(EDGES)))
    found = (_lookup(table, arch).get(metric) for arch in archs)
    return np.array([value for value in found if value is not None])


def report(runs: Sequence[Found], table: BenchmarkTable, planned: int) -> str:
    """The record as Markdown: methods, every run, the random baseline, and how it was made.

    Args:
        runs: what there is; methods are averaged over the finished ones alone.
        table: gives the random baseline exactly, as the mean over all of its architectures.
        planned: how many searches there are to be.
    """
    finished = [run for run in runs if run.finished]
    parts = [f"{len(finished)} of {planned} searches finished."]
    if finished:
        parts += ["Mean ± sample standard deviation over seeds.", markdown(_summaries(finished))]
    parts += ["## Each search", markdown([_cells(row) for row in _short(runs)])]
    parts += ["## A random architecture", _baseline(table), "## How", _provenance(runs)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _summaries(runs: Sequence[Found]) -> list[dict[str, str]]:
    rows = []
    for method in dict.fromkeys(run.method for run in runs):
        group = [run for run in runs if run.method == method]

        def mean(key: str, digits: int = 2, group: Sequence[Found] = tuple(group)) -> str:
            return _mean([run.figures[key] for run in group if run.figures[key] is not None], digits)

        row = {"method": group[0].name, "n": str(len(group))}
        row |= {f"{name} (%)": mean(name) for name in TESTS}
        row |= {"rank": mean("rank", 0), "gap": mean("gap"), "skip connections": mean("num_skip", 1)}
        ends = {
            basis: [run.eigenvalues[basis][1][-1] for run in group if basis in run.eigenvalues]
            for basis in group[0].eigenvalues
        }
        words = [f"{basis} {_mean(values, 3)}" for basis, values in ends.items()]
        row |= {"eigenvalue at the end": ", ".join(words) or "not computed"}
        hours = [run.summary["seconds"] / 3600 for run in group if run.summary.get("seconds")]
        rows.append(row | {"hours a search": _mean(hours, 2)})
    return rows


def _mean(values: Sequence[float], digits: int) -> str:
    if not values:
        return ""
    text = f"{statistics.mean(values):.{digits}f}"
    return f"{text} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else text


def _short(runs: Sequence[Found]) -> list[dict[str, object]]:
    columns = ("architecture", *TESTS, "rank", "num_skip")
    return [
        {"method": run.name, "seed": run.seed, **{name: run.figures[name] for name in columns}}
        | {"epochs": run.summary.get("epochs"), "hours": (run.summary.get("seconds") or 0) / 3600}
        for run in runs
    ]


def _cells(row: Mapping[str, object]) -> dict[str, str]:
    """Numbers with two digits, gaps blank, and no bar that would end a cell of the table."""
    return {
        name: "" if value is None else f"{value:.2f}" if isinstance(value, float) else _escaped(value)
        for name, value in row.items()
    }


def _escaped(value: object) -> str:
    text = str(value)
    return "`" + text.replace("|", "\\|") + "`" if "|" in text else text


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


def _provenance(runs: Sequence[Found]) -> str:
    summaries = [run.summary for run in runs]
    return "\n".join(
        [
            *origin(summaries),
            f"- data: {told(summaries, 'dataset')}, split {told(summaries, 'split_hash')}",
            f"- epochs: {told(summaries, 'epochs')}; steps: {told(summaries, 'steps')}",
            effort(summaries, (run.seed for run in runs)),
        ]
    )
