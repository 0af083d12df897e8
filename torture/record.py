"""What has been tried: a line a case in a file, and the tables that are made of it."""

import hashlib
import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from nas.engine.provenance import ROOT, git_commit
from torture.room import Verdict

# What a verdict depends on.
CODE = (
    "nas", "conf", "torture", "tests", "experiments/records.py", "experiments/methods/results/matrix.csv",
    ":!torture/results",
)  # fmt: skip


@dataclass(frozen=True)
class Tried:
    """A case that has been tried, or a plant.

    Attributes:
        room: its room.
        case: its name; of a plant that of the case that has seen it, empty where none has.
        cell: what kind of case it is, a row of the second table.
        seed: that of the chamber.
        verdict: what became of it.
        said: why, where it did not hold.
        seconds: how long it took.
        inputs: how many inputs it stood for; of a plant how many cases were tried.
        commit: of the code, as `revision` has it.
        date: the day, UTC.
        plant: the fault that was planted; empty for none.
    """

    room: str
    case: str
    cell: str
    seed: int
    verdict: Verdict
    said: str
    seconds: float
    inputs: int
    commit: str
    date: str
    plant: str = ""


def revision() -> str:
    """The last commit of the code, with a mark of its own for each state that is changed since.

    Pages and records are no code: a commit of them alone leaves the revision as it was.
    """
    commit = git_commit()
    if commit is None:
        return "unknown"
    head, _, changed = commit.partition("+")
    head = _git("log", "-1", "--format=%H", "--", *CODE).strip() or head
    text = _git("diff", "HEAD", "--", *CODE) if changed else ""
    return (
        f"{head[:12]}+{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
        if text
        else head[:12]
    )


def revisions(since: str) -> list[str]:
    """The revisions of the code from that of a commit to the present one, oldest first.

    Raises:
        LookupError: it is no commit that the present one follows.
    """
    try:
        _git("merge-base", "--is-ancestor", since, "HEAD")
        first = _git("log", "-1", "--format=%H", since, "--", *CODE).split()
        # Of merged branches too: they may have been tried before they were merged.
        further = _git("log", "--full-history", "--format=%H", f"{since}..HEAD", "--", *CODE).split()
    except (OSError, subprocess.CalledProcessError) as error:
        raise LookupError(f"--since {since}: no commit that the present one follows") from error
    return list(dict.fromkeys([*(one[:12] for one in [*first, *reversed(further)]), revision()]))


def _git(*words: str) -> str:
    line = ["git", "-C", str(ROOT), *words]
    return subprocess.run(line, capture_output=True, check=True).stdout.decode("utf-8", "surrogateescape")


def today() -> str:
    """The day, UTC."""
    return datetime.now(UTC).date().isoformat()


class Record:
    """The file of all cases that were tried in a folder, which grows by a line a case.

    Args:
        path: the file; it need not be there.
    """

    def __init__(self, path: Path):
        self.path = path
        self.tried = [Tried(**json.loads(line)) for line in _whole_lines(path)]

    def add(self, one: Tried) -> None:
        """Adds a case at once, so that it need not be tried again."""
        self.tried.append(one)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(one)) + "\n")

    def of(self, commits: Sequence[str], seed: int) -> list[Tried]:
        """The cases and plants that commits have tried with a seed; of one that was tried twice the last.

        What has failed at a commit before the present one has failed, whatever others before it say: of
        merged branches none need have the code of the other.

        Args:
            commits: the present one last.
            seed: of the chamber.
        """
        mine = [one for one in self.tried if one.commit in commits and one.seed == seed]
        mine.sort(key=lambda one: commits.index(one.commit))
        found: dict[tuple[str, str, str], Tried] = {}
        for one in mine:
            key = (one.room, one.plant or one.case, one.plant)
            known = found.get(key)
            if (
                known is None
                or known.verdict != "failed"
                or one.verdict == "failed"
                or one.commit == commits[-1]
            ):
                found[key] = one
        return list(found.values())


def _whole_lines(path: Path) -> list[str]:
    """Lines that came to their end: the chamber itself may be killed."""
    if not path.is_file():
        return []
    return [
        line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
    ]


@dataclass(frozen=True)
class Row:
    """Cases of a room, or of one of its cells, added up.

    Attributes:
        room: the room.
        cell: the kind of case; empty where all of a room are meant.
        cases: how many were tried.
        held: of these.
        failed: of these.
        not_tried: which this machine cannot try.
        not_reached: cases that the time did not suffice for.
        inputs: that the cases stood for.
        seconds: of all.
    """

    room: str
    cell: str
    cases: int
    held: int
    failed: int
    not_tried: int
    not_reached: int
    inputs: int
    seconds: float


NAMES = tuple(field.name for field in fields(Row))


def row(room: str, cell: str, tried: Sequence[Tried], not_reached: int = 0) -> Row:
    """Adds cases up."""
    counts = {
        verdict: sum(one.verdict == verdict for one in tried) for verdict in ("held", "failed", "not tried")
    }
    return Row(
        room, cell, len(tried) - counts["not tried"], counts["held"], counts["failed"], counts["not tried"],
        not_reached, sum(one.inputs for one in tried if one.verdict != "not tried"),
        round(sum(one.seconds for one in tried), 1),
    )  # fmt: skip


def grid(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    cells = [[_cell(value) for value in line] for line in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [list(head), ["---"] * len(head), *cells])


def _cell(value: object) -> str:
    text = (
        f"{value:,}"
        if isinstance(value, int)
        else f"{value:,.0f}"
        if isinstance(value, float)
        else str(value)
    )
    return text.replace("|", "\\|").replace("\n", " ")
