"""The chamber: cases of all rooms in turn, each in a folder of its own, as long as there is time."""

import shutil
import socket
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

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
        commit: of the code; what it has tried is not tried again.
        minutes: after which no further case begins; None for no end.
    """

    def __init__(
        self, folder: Path, rooms: Sequence[Room], seed: int, commit: str, minutes: float | None = None
    ):
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rooms = rooms
        self.seed = seed
        self.commit = commit
        self.record = Record(self.folder / "cases.jsonl")
        self.console = Console(soft_wrap=True)
        self._end = None if minutes is None else time.monotonic() + 60 * minutes

    def tried(self) -> list[Tried]:
        """What the present commit has tried with this seed, plants apart, in the rooms that are looked at."""
        names = {room.name for room in self.rooms}
        found = self.record.of(self.commit, self.seed)
        return [one for one in found if one.room in names and not one.plant]

    def go(self) -> None:
        """Tries a case of each room in turn, until there is none left or the time is over."""
        known = {(one.room, one.case) for one in self.tried()}
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task("")
            for room, case in self._in_turn():
                if (room.name, case.name) in known:
                    continue
                if self._over():
                    break
                done = len(self.record.tried)
                progress.update(
                    task, description=f"{room.name}: {case.name} (case {done + 1} of this folder)"
                )
                self.attempt(room, case)

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

    def plants(self) -> list[Tried]:
        """Puts each fault in and tries cases until one goes red; a line a plant, which `held` if one did."""
        found = []
        for room in self.rooms:
            for name, plant in room.plants.items():
                begun = time.monotonic()
                try:
                    red, cases = self._seen(room, name)
                except Exception as error:
                    red, cases = "", 0
                    self.console.print(f"{room.name}: {type(error).__name__}: {error}", markup=False)
                said = red or f"no case of {cases} has seen it: {plant.about}"
                outcome = Outcome("held" if red else "failed", said, cases)
                found.append(self._written(room, Case(name), outcome, begun, plant=name))
                self.console.print(
                    f"{room.name} {name}: {'caught' if red else 'NOT CAUGHT'}, {said}", markup=False
                )
        return found

    def _seen(self, room: Room, name: str) -> tuple[str, int]:
        """What the first case says that sees a plant, empty where none does; and how many were tried."""
        place, cases = self.folder / "planted" / room.name / name, 0
        for case in room.cases(self.seed):
            if room.plants[name].cases and case.name not in room.plants[name].cases:
                continue
            if cases == PATIENCE:
                break
            cases += 1
            with planted(room, name, self.folder):
                outcome = self._outcome(room, case, place)
            # A case that fails without the plant too has not seen it.
            seen = outcome.verdict == "failed" and self._outcome(room, case, place).verdict == "held"
            shutil.rmtree(place, ignore_errors=True)
            if seen:
                return f"{case.name}: {outcome.said}", cases
        return "", cases

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
        said = outcome.said.replace(str(self.folder), "<folder>").replace(socket.gethostname(), "<host>")
        one = Tried(
            room.name, case.name, cell, self.seed, outcome.verdict, said, seconds, outcome.inputs,
            self.commit, today(), plant,
        )  # fmt: skip
        self.record.add(one)
        return one

    def _over(self) -> bool:
        return self._end is not None and time.monotonic() > self._end

    def _in_turn(self) -> Iterator[tuple[Room, Case]]:
        left = [(room, room.cases(self.seed)) for room in self.rooms]
        while left:
            for entry in list(left):
                room, cases = entry
                begun = time.monotonic()
                try:
                    case = next(cases, None)
                except Exception as error:
                    said = f"its cases cannot be made: {type(error).__name__}: {error}"
                    self.console.print(f"FAILED {room.name}: {said}", markup=False)
                    self._written(room, Case("cases"), Outcome("failed", said), begun)
                    case = None
                if case is None:
                    left.remove(entry)
                else:
                    yield room, case
