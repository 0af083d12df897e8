"""Runs that nothing happens to, made once for a commit, with their writes: what others are held against."""

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from torture import faults
from torture.commands import Ended, Failed, command, held
from torture.kinds import KINDS, Kind
from torture.record import revision
from torture.same import differences, fingerprint, left_behind


@dataclass(frozen=True)
class Whole:
    """A run that nothing happened to.

    Attributes:
        run: its folder.
        writes: `<operation> <path>` of each of its writes, in order.
        seconds: how long its command took.
        err: what it printed as errors.
        out: what it printed.
    """

    run: Path
    writes: list[str]
    seconds: float
    err: str
    out: str


class Wholes:
    """Makes and remembers them.

    Args:
        folder: where they are kept.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._commit = revision()
        self._known: dict[str, Whole] = {}

    def of(self, kind: Kind) -> Whole:
        """The whole run of a kind.

        Raises:
            Failed: it cannot be had, whatever is tried on it.
        """
        if kind.name not in self._known:
            self._known[kind.name] = self._read(kind) or self._made(kind)
        return self._known[kind.name]

    def sources(self, kind: Kind) -> dict[str, Path]:
        """The folders of runs that a kind goes on from."""
        return {one.name: self.of(one).run for one in KINDS if one.name == kind.source}

    def _read(self, kind: Kind) -> Whole | None:
        file = self.folder / kind.name / "whole.json"
        if not file.is_file():
            return None
        found = json.loads(file.read_text(encoding="utf-8"))
        if found.pop("commit") != self._commit:
            return None
        return Whole(**found | {"run": Path(found["run"])})

    def _made(self, kind: Kind) -> Whole:
        place = self.folder / kind.name
        sources = self.sources(kind)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        run, notes = place / "run", place / "notes"
        words = kind.typed(sources, run)
        done = command(kind.command, *words, place=place, plant=False, variables=faults.armed(run, notes))
        held(done.status == 0, f"{kind.name} does not run: status {done.status}, {done.last}")
        held(not left_behind(run), f"{kind.name} leaves {', '.join(left_behind(run))}")
        if not (notes / "writes.txt").is_file():
            raise Failed(f"no write of {kind.name} was seen: is the library preloaded?")
        whole = Whole(run, faults.listed(notes), done.seconds, done.err, done.out)
        text = json.dumps(asdict(whole) | {"run": str(run), "commit": self._commit})
        (place / "whole.json").write_text(text, encoding="utf-8")
        return whole


def again(kind: Kind, run: Path, place: Path, sources: dict[str, Path], **options) -> Ended:
    """Goes on with a run as its user would: resumed where its folder says so, else started anew."""
    begun = time.monotonic()
    if kind.resumes and (run / "config.yaml").is_file():
        words = [f"resume={run}"]
    else:
        words = kind.typed(sources, run)
    done = command(kind.command, *words, place=place, **options)
    return Ended(done.status, done.out, done.err, time.monotonic() - begun)


def goes_on(kind: Kind, whole: Whole, sources: dict[str, Path], run: Path, place: Path) -> Path:
    """Has a run go on that was broken off, or another do the same where it cannot.

    Returns:
        The folder that is to be looked at.

    Raises:
        Failed: it does not, or says something else than the run that nothing happened to.
    """
    if not kind.resumes and run.is_dir():
        before, fresh = fingerprint(run), place / "again" / "run"
        done = again(kind, fresh, fresh.parent, sources)
        held(fingerprint(run) == before, "repeating it has changed what was broken off")
        run = fresh
    else:
        done = again(kind, run, place, sources)
    held(done.status == 0, f"does not go on: status {done.status}, {done.last}")
    held(done.err == whole.err, f"goes on with other words: {done.err.strip()[:200]!r}")
    held("Traceback" not in done.out, "goes on with a traceback")
    return run


def same_end(kind: Kind, whole: Whole, run: Path) -> None:
    """Holds a folder against that of the run that nothing happened to.

    Raises:
        Failed: something differs, or is left over.
    """
    found = differences(whole.run, run, kind.measures)
    held(not found, f"{len(found)} differences, the first: {'; '.join(found[:3])}")
    held(not left_behind(run), f"left over: {', '.join(left_behind(run))}")
