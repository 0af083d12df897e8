"""What a room of the chamber is: cases that a seed makes, what became of one, faults that it must catch."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

Verdict = Literal["held", "failed", "not tried"]


@dataclass(frozen=True)
class Case:
    """One thing to try, made again by its room from the seed and the name alone.

    Attributes:
        name: unique in its room, fit for a file name (letters, digits, `.`, `-`, `_`, `=`).
        options: what its room needs to try it, JSON values alone.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        verdict: `held`, `failed`, or `not tried` where this machine cannot.
        said: one line: what failed, or why it was not tried.
        inputs: how many inputs the case stood for (a batch of a fuzzer, the writes of a run).
    """

    verdict: Verdict
    said: str = ""
    inputs: int = 1


@dataclass(frozen=True)
class Plant:
    """A fault that is put into the code to see that a room goes red.

    Attributes:
        about: what is taken away or made wrong, in a line.
        says: a pattern that is in what the room says of it; a case that fails for another reason, such as
            a plant that breaks down itself, has not seen it.
        plant: puts it into the process that runs the code, for as long as the context is open. It is found
            by its room's and its own name in a forked command too, so it must not hold any state.
        cases: patterns (`search-darts1_cut=*`) of the names of the cases that are tried; all of the room's
            where empty.
    """

    about: str
    says: str
    plant: Callable[[], AbstractContextManager[None]]
    cases: tuple[str, ...] = ()


class Room(Protocol):
    """A room of the chamber.

    Attributes:
        name: as `--room` has it.
        about: what is done there, for the table.
        holds: when a case has held, for the table.
        plants: faults that the room must catch, by name.
    """

    name: str
    about: str
    holds: str
    plants: Mapping[str, Plant]

    def cases(self, seed: int) -> Iterator[Case]:
        """All of its cases, in an order in which a first few already say something."""

    def run(self, case: Case, folder: Path) -> Outcome:
        """Tries a case in an empty folder of its own, which is kept where it fails.

        What the room itself did not foresee may be raised; the chamber records it as a failure.
        """
