"""`python -m nas.report` of one run: what its folder says, and the commands that repeat it."""

import os
from collections.abc import Sequence
from pathlib import Path

from nas.analysis.summaries import COMMANDS
from nas.errors import ConfigError, require
from nas.files import sweep as remove_remains
from nas.files import write_text
from nas.pages import made
from nas.pages.blocks import Command, Page
from nas.pages.folder import Folder
from nas.pages.render import render
from nas.pages.run_page import Given, RunPage, Setting
from nas.printable import shown
from nas.running import repeating
from nas.running.asked import asked
from nas.running.config import CONF
from nas.running.runs import again
from nas.running.saved import read_overrides
from nas.running.words import pasted, quoted

PAGE, INDEX = "report.html", "index.html"


def write_page(output: Path, page: Page) -> None:
    """Writes a page, and removes what a broken attempt has left beside it.

    Raises:
        ConfigError: the page would be too large, or cannot be written.
    """
    text = render(page)
    remove_remains(output.parent)
    write_text(output, text)


def write_run(folder: Path, output: Path, links: Sequence[tuple[str, str]] = ()) -> Path:
    """Writes the page of one run.

    Raises:
        ConfigError: neither its summary nor its configuration can be read, or the page would be too large.
    """
    found = Folder(folder)
    command = _command(found)
    typed = _typed(found)
    settings = _settings(command, found, typed)
    given = Given(
        folder.name, command, settings, typed, _commands(command, folder, typed, found), links, made.made()
    )
    page = RunPage(found, given).page()
    write_page(output, page)
    return output


def _command(folder: Folder) -> str:
    """Which command made a run, as its files say."""
    told = folder.summary().get("command") or folder.config().get("command")
    problems = "; ".join(folder.problems.values())
    require(
        told is not None,
        f"folder={folder.path}: no run that can be read ({problems or 'it names no command'})",
    )
    require(
        told in COMMANDS,
        f"folder={folder.path}: no page of a run of {shown(told)}; known are {', '.join(COMMANDS)}",
    )
    return str(told)


def _typed(folder: Folder) -> list[str]:
    path = folder.path / "overrides.yaml"
    if not os.path.lexists(path):
        return []
    try:
        folder.keep_within("overrides.yaml")
        return read_overrides(path)
    except ConfigError as error:
        folder.problems["overrides.yaml"] = str(error)
        return []


def _settings(command: str, folder: Folder, typed: Sequence[str]) -> list[Setting] | str:
    saved = folder.config()
    if not saved:
        return folder.missing("config.yaml", "What was asked is not known")
    if not (CONF / f"{command}.yaml").is_file():
        return f"What nas.{command} has by itself is not known to this version."
    try:
        found = asked(command, saved, typed)
    except Exception as error:  # whatever a stranger's configuration makes Hydra say, the page goes on
        return f"What was asked cannot be compared with the defaults: {shown(str(error), 300)}"
    return [Setting(one.key, one.value, one.usual, one.by, one.known) for one in found]


def _commands(command: str, folder: Path, typed: Sequence[str], found: Folder) -> list[Command]:
    """What repeats a run, continues it and looks at it again."""
    why = repeating.refusal(typed)
    line = "" if why else pasted(["python", "-m", f"nas.{command}", *typed])
    commands = [
        Command(
            "Repeat it, into a new folder:", line, f"Not printed: {why}; see overrides.yaml." if why else ""
        )
    ]
    summary = found.summary()
    if summary.get("status") != "finished":
        more = again(folder, summary, typed)
        if more.startswith("python"):
            commands.append(Command("Go on where it ended:", more))
    commands.append(
        Command("Make this page again:", pasted(["python", "-m", "nas.report", f"folder={quoted(folder)}"]))
    )
    return [one for one in commands if one.line or one.why]
