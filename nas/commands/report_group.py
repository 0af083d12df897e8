"""Pages of several runs: of a sweep, a protocol, or any folder of runs; and the index of its runs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nas.analysis import sweeps
from nas.analysis.statistics import LEVEL
from nas.commands.report_run import INDEX, PAGE, write_page, write_run
from nas.errors import ConfigError, require
from nas.files import write_text
from nas.pages import made
from nas.pages.blocks import Command, Note, Section
from nas.pages.folder import Folder
from nas.pages.group_page import Group, GroupPage
from nas.pages.index_page import Entry, index_page
from nas.pages.members import Member
from nas.pages.of_commands import csv_table
from nas.pages.render import render
from nas.printable import printable, shown
from nas.reading.yaml_text import read_mapping
from nas.running import multirun, repeating
from nas.running.own_files import check_page
from nas.running.runs import Found, read_runs
from nas.running.words import pasted, quoted, word

# Runs whose curves and cells are read; all are in the tables.
MOST = 400
# Command of a folder of several runs -> the words above its page.
GROUPS = {"protocol": "nas.protocol"}


def write_group(
    folder: Path,
    output: Path,
    over: Sequence[str] = sweeps.SEEDS,
    figure: str | None = None,
    baseline: str | None = None,
    test: str = "permutation",
    level: float = LEVEL,
    runs: bool = False,
) -> list[Path]:
    """Writes the page of several runs and, beside it, their index.

    Args:
        folder: holds run folders at any depth.
        output: the file of the page.
        over: keys that are averaged over.
        figure: what the charts show; None for the first there is.
        baseline: overrides of the row that the others are compared with; None for none.
        test: of the comparison, one of `TESTS`.
        level: of the intervals.
        runs: whether each run gets a page of its own too.

    Returns:
        The files that were written: page, index, and how many pages of runs.

    Raises:
        ConfigError: there is no run, no run has the figure, or no row is the baseline.
    """
    found = read_runs(folder)
    require(len(found.runs) > 0, f"folder={folder}: no run folder there or below")
    index = output.with_name(INDEX)
    check_page(index, f"folder={folder}")
    if runs:
        _write_runs(found)
    members = _members(found, output.parent)
    own = Folder(folder)
    summary = _own_summary(own)
    command = str(summary.get("command", ""))
    group = Group(
        folder.name,
        GROUPS.get(command, "runs"),
        members,
        over,
        figure,
        baseline,
        found.warnings,
        _commands(folder, output, _words(over, figure, baseline, test, level), runs),
        test,
        level,
        _further(own, command, folder, output.parent),
        [("Index of all runs", INDEX)],
        made.made(),
        printable(str(summary.get("status", ""))),
    )
    page = GroupPage(group).page()
    entries = [
        Entry(member, Folder(place).genotype() if number < MOST and place.is_dir() else None)
        for number, (member, place) in enumerate(zip(members, found.places, strict=True))
    ]
    write_page(output, page)
    links = [("The table of these runs", "./" + quote(output.name))]
    write_text(index, render(index_page(folder.name, entries, links, made.made()), "index.html.j2"))
    return [output, index]


def _own_summary(folder: Folder) -> dict[str, Any]:
    """What a folder of several runs says of itself; empty for one that only holds them."""
    return folder.object("summary.json")


def _write_runs(found: Found) -> None:
    """A page for each run that can have one; what cannot is named."""
    for run, place in zip(found.runs, found.places, strict=True):
        if not place.is_dir():
            continue
        try:
            check_page(place / PAGE, f"run {run.folder}")
            write_run(place, place / PAGE)
        except ConfigError as error:
            print(f"no page of {run.folder}: {error}", flush=True)


def _members(found: Found, beside: Path) -> list[Member]:
    members = []
    for number, (run, place) in enumerate(zip(found.runs, found.places, strict=True)):
        if not place.is_dir():
            members.append(Member(run))
            continue
        folder = Folder(place)
        rows = folder.table("metrics.csv") if number < MOST and run.finished else []
        members.append(Member(run, folder.summary(), rows, _href(place / PAGE, beside)))
    return members


def _href(page: Path, beside: Path) -> str:
    """The relative place of a page; empty where there is none."""
    if not page.is_file():
        return ""
    # With a dot ahead nothing in a folder's name can be taken for the scheme of an address.
    return "./" + quote(Path(os.path.relpath(page, beside)).as_posix())


def _further(folder: Folder, command: str, path: Path, beside: Path) -> list[Section]:
    """What the folder of a protocol says besides its runs: its own table."""
    if command not in GROUPS:
        return []
    rows = folder.table("table.csv")
    blocks: list[Any] = []
    if rows:
        blocks.append(csv_table(rows, "The rows of the table", None, "table.csv"))
    else:
        blocks.append(Note(folder.missing("table.csv", "No table"), "warn"))
    return [Section("table", "The table", blocks, "As the protocol has written it.")]


def _words(
    over: Sequence[str], figure: str | None, baseline: str | None, test: str, level: float
) -> list[str]:
    """What was typed of how the runs are compared, for the commands that make it again."""
    found = [] if tuple(over) == sweeps.SEEDS else [f"over={word(list(over))}"]
    found += [f"{key}={quoted(one)}" for key, one in (("figure", figure), ("baseline", baseline)) if one]
    found += [] if test == "permutation" else [f"test={test}"]
    return found + ([] if level == LEVEL else [f"level={level}"])


def _commands(folder: Path, output: Path, words: Sequence[str], runs: bool) -> list[Command]:
    multi = _multirun(folder)
    table = ["python", "-m", "nas.sweeps", f"folder={quoted(folder)}", *words]
    page = ["python", "-m", "nas.report", f"folder={quoted(folder)}", *words]
    page += [] if output == folder / PAGE else [f"output={quoted(output)}"]
    page += ["runs=true"] if runs else []
    return [
        *([] if multi is None else [multi]),
        Command("The table as text and CSV:", pasted(table)),
        Command("Make this page again:", pasted(page)),
    ]


def _multirun(folder: Path) -> Command | None:
    """The command that repeats a multirun; None for a folder that is none."""
    path = folder / "multirun.yaml"
    if not os.path.lexists(path):
        return None
    label = "Repeat all of it, into a new folder:"
    try:
        jobs, _, command = multirun.read_jobs(path)
        typed = read_mapping(path)["hydra"]["overrides"]["task"]
    except ConfigError as error:
        return Command(label, "", f"Not printed: {error}")
    # What is swept over is looked at job by job, as it would run.
    why = next((found for job in jobs if (found := repeating.refusal(job)) is not None), None)
    if why is not None or not jobs:
        return Command(
            label, "", f"Not printed: {why or 'a sweeper chose the jobs'}; see {shown(path.name)}."
        )
    return Command(label, pasted(["python", "-m", f"nas.{command}", "-m", *typed]))
