"""The record of a run of the chamber as data in the repository, and its tables in docs/reliability.md."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from pathlib import Path

from experiments.records import between
from nas.engine.provenance import device_name
from nas.files import write_text
from torture.chamber import Chamber
from torture.record import Row, Tried, grid, row

RESULTS = Path(__file__).resolve().parent / "results"
PAGE = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- last run: python -m torture --keep -->", "<!-- end of last run -->"
HEAD = ("room", "cases", "held", "failed", "not tried", "not reached", "inputs", "minutes")


def rows(chamber: Chamber, cells: bool = False, reach: bool = False) -> list[Row]:
    """What was tried, added up by room or by cell.

    Args:
        chamber: what has tried it.
        cells: whether a room's kinds of cases are apart.
        reach: whether the cases are counted that were not reached, for which rooms make all of their cases.
    """
    found = []
    for room in chamber.rooms:
        tried = [one for one in chamber.tried() if one.room == room.name]
        known = {one.case for one in tried}
        left = [case for case in room.cases(chamber.seed) if case.name not in known] if reach else []
        if not cells:
            found.append(row(room.name, "", tried, len(left)))
            continue
        beyond = [str(case.options.get("cell", "")) for case in left]
        names = dict.fromkeys([one.cell for one in tried] + beyond)
        found += [
            row(room.name, name, [one for one in tried if one.cell == name], beyond.count(name))
            for name in names
        ]
    return found


def table(chamber: Chamber) -> str:
    """What was tried, a line a room, for the terminal."""
    return grid(HEAD, [_line(one) for one in rows(chamber)])


def _line(one: Row) -> tuple[object, ...]:
    name = one.cell if one.cell else one.room
    counts = (one.cases, one.held, one.failed, one.not_tried, one.not_reached, one.inputs)
    return (name, *counts, f"{one.seconds / 60:.1f}")


def keep(chamber: Chamber) -> None:
    """Writes what was tried into torture/results and the page; of each plant its last trial."""
    origin = {"seed": chamber.seed, "commit": chamber.commit, "machine": device_name("cpu")}
    by_cell = rows(chamber, cells=True, reach=True)
    days = sorted({one.date for one in chamber.tried()})
    origin["date"] = " to ".join(dict.fromkeys(days[:1] + days[-1:]))
    _write("cells.csv", [asdict(one) | origin for one in by_cell])
    _write("failures.csv", [asdict(one) for one in chamber.tried() if one.verdict != "held"])
    plants = list({(one.room, one.plant): one for one in chamber.record.tried if one.plant}.values())
    _write("plants.csv", [asdict(one) for one in plants])
    page = PAGE.read_text(encoding="utf-8")
    before, _, behind = between(page, BEGIN, END)
    write_text(PAGE, f"{before}\n{text(chamber, by_cell, plants, origin)}\n{behind}")


def _write(name: str, lines: Sequence[Mapping[str, object]]) -> None:
    out = io.StringIO()
    if lines:
        writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    write_text(RESULTS / name, out.getvalue(), parents=True)


def text(
    chamber: Chamber, by_cell: Sequence[Row], plants: Sequence[Tried], origin: Mapping[str, object]
) -> str:
    """What docs/reliability.md says of a run."""
    abouts = {room.name: room for room in chamber.rooms}
    totals = [
        _sum(name, [one for one in by_cell if one.room == name])
        for name in dict.fromkeys(one.room for one in by_cell)
    ]
    parts = [
        f"Commit {origin['commit']}, {origin['date']}, seed {origin['seed']}, {origin['machine']}.",
        grid(HEAD, [_line(one) for one in totals]),
    ]
    failed = [one for one in chamber.tried() if one.verdict == "failed"]
    if failed:
        parts.append("What failed:")
        parts.append("\n".join(f"- {one.room} `{one.case}`: {one.said}" for one in failed))
    measured = [one for one in chamber.tried() if one.verdict == "held" and one.said]
    if measured:
        parts.append("What was measured:")
        parts.append("\n".join(f"- {one.room} `{one.case}`: {one.said}" for one in measured))
    for name, room in abouts.items():
        mine = [one for one in by_cell if one.room == name and one.cell]
        if mine:
            parts.append(f"{room.name}, by kind of case:")
            parts.append(grid(HEAD, [_line(one) for one in mine]))
    if plants:
        lines = [
            (
                one.room,
                abouts[one.room].plants[one.plant].about,
                "yes" if one.verdict == "held" else "**no**",
                one.inputs,
                one.commit[:12],
            )
            for one in plants
            if one.room in abouts and one.plant in abouts[one.room].plants
        ]
        parts.append("Faults that were planted, and whether their room saw them:")
        parts.append(grid(("room", "planted", "seen", "after cases", "commit"), lines))
    return "\n\n".join(parts) + "\n"


def _sum(room: str, parts: Sequence[Row]) -> Row:
    numbers = [sum(values) for values in list(zip(*(astuple(one) for one in parts), strict=True))[2:]]
    return Row(room, "", *numbers)
