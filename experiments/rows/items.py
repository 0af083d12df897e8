"""The data file and the headers, read: rows with what is here for them, files as they say what they are."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nas.running.config import CONF
from nas.running.declared import read_file

ITEMS = Path(__file__).with_name("items.yaml")
FILE = re.compile(r"`((?:darts|drnas|dsonas|start)/\w+)")
SWEEP = re.compile(r"`nas\.\w+ -m sweep=(\w+)")
WORDS = ("command", "cost", "published")
# What a row has: all of it by one override (places of data and tables, and hardware, apart), files that need
# more words, or neither and a reason.
WHOLE, STEPS = "one override", "several words or commands"
COMMAND, NONE = "a command without a file", "no file"


@dataclass(frozen=True)
class Row:
    """One row of a table, or one figure.

    Attributes:
        table: `<paper>/<table>`.
        cells: what the paper has, its name first.
        here: what there is for it.
        reason: why there is no file, or why it is another search; None where there is nothing to say.
    """

    table: str
    cells: tuple[str, ...]
    here: str
    reason: str | None

    @property
    def files(self) -> list[str]:
        """Experiments that it names."""
        return FILE.findall(" ".join((*self.cells, self.here)))

    def kind(self, headers: dict[str, "Header"]) -> str:
        """One of the words above."""
        if any(headers[name].whole for name in self.files) or "published cell" in self.here:
            return WHOLE
        if any(names_its_runs(sweep) for sweep in SWEEP.findall(self.here)):
            return WHOLE
        return STEPS if self.files else NONE if self.reason else COMMAND


@dataclass(frozen=True)
class Header:
    """What a file of conf/experiment says of itself.

    Attributes:
        title: what it is.
        command: as it is typed.
        cost: what it takes, and where.
        published: the paper's figure.
        whole: whether it is a whole row: a protocol.
    """

    title: str
    command: str
    cost: str
    published: str
    whole: bool


def names_its_runs(sweep: str) -> bool:
    """Whether a file of conf/sweep says which experiments it runs, and needs no cell found before."""
    params = yaml.safe_load((CONF / f"sweep/{sweep}.yaml").read_text())["hydra"]["sweeper"]["params"]
    if "experiment" not in params:
        return False
    given = [read_file(CONF / f"experiment/{name}.yaml") for name in params["experiment"].split(",")]
    return "genotype" in params or all(one["made_for"] == "search" for one in given)


def header(text: str) -> Header:
    """The header of a file; of a word that goes on for lines all of them."""
    lines = text.partition("made_for:")[0].splitlines()[1:]
    found: dict[str, str] = {}
    last = None
    for line in lines[1:]:
        word = re.match(r"#   (\w+) +(.*)$", line)
        if word and word[1] in WORDS:
            last = word[1]
            found[last] = word[2]
        elif last and re.match(r"# {8,}\S", line):
            found[last] += " " + line.lstrip("# ")
        else:
            last = None
    whole = "\nmade_for: protocol" in text
    return Header(lines[0].lstrip("# "), *(found[word] for word in WORDS), whole=whole)


def headers() -> dict[str, Header]:
    """Every file of conf/experiment by its name, `<paper>/<file>`."""
    folder = CONF / "experiment"
    return {
        str(path.relative_to(folder).with_suffix("")): header(path.read_text())
        for path in sorted(folder.rglob("*.yaml"))
    }


def blocks() -> list[dict[str, Any]]:
    """The data file's texts and tables, in the order of the page; reasons by name are in words."""
    data = yaml.safe_load(ITEMS.read_text())
    for block in data["blocks"]:
        for row in block.get("rows", ()):
            row["why"] = data["reasons"].get(row.get("why"), row.get("why"))
    return data["blocks"]


def rows_of(block: dict[str, Any]) -> list[Row]:
    """The rows of a table; none of a text."""
    return [Row(block["name"], tuple(row["cells"]), row["here"], row["why"]) for row in block.get("rows", ())]


def every_row(found: Sequence[dict[str, Any]]) -> list[Row]:
    """All rows of the papers; not the list of files that are no row."""
    return [row for block in found if block.get("name") != "none" for row in rows_of(block)]
