"""The chamber: cases of all rooms, each in a folder of its own, as long as there is time."""

import re
import shutil
import socket
import time
import traceback
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from torture.commands import ROOT
from torture.record import Record, Tried, today
from torture.room import Case, Outcome, Room
from torture.rooms import planted

# Cases after which a room has not seen a planted fault.
PATIENCE = 60


class Chamber:
    """Tries cases and writes down what became of them.

    Args:
        folder: where the record is, and folders of cases that failed.
        rooms: what is tried.
        seed: what rooms make their cases of.
        commits: of the code, the present one last; what they have tried is not tried again, but for what
            has failed at one of the others and was not tried at the present one.
        minutes: after which no further case begins but the first of a room; None for no end.
    """

    def __init__(
        self, folder: Path, rooms: Sequence[Room], seed: int, commits: Sequence[str],
        minutes: float | None = None,
    ):  # fmt: skip
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rooms = rooms
        self.seed = seed
        self.commits, self.commit = commits, commits[-1]
        self.record = Record(self.folder / "cases.jsonl")
        self.console = Console(soft_wrap=True)
        self._end = None if minutes is None else time.monotonic() + 60 * minutes

    def tried(self) -> list[Tried]:
        """What the commits have tried with this seed, plants apart, in the rooms that are looked at."""
        return [one for one in self._found() if not one.plant]

    def planted(self) -> list[Tried]:
        """What the commits have found of plants with this seed, in the rooms that are looked at."""
        return [one for one in self._found() if one.plant]

    def _found(self) -> list[Tried]:
        names = {room.name for room in self.rooms}
        return [one for one in self.record.of(self.commits, self.seed) if one.room in names]

    def _holds_still(self, one: Tried) -> bool:
        """Whether what was tried need not be tried again."""
        return one.commit == self.commit or one.verdict != "failed"

    def go(self) -> None:
        """Tries a case of each room, then one of the room that has had the least time, and so on."""
        known = {(one.room, one.case) for one in self.tried() if self._holds_still(one)}
        begun = {one.room for one in self.tried()}
        spent = {room.name: 0.0 for room in self.rooms}
        for one in self.tried():
            spent[one.room] += one.seconds
        left = {room.name: (room, self._made(room)) for room in self.rooms}
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task("")
            while left:
                name = min(left, key=lambda one: (one in begun, spent[one]))
                if self._over() and name in begun:
                    break
                room, cases = left[name]
                since = time.monotonic()
                case = next((one for one in cases if (name, one.name) not in known), None)
                if case is None:
                    del left[name]
                    continue
                number = len(self.record.tried) + 1
                progress.update(task, description=f"{name}: {case.name} (case {number} of this folder)")
                self.attempt(room, case)
                begun.add(name)
                spent[name] += time.monotonic() - since

    def one(self, name: str) -> Tried:
        """Tries the case of a name, once more where it has been tried.

        Raises:
            LookupError: no room has it.
        """
        for room in self.rooms:
            for case in room.cases(self.seed):
                if case.name == name:
                    return self.attempt(room, case)
        raise LookupError(f"--case {name}: no case of {', '.join(room.name for room in self.rooms)}")

    def plants(self, names: Sequence[str] = ()) -> list[Tried]:
        """Puts each fault in and tries cases until one goes red; a line a plant, which `held` if one did.

        Args:
            names: of plants, which are tried once more where they have been tried; all of the rooms where
                empty.

        Raises:
            LookupError: no room has one of them.
        """
        there = [(room, name) for room in self.rooms for name in room.plants]
        unknown = set(names) - {name for _, name in there}
        if unknown:
            known = ", ".join(f"{name} ({room.name})" for room, name in there)
            raise LookupError(f"--plants {' '.join(sorted(unknown))}: unknown; known are {known}")
        seen = {(one.room, one.plant) for one in self.planted() if one.verdict == "held"}
        for room, name in there:
            if name in names or (not names and (room.name, name) not in seen):
                if self._over():
                    break
                self._plant(room, name)
        mine = {(room.name, name) for room, name in there if name in names or not names}
        return [one for one in self.planted() if (one.room, one.plant) in mine]

    def _plant(self, room: Room, name: str) -> None:
        begun, plant = time.monotonic(), room.plants[name]
        try:
            case, outcome = self._seen(room, name)
        except Exception as error:
            case, outcome = Case(""), Outcome("failed", f"{type(error).__name__}: {error}", 0)
        told = "caught" if outcome.verdict == "held" else f"NOT CAUGHT ({plant.about})"
        one = self._written(room, case, outcome, begun, plant=name)
        self.console.print(f"{room.name} {name}: {told}, {case.name} {one.said}", markup=False)

    def _seen(self, room: Room, name: str) -> tuple[Case, Outcome]:
        """The first case that sees a plant, with what it says and how many cases were tried until then."""
        place, cases = self.folder / "planted" / room.name / name, 0
        plant, otherwise = room.plants[name], ""
        for case in room.cases(self.seed):
            if plant.cases and not any(fnmatchcase(case.name, one) for one in plant.cases):
                continue
            if cases == PATIENCE:
                break
            cases += 1
            with planted(room, name, self.folder):
                outcome = self._outcome(room, case, place)
            failed = outcome.verdict == "failed"
            seen = failed and re.search(plant.says, outcome.said) is not None
            if failed and not seen:
                otherwise = otherwise or f"; {case.name} fails otherwise: {outcome.said}"
            # A case that fails without the plant too has not seen it.
            seen = seen and self._outcome(room, case, place).verdict == "held"
            shutil.rmtree(place, ignore_errors=True)
            if seen:
                return case, Outcome("held", outcome.said, cases)
        return Case(""), Outcome("failed", f"none of {cases} cases has seen it{otherwise}", cases)

    def attempt(self, room: Room, case: Case) -> Tried:
        """Tries one case; its folder stays where it failed."""
        begun = time.monotonic()
        place = self.folder / "cases" / room.name / case.name
        outcome = self._outcome(room, case, place)
        if outcome.verdict != "failed":
            shutil.rmtree(place, ignore_errors=True)
        one = self._written(room, case, outcome, begun)
        if outcome.verdict == "failed":
            again = f"python -m torture --seed {self.seed} --room {room.name} --case {case.name}"
            self.console.print(f"FAILED {room.name} {case.name}: {outcome.said}", markup=False)
            self.console.print(f"  kept in {place}; again: {again}", markup=False)
        return one

    def _outcome(self, room: Room, case: Case, place: Path) -> Outcome:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        try:
            return room.run(case, place)
        except Exception as error:
            place.mkdir(parents=True, exist_ok=True)
            (place / "failure.txt").write_text(traceback.format_exc(), encoding="utf-8")
            lines = str(error).strip().splitlines() or [type(error).__name__]
            kind = "" if type(error).__name__ == "Failed" else f"{type(error).__name__}: "
            return Outcome("failed", f"{kind}{lines[0][:400]}")

    def _written(self, room: Room, case: Case, outcome: Outcome, begun: float, plant: str = "") -> Tried:
        seconds = round(time.monotonic() - begun, 2)
        cell = str(case.options.get("cell", ""))
        # What is kept of it is read elsewhere.
        said = outcome.said
        for word, mark in ((self.folder, "<folder>"), (ROOT, "<project>"), (socket.gethostname(), "<host>")):
            said = said.replace(str(word), mark)
        one = Tried(
            room.name, case.name, cell, self.seed, outcome.verdict, said, seconds, outcome.inputs,
            self.commit, today(), plant,
        )  # fmt: skip
        self.record.add(one)
        return one

    def _over(self) -> bool:
        return self._end is not None and time.monotonic() > self._end

    def _made(self, room: Room) -> Iterator[Case]:
        """The cases of a room; where they cannot be made that is a failure, and the last one."""
        try:
            yield from room.cases(self.seed)
        except Exception as error:
            said = f"its cases cannot be made: {type(error).__name__}: {error}"
            self.console.print(f"FAILED {room.name}: {said}", markup=False)
            self._written(room, Case("cases"), Outcome("failed", said), time.monotonic())
