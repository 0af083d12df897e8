"""`docs/rows.md`: the tables of the data file, counts, reasons, and a line for every file."""

from collections import Counter
from collections.abc import Sequence

from experiments.records import markdown, sections
from experiments.rows.items import (
    COMMAND,
    NONE,
    STEPS,
    WHOLE,
    Header,
    Row,
    blocks,
    every_row,
    headers,
    rows_of,
)

PAPERS = {"darts": "DARTS", "drnas": "DrNAS", "dsonas": "DSO-NAS"}
REASONS = """## Rows without a file

Why each has none, or in which other space its file searches, with the tables that it is in. Parameters and
GPU days are those of DARTS's table 1; how networks of papers that were not at hand are made is general
knowledge, not checked."""
FILES = """## Every file

Made of the headers: what a file is of, the paper's figure, and what it costs. Its command and what differs
from the paper are there too: [conf/experiment](../conf/experiment)."""


def table(columns: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    return markdown([dict(zip(columns, line, strict=True)) for line in lines])


def counts(rows: Sequence[Row], known: dict[str, Header]) -> str:
    """How many rows of each paper have what."""
    found = Counter((row.table.partition("/")[0], row.kind(known)) for row in rows)
    kinds = (WHOLE, STEPS, COMMAND, NONE)
    lines = [
        [title, sum(found[paper, kind] for kind in kinds), *(found[paper, kind] for kind in kinds)]
        for paper, title in PAPERS.items()
    ]
    total = ["all", *(sum(line[place] for line in lines) for place in range(1, 2 + len(kinds)))]
    return table(["paper", "rows and figures", *kinds], [*lines, total])


def reasons(rows: Sequence[Row]) -> str:
    """A line for each row without a file; the same row of several tables is one."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.reason:
            found.setdefault((row.cells[0], row.reason), []).append(row.table)
    return table(
        ["row", "in", "why"],
        [[name, ", ".join(dict.fromkeys(tables)), reason] for (name, reason), tables in found.items()],
    )


def every_file(known: dict[str, Header]) -> str:
    """A line for each experiment."""
    lines = [[f"`{name}`", one.title.rstrip("."), one.published, one.cost] for name, one in known.items()]
    return table(["file", "what it is of", "published", "cost"], lines)


def page() -> str:
    """The whole page as Markdown."""
    known, given, parts = headers(), blocks(), []
    rows = every_row(given)
    for block in given:
        if "text" in block:
            parts.append(block["text"].strip("\n").replace("<!-- counts -->", counts(rows, known).strip()))
        else:
            lines = [[*row.cells, row.here] for row in rows_of(block)]
            parts.append(table(block["columns"], lines))
    return sections(*parts, REASONS, reasons(rows), FILES, every_file(known))
