"""The record of the chamber as data in the repository, and its tables in docs/reliability.md.

Cases and plants are records of their own: keeping the one leaves the other as it is.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from html import escape
from pathlib import Path

from experiments.records import between
from nas.engine.provenance import device_name
from nas.files import write_text
from torture.chamber import Chamber
from torture.record import Row, Tried, grid, row
from torture.room import Case, Room

RESULTS = Path(__file__).resolve().parent / "results"
PAGE = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- last run: python -m torture --keep -->", "<!-- end of last run -->"
BEGIN_PLANTS, END_PLANTS = "<!-- plants: python -m torture --plants --keep -->", "<!-- end of plants -->"
HEAD = ("room", "cases", "held", "failed", "not tried", "not reached", "inputs", "minutes")
PLANTS = "plants.csv"
# Of what a case says, in the table.
LONGEST = 120


def rows(chamber: Chamber, cells: bool = False, reach: bool = False) -> list[Row]:
    """What was tried, added up by room or by cell.

    Args:
        chamber: what has tried it.
        cells: whether a room's kinds of cases are apart.
        reach: whether the cases are counted that were not reached, for which rooms make all of their cases;
            what an earlier commit has tried and the present one no longer has is left out.
    """
    found = []
    for room in chamber.rooms:
        tried = [one for one in chamber.tried() if one.room == room.name]
        left: list[Case] = []
        if reach:
            known, there = {one.case for one in tried}, list(room.cases(chamber.seed))
            left = [case for case in there if case.name not in known]
            names = {case.name for case in there}
            tried = [one for one in tried if one.commit == chamber.commit or one.case in names]
        if not cells:
            found.append(row(room.name, "", tried, len(left)))
            continue
        beyond = [str(case.options.get("cell", "")) for case in left]
        found += [
            row(room.name, name, [one for one in tried if one.cell == name], beyond.count(name))
            for name in dict.fromkeys([one.cell for one in tried] + beyond)
        ]
    return found


def table(chamber: Chamber) -> str:
    """What was tried, a line a room, for the terminal."""
    return f"{grid(HEAD, [_line(one) for one in rows(chamber)])}\n\n{_commits(chamber)}"


def _line(one: Row) -> tuple[object, ...]:
    name = one.cell if one.cell else one.room
    counts = (one.cases, one.held, one.failed, one.not_tried, one.not_reached, one.inputs)
    return (name, *counts, f"{one.seconds / 60:.1f}")


def _commits(chamber: Chamber) -> str:
    """At which commits the cases were tried, in words."""
    tried = chamber.tried()
    counts = {name: sum(one.commit == name for one in tried) for name in chamber.commits}
    earlier = {name: count for name, count in counts.items() if count and name != chamber.commit}
    if not earlier:
        return f"All of them were tried at commit {chamber.commit}."
    listed = ", ".join(f"{count:,} at {name}" for name, count in earlier.items())
    return (
        f"{counts[chamber.commit]:,} of them were tried at commit {chamber.commit}, and {listed}, before it; "
        "these were not tried again."
    )


def keep(chamber: Chamber) -> None:
    """Writes the cases that were tried into torture/results and the page."""
    days = sorted({one.date for one in chamber.tried()})
    commits = {one.commit for one in chamber.tried()}
    origin = {
        "seed": chamber.seed, "commit": chamber.commit, "commits": len(commits),
        "machine": device_name("cpu"), "date": " to ".join(dict.fromkeys(days[:1] + days[-1:])),
    }  # fmt: skip
    by_cell = rows(chamber, cells=True, reach=True)
    _write("cells.csv", [asdict(one) | origin for one in by_cell])
    _write("failures.csv", [asdict(one) for one in chamber.tried() if one.verdict != "held"])
    _put(BEGIN, END, text(chamber, by_cell, origin))


def keep_plants(chamber: Chamber, rooms: Sequence[Room]) -> None:
    """Writes what became of plants into torture/results and the page, beside those that are kept of others.

    Args:
        chamber: what has tried them.
        rooms: all that there are; of plants that they no longer have the lines go.
    """
    now = {
        (one.room, one.plant): {
            "room": one.room, "plant": one.plant, "seen": "yes" if one.verdict == "held" else "no",
            "case": one.case, "cases": str(one.inputs), "said": one.said, "seconds": str(one.seconds),
            "seed": str(one.seed), "commit": one.commit, "date": one.date,
        }
        for one in chamber.planted()
    }  # fmt: skip
    kept = {(one["room"], one["plant"]): one for one in plants_kept()} | now
    there = [(room.name, name) for room in rooms for name in room.plants]
    lines = [kept[one] for one in there if one in kept]
    _write(PLANTS, lines)
    _put(BEGIN_PLANTS, END_PLANTS, text_of_plants(rooms, lines))


def plants_kept() -> list[dict[str, str]]:
    """The lines of the record of plants."""
    with (RESULTS / PLANTS).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _put(begin: str, end: str, words: str) -> None:
    before, _, behind = between(PAGE.read_text(encoding="utf-8"), begin, end)
    write_text(PAGE, f"{before}\n{words}\n{behind}")


def _write(name: str, lines: Sequence[Mapping[str, object]]) -> None:
    out = io.StringIO()
    if lines:
        writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    write_text(RESULTS / name, out.getvalue(), parents=True)


def text(chamber: Chamber, by_cell: Sequence[Row], origin: Mapping[str, object]) -> str:
    """What docs/reliability.md says of a run."""
    totals = [
        _sum(name, [one for one in by_cell if one.room == name])
        for name in dict.fromkeys(one.room for one in by_cell)
    ]
    parts = [
        f"Commit {origin['commit']}, {origin['date']}, seed {origin['seed']}, {origin['machine']}. "
        f"{_commits(chamber)}",
        grid(HEAD, [_line(one) for one in totals]),
    ]
    failed = [one for one in chamber.tried() if one.verdict == "failed"]
    parts += ["What failed:", "\n".join(map(_said, failed))] if failed else []
    told = _told([one for one in chamber.tried() if one.verdict == "held" and one.said])
    parts += ["What was said of cases that held:", told] if told else []
    for room in chamber.rooms:
        mine = [one for one in by_cell if one.room == room.name and one.cell]
        if mine:
            parts.append(f"{room.name}, by kind of case:")
            parts.append(grid(HEAD, [_line(one) for one in mine]))
    return "\n\n".join(parts) + "\n"


def _said(one: Tried) -> str:
    return f"- {one.room} `{one.case}`: {escape(one.said, quote=False)}"


def _told(tried: Sequence[Tried]) -> str:
    """What was said of cases, a line where it was of one case alone, and else how many there were."""
    found: dict[tuple[str, str], list[Tried]] = {}
    for one in tried:
        found.setdefault((one.room, one.said.partition(": ")[0]), []).append(one)
    return "\n".join(
        _said(alike[0]) if len(alike) == 1 else f"- {room}: {len(alike):,} cases: {words}"
        for (room, words), alike in found.items()
    )


def text_of_plants(rooms: Sequence[Room], lines: Sequence[Mapping[str, str]]) -> str:
    """What docs/reliability.md says of plants, those that have not been run among them."""
    kept = {(one["room"], one["plant"]): one for one in lines}
    found: list[tuple[object, ...]] = []
    for room in rooms:
        for name, plant in room.plants.items():
            one = kept.get((room.name, name))
            if one is None:
                found.append((room.name, name, plant.about, "not run", "", "", ""))
                continue
            seen = f"`{one['case']}`" if one["seen"] == "yes" else "**by none**"
            origin = f"{one['commit']}, {one['date']}"
            said = escape(one["said"][:LONGEST], quote=False)
            found.append((room.name, name, plant.about, seen, int(one["cases"]), said, origin))
    counts = {what: sum(line[3] == what for line in found) for what in ("not run", "**by none**")}
    caught = len(found) - sum(counts.values())
    head = (
        f"Of {len(found)} planted faults {caught} were seen, {counts['**by none**']} were not, and "
        f"{counts['not run']} have not been run."
    )
    names = ("room", "plant", "what is planted", "seen by", "after cases", "which says", "commit")
    return f"{head}\n\n{grid(names, found)}\n"


def _sum(room: str, parts: Sequence[Row]) -> Row:
    numbers = [sum(values) for values in list(zip(*(astuple(one) for one in parts), strict=True))[2:]]
    return Row(room, "", *numbers)
