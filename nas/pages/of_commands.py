"""What the page of a run shows of one command alone: the tables that only it writes."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from nas.pages import charts, forms
from nas.pages.blocks import Cell, Chart, Column, Note, Table, number, words
from nas.pages.confusion import confusion
from nas.pages.folder import Folder, as_number
from nas.printable import shown

# Rows of a table that a page holds.
ROWS = 300


def csv_table(
    rows: Sequence[Mapping[str, str]], caption: str, names: Sequence[str] | None = None, file: str = ""
) -> Table:
    """The rows of a CSV file as a table that sorts, the first so many of them.

    Args:
        rows: by the names of their columns.
        caption: what the table is of.
        names: which columns; None for all.
        file: where all rows are.
    """
    there = list(rows[0]) if rows else []
    names = there if names is None else [name for name in names if name in there]
    kept = rows[:ROWS]
    numeric = {
        name: all(as_number(row[name]) is not None for row in kept if row[name])
        and any(row[name] for row in kept)
        for name in names
    }
    shown_rows = [[_field(row[name], numeric[name]) for name in names] for row in kept]
    columns = [Column(shown(name.replace("_", " "), 80), numeric[name], name == "genotype") for name in names]
    note = f"The first {ROWS} of {len(rows):,} rows; all are in {file}." if len(rows) > ROWS else ""
    return Table(caption, columns, shown_rows, note, filtered=len(kept) > 12)


def _field(text: str, numeric: bool) -> Cell:
    value = as_number(text) if numeric else None
    return number(value, forms.digits(value)) if value is not None else words(shown(text, forms.LONG))


def _derivation(folder: Folder, summary: Mapping[str, Any]) -> list[Any]:
    rows = folder.table("architectures.csv")
    if not rows:
        return [Note(folder.missing("architectures.csv", "No architectures"), "warn")]
    blocks: list[Any] = []
    groups: dict[str, list[tuple[float, float, str]]] = {"Pareto front": [], "others": []}
    for row in rows:
        macs, chance = as_number(row.get("macs", "")), as_number(row.get("log_probability", ""))
        if macs is not None and chance is not None:
            name = "Pareto front" if row.get("pareto") == "yes" else "others"
            rank = row.get("rank") or ""
            groups[name].append((macs / 1e6, chance, f"rank {rank}" if rank else "no rank"))
    groups = {name: points for name, points in groups.items() if points}
    if groups:
        title = "Probability and multiply-adds of what was drawn"
        blocks.append(charts.points(title, groups, "multiply-adds (M)", "log probability"))
    names = (
        "rank", "genotype", "log_probability", "count", "params", "macs", "num_skip", "latency_ms",
        "latency_predicted_ms", "supernet_accuracy", "measured", "within_budget", "pareto", "derived",
    )  # fmt: skip
    filled = [name for name in names if any(row.get(name) for row in rows)]
    blocks.append(csv_table(rows, "Architectures, ranked", filled, "architectures.csv"))
    return blocks


def _latency(folder: Folder, summary: Mapping[str, Any]) -> list[Any]:
    blocks: list[Any] = []
    networks = folder.table("networks.csv")
    points = [
        (as_number(row.get("sum_ms", "")), as_number(row.get("measured_ms", "")), row.get("genotype", ""))
        for row in networks
    ]
    pairs = [(a, b, shown(text, 160)) for a, b, text in points if a is not None and b is not None]
    if pairs:
        every = [value for a, b, _ in pairs for value in (a, b)]
        line = [(min(every), min(every)), (max(every), max(every))]
        title = "Sums of pieces against whole networks (ms); the line is where they are equal"
        blocks.append(
            charts.points(title, {"networks": pairs}, "sum of pieces (ms)", "measured (ms)", line=line)
        )
        blocks.append(csv_table(networks, "Networks that were measured whole", None, "networks.csv"))
    pieces = folder.table("latency.csv")
    if pieces:
        blocks.append(_slowest(pieces))
        blocks.append(csv_table(pieces, "Pieces, milliseconds of a batch", None, "latency.csv"))
    else:
        blocks.append(Note(folder.missing("latency.csv", "No pieces"), "warn"))
    return blocks


def _slowest(rows: Sequence[Mapping[str, str]]) -> Chart:
    """Every piece by its operation."""
    values: dict[str, list[tuple[float, str]]] = {}
    for row in rows:
        time = as_number(row.get("milliseconds", ""))
        if time is not None:
            values.setdefault(shown(row.get("name", ""), 60), []).append(
                (time, shown(row.get("shape", ""), 60))
            )
    kept = dict(sorted(values.items(), key=lambda item: -max(time for time, _ in item[1]))[:24])
    return charts.dots("Milliseconds of each piece, by operation", kept, {}, "milliseconds of a batch")


def _blackbox(folder: Folder, summary: Mapping[str, Any]) -> list[Any]:
    blocks: list[Any] = []
    rows = folder.table("curve.csv")
    if rows:
        x = next((name for name in ("queries", "seconds") if name in rows[0]), next(iter(rows[0])))
        series = {}
        for name in rows[0]:
            points = [(as_number(row[x]), as_number(row[name])) for row in rows]
            kept = [(a, b) for a, b in points if a is not None and b is not None]
            if name != x and kept:
                series[name] = kept
        if series:
            blocks.append(charts.lines(f"What has been found, over {x} (%)", series, x, "%", whole=False))
    seeds = folder.table("seeds.csv")
    if seeds:
        blocks.append(csv_table(seeds, "Each seed", None, "seeds.csv"))
    if not blocks:
        blocks.append(Note(folder.missing("curve.csv", "No curve"), "warn"))
    return blocks


def _ranking(folder: Folder, summary: Mapping[str, Any]) -> list[Any]:
    rows = folder.table("ranks.csv")
    if not rows:
        return [Note(folder.missing("ranks.csv", "No measures"), "warn")]
    measures = sorted(key.removeprefix("spearman_") for key in summary if key.startswith("spearman_"))
    table = []
    for name in measures:
        figures = [summary.get(f"{kind}_{name}") for kind in ("spearman", "kendall", "n", "seconds")]
        table.append(
            [
                words(shown(name, 80)),
                *(
                    number(figure, forms.digits(figure)) if isinstance(figure, int | float) else words("")
                    for figure in figures
                ),
            ]
        )
    heads = ("measure", "Spearman", "Kendall", "n", "seconds each")
    columns = [Column(head, place > 0) for place, head in enumerate(heads)]
    blocks: list[Any] = [Table("Rank correlation with the table", columns, table)] if table else []
    return [*blocks, csv_table(rows, "Architectures, measured", None, "ranks.csv")]


# Command -> what its page shows beside results and cells.
EXTRAS: Mapping[str, Callable[[Folder, Mapping[str, Any]], list[Any]]] = MappingProxyType(
    {
        "evaluate": confusion,
        "derive": _derivation,
        "latency": _latency,
        "blackbox": _blackbox,
        "rank": _ranking,
    }
)
