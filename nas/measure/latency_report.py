"""What `nas.latency` leaves in its folder and prints: the table, pictures, how far it can be trusted."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from nas.analysis.cost.latency import Latency
from nas.analysis.cost.latency_table import FILE, LatencyTable, Line
from nas.analysis.plots.latency import draw_operation_times, draw_predictions
from nas.engine.run_folder import RunFolder
from nas.files import write_text
from nas.genotype import Genotype
from nas.reading.csv_text import csv_lines
from nas.spaces.pieces import Piece

COLUMNS = (
    "name", "shape", "channels", "height", "width", "stride", "outputs", "inputs", "milliseconds", "spread",
    "n",
)  # fmt: skip


@dataclass(frozen=True)
class Checked:
    """A network that was measured whole.

    Attributes:
        genotype: its architecture.
        sum: milliseconds of its pieces.
        found: its own.
    """

    genotype: Genotype
    sum: float
    found: Latency

    @property
    def error(self) -> float:
        """(sum - measured) / measured."""
        return self.sum / self.found.median - 1


def write_tables(folder: RunFolder, table: LatencyTable, checked: Sequence[Checked]) -> None:
    """Writes `latency.json`, `latency.csv`, and `networks.csv` where networks were measured."""
    write_text(folder / FILE, table.to_json())
    rows = [
        [piece.name, piece.shape, piece.channels, piece.height, piece.width, piece.stride, piece.outputs,
         piece.inputs, f"{time.median:.6f}", f"{time.spread:.6f}", time.repeats]
        for piece, time in table.entries.items()
    ]  # fmt: skip
    write_text(folder / "latency.csv", csv_lines([COLUMNS, *rows]))
    if checked:
        head = ("genotype", "sum_ms", "fitted_ms", "measured_ms", "spread_ms", "n", "error")
        body = [
            [
                str(network.genotype),
                f"{network.sum:.4f}",
                "" if table.line is None else f"{table.line(network.sum):.4f}",
                f"{network.found.median:.4f}",
                f"{network.found.spread:.4f}",
                network.found.repeats,
                f"{network.error:.4f}",
            ]
            for network in checked
        ]
        write_text(folder / "networks.csv", csv_lines([head, *body]))


def draw(
    folder: RunFolder,
    table: LatencyTable,
    operations: Iterable[str],
    drawn: Sequence[Checked],
    named: Checked | None,
    title: str,
    caption: str,
) -> None:
    """Draws `figures/operations.png`, and `figures/networks.png` where networks were measured."""
    times: dict[str, dict[str, tuple[float, float]]] = {}
    for name in operations:
        by_shape = {
            piece.shape: (time.median, time.spread)
            for piece, time in table.entries.items()
            if piece.name == name and piece.inputs == 1
        }
        if by_shape:
            times[name] = by_shape
    if times:
        draw_operation_times(times, folder.figures / "operations.png", title, caption)
    if drawn or named is not None:
        draw_predictions(
            [network.sum for network in drawn],
            [network.found.median for network in drawn],
            [network.found.spread for network in drawn],
            folder.figures / "networks.png",
            None if table.line is None else (table.line.slope, table.line.intercept),
            None if named is None else (named.sum, named.found.median),
            title,
            caption,
        )


def print_line(line: Line) -> None:
    """Says how far the table could be trusted."""
    print(
        f"{line.n} random networks: Kendall {line.kendall:.2f}, Spearman {line.spearman:.2f} between sums "
        f"and measurements; measured = {line.intercept:.3g} ms + {line.slope:.3g} x sum; median error of the "
        f"sums {100 * line.error:.1f}%, of the line {100 * line.error_fitted:.1f}%",
        flush=True,
    )


def print_network(checked: Checked, pieces: Counter, times: Mapping[Piece, Latency]) -> None:
    """Prints a network's sum, its measurement, and which kinds of pieces the sum consists of."""
    totals: defaultdict[str, float] = defaultdict(float)
    counts: Counter[str] = Counter()
    for piece, count in pieces.items():
        totals[piece.name] += count * times[piece].median
        counts[piece.name] += count
    table = Table(title="where the sum comes from")
    for name in ("piece", "in the network", "ms", "share"):
        table.add_column(name, justify="left" if name == "piece" else "right")
    for name, total in sorted(totals.items(), key=lambda item: item[1], reverse=True):
        table.add_row(name, str(counts[name]), f"{total:.3g}", f"{100 * total / checked.sum:.0f}%")
    console = Console()
    console.print(table)
    time = checked.found
    console.print(
        f"sum {checked.sum:.4g} ms, measured {time.median:.4g} ms (interquartile range {time.spread:.2g}, "
        f"n={time.repeats}): {100 * checked.error:+.1f}%",
        highlight=False,
        soft_wrap=True,
    )
