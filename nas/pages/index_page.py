"""The index of a folder of runs: a table to sort and filter, and any two runs side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas.analysis import sweeps
from nas.analysis.metrics import metric_of
from nas.analysis.summaries import figures_of
from nas.genotype import Genotype
from nas.pages import forms
from nas.pages.blocks import Cell, Column, Drawings, Fact, Page, Table, maybe, number, words
from nas.pages.cells import draw, text_of
from nas.pages.members import Member, timed
from nas.printable import shown

# Rows; figures that have a column; parts of drawings in all of the page, each some 300 bytes.
ROWS, FIGURES, PARTS = 1000, 4, 5000
# Architectures that are drawn, each once: laying one out takes a tenth of a second.
DRAWN = 40
# Settings that a summary says again.
TOLD = ("command", "space", "method", "dataset", "recipe", "seed")


@dataclass(frozen=True)
class Entry:
    """A run of the index.

    Attributes:
        member: the run.
        genotype: what it found; None where there is none that can be read.
    """

    member: Member
    genotype: Genotype | None


def index_page(name: str, entries: Sequence[Entry], links: Sequence[tuple[str, str]], made: str) -> Page:
    """The index.

    Args:
        name: of the folder.
        entries: its runs.
        links: (words, relative place) of pages beside it.
        made: when and by what the page is made.
    """
    kept = entries[:ROWS]
    names = _figures(kept)
    columns = [
        Column("run"), Column("command"), Column("status"), Column("space"), Column("method"),
        Column("data set"), Column("seed", True),
        *(Column(forms.title(name), True) for name in names),
        Column("parameters", True), Column("time", True),
    ]  # fmt: skip
    rows = [_row(entry.member, names) for entry in kept]
    more = f"The first {ROWS} of {len(entries):,} runs." if len(entries) > ROWS else ""
    table = Table("Runs", columns, rows, more, filtered=True)
    finished = sum(entry.member.run.finished for entry in entries)
    tiles = [Fact("runs", f"{len(entries):,}"), Fact("finished", f"{finished:,}")]
    lead = "Sort by a heading, type to filter, choose two runs to compare them."
    extra = {"table": table, "runs": _details(kept)}
    return Page(shown(name, 120), "runs", "", lead, tiles, (), links, made, extra)


def _figures(entries: Sequence[Entry]) -> list[str]:
    """The figures that most runs have, at most so many, in the order of tables."""
    counts: dict[str, int] = {}
    for entry in entries:
        for name in entry.member.run.figures:
            part, metric = metric_of(name)
            if (
                metric is not None
                and part
                and metric.name not in ("loss", "gap")
                and name == metric.column(part)
            ):
                counts[name] = counts.get(name, 0) + 1
    kept = sorted(counts, key=lambda name: -counts[name])[:FIGURES]
    return [name for name in sweeps.figure_names([entry.member.run for entry in entries]) if name in kept]


def _row(member: Member, names: Sequence[str]) -> list[Cell]:
    summary, run = member.summary, member.run
    row = [words(shown(run.folder, 200), member.href), words(_text(summary, "command"))]
    row.append(
        Cell(run.status, run.status, title=shown(run.reason, 400), tone="" if run.finished else "warn")
    )
    row += [
        words(_text(summary, key) or shown(run.overrides.get(key, ""), 80))
        for key in ("space", "method", "dataset")
    ]
    seed = summary.get("seed")
    row.append(number(seed, str(seed)) if isinstance(seed, int) else words(""))
    figures = run.figures or figures_of(summary)
    row += [
        number(figures[name], forms.result(name, figures[name])) if name in figures else words("")
        for name in names
    ]
    params = summary.get("params")
    row.append(number(params, forms.count(params)) if isinstance(params, int) else words(""))
    row.append(maybe(member.seconds, timed(member.seconds)))
    return row


def _text(summary: Any, key: str) -> str:
    value = summary.get(key)
    return "" if value is None else shown(str(value), 80)


def _details(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """What is shown of a run beside another one."""
    details, left = [], PARTS
    drawn: dict[Genotype, Drawings] = {}
    for entry in entries:
        member = entry.member
        drawings: Drawings | None = None
        if entry.genotype is not None:
            if entry.genotype not in drawn and len(drawn) < DRAWN:
                drawn[entry.genotype] = draw(entry.genotype)
            drawings = drawn.get(entry.genotype)
            size = left + 1 if drawings is None else sum(len(drawing.parts) for drawing in drawings.items)
            if drawings is None or size > left:
                drawings = Drawings(
                    [], [], text_of(entry.genotype), "Not drawn: this index holds no more pictures."
                )
            else:
                left -= size
        figures = member.run.figures or figures_of(member.summary)
        settings = [
            Fact(shown(key, 80), shown(value, 200))
            for key, value in member.run.overrides.items()
            if value and key not in TOLD
        ]
        results = [Fact(forms.title(name), forms.result(name, value)) for name, value in figures.items()]
        about = [
            Fact(label, _text(member.summary, key))
            for key, label in (
                ("command", "command"), ("space", "space"), ("method", "method"), ("dataset", "data set"),
                ("recipe", "recipe"), ("seed", "seed"), ("epochs", "epochs"), ("device", "device"),
                ("git_commit", "commit"), ("split_hash", "split"),
            )
            if member.summary.get(key) is not None
        ]  # fmt: skip
        if member.seconds is not None:
            about.append(Fact("time", timed(member.seconds)))
        status = Fact("status", member.run.reason or member.run.status)
        details.append(
            {
                "name": shown(member.run.folder, 200),
                "href": member.href,
                "facts": [status, *results, *about],
                "settings": settings,
                "drawings": drawings,
            }
        )
    return details
