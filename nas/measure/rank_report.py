"""What `nas.rank` leaves in its folder and prints: rows as they come, correlations, pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from nas.analysis.benchmark_table import fraction
from nas.analysis.correlation import Correlation, correlate
from nas.analysis.plots.scatter import draw_scatter
from nas.analysis.surrogates import PREDICTED_BY, LookUp, Predicted
from nas.engine.run_folder import RunFolder
from nas.files import append_text, write_text
from nas.genotype import Genotype
from nas.reading.csv_text import csv_lines

MILLION = 1e6


class Rows:
    """`ranks.csv`, a row per architecture, each written as soon as it is known.

    Args:
        folder: of the run.
        names: of the measures, which are columns.
        tabular: a table or surrogate with a metric, whose accuracies are the last column; None for none.

    Attributes:
        values: {measure: its number of every architecture so far}.
        accuracies: of the table, in per cent; None where it has none.
    """

    def __init__(self, folder: RunFolder, names: Sequence[str], tabular: LookUp | None):
        self.path, self.tabular = folder / "ranks.csv", tabular
        self.values: dict[str, list[float]] = {name: [] for name in names}
        self.accuracies: list[float | None] = []
        last = [] if tabular is None else ["table_accuracy"]
        write_text(self.path, csv_lines([["genotype", *names, *last]]))

    def add(self, genotype: Genotype, numbers: Mapping[str, float]) -> None:
        """Adds an architecture."""
        row: list[object] = [str(genotype), *(f"{numbers[name]:.10g}" for name in self.values)]
        for name, values in self.values.items():
            values.append(numbers[name])
        if self.tabular is not None:
            self.accuracies.append(self.tabular.accuracy(genotype))
            row.append(fraction(self.accuracies[-1]))
        append_text(self.path, csv_lines([row]))

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def correlations(self) -> dict[str, Correlation]:
        """Of every measure with the table's accuracies; empty without a table."""
        if self.tabular is None:
            return {}
        return {name: correlate(values, self.accuracies) for name, values in self.values.items()}

    def best(self, name: str) -> float | None:
        """The table's accuracy of the architecture that a measure ranks first, in per cent."""
        known = [
            (value, accuracy)
            for value, accuracy in zip(self.values[name], self.accuracies, strict=True)
            if value == value and accuracy is not None
        ]
        return max(known, key=lambda pair: pair[0])[1] if known else None


def numbers_of(rows: Rows, seconds: Mapping[str, float]) -> dict[str, Any]:
    """What `summary.json` says: rank correlations with the table, and seconds per architecture."""
    numbers: dict[str, Any] = {"architectures": len(rows)}
    if rows.tabular is not None:
        numbers["metric"] = rows.tabular.metric
    if isinstance(rows.tabular, Predicted):
        numbers[PREDICTED_BY] = rows.tabular.by
    for name, r in rows.correlations().items():
        numbers |= {f"n_{name}": r.n, f"spearman_{name}": r.spearman, f"kendall_{name}": r.kendall}
    return numbers | {f"seconds_{name}": round(spent / len(rows), 6) for name, spent in seconds.items()}


def draw(rows: Rows, folder: RunFolder, caption: str) -> None:
    """Draws `figures/<measure>.png`: the table's accuracy, or without a table the parameters, against it."""
    correlations = rows.correlations()
    for name, values in rows.values.items():
        path = folder.figures / f"{name}.png"
        if rows.tabular is not None:
            predicted = ", predicted" if isinstance(rows.tabular, Predicted) else ""
            label = f"{rows.tabular.metric} (%{predicted})"
            r = correlations[name]
            title = f"n {r.n}, Spearman {_number(r.spearman)}, Kendall {_number(r.kendall)}"
            draw_scatter(values, rows.accuracies, path, name, label, title, caption)
        elif name != "params":
            params = [value / MILLION for value in rows.values["params"]]
            draw_scatter(values, params, path, name, "parameters (M)", None, caption)


def print_table(rows: Rows, seconds: Mapping[str, float], sizes: str) -> None:
    """Prints a line per measure: its rank correlations, what its favourite reaches, and its time."""
    metric = None if rows.tabular is None else rows.tabular.metric
    table = Table(title=f"{len(rows):,} architectures, {sizes}")
    table.add_column("measure")
    if metric is not None:
        for name in ("n", "Spearman", "Kendall", f"{metric} of its best"):
            table.add_column(name, justify="right")
    table.add_column("s per architecture", justify="right")
    correlations = rows.correlations()
    for name in rows.values:
        cells = [name]
        if metric is not None:
            r, best = correlations[name], rows.best(name)
            cells += [str(r.n), _number(r.spearman), _number(r.kendall)]
            cells.append("" if best is None else f"{best:.2f}")
        table.add_row(*cells, f"{seconds[name] / len(rows):.3g}")
    console = Console()
    console.print(table)
    if isinstance(rows.tabular, Predicted):
        console.print(f"{metric} is predicted by {rows.tabular.by}, not trained", highlight=False)
    known = [accuracy for accuracy in rows.accuracies if accuracy is not None]
    if known:
        console.print(f"best of all of them: {max(known):.2f}", highlight=False)
    elif metric is None:
        console.print("no table to correlate with: set tabular.file", highlight=False)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
