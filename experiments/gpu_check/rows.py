"""What a check has found, and how checks follow one another: none stops the others."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

PASSED, FAILED, LEFT_OUT = "passed", "failed", "left out"


class LeftOut(Exception):
    """Why a check means nothing here, in words."""


@dataclass(frozen=True)
class Row:
    """One check.

    Attributes:
        check, case: what was checked of what.
        verdict: `passed`, `failed` or `left out`.
        words: what is to be said of it, such as why.
        numbers: what was measured.
        seconds: of the check.
    """

    check: str
    case: str
    verdict: str
    words: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def line(self) -> str:
        """As a line of the table."""
        told = [f"{name} {_short(value)}" for name, value in self.numbers.items()]
        words = "; ".join([*told, *([self.words] if self.words else [])])
        return f"{self.check:<12} {self.case:<28} {self.verdict:<9} {self.seconds:7.1f} s  {words}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class Checks:
    """Runs checks one by one, and prints a line of each.

    Args:
        until: when to have ended, by `clock`; later checks are left out.
        say: prints a line.
        clock: seconds from some moment on.
    """

    def __init__(
        self, until: float, say: Callable[[str], None] = print, clock: Callable[[], float] = time.monotonic
    ):
        self.until = until
        self.say = say
        self.clock = clock
        self.rows: list[Row] = []

    def run(self, check: str, case: str, measure: Callable[[], Mapping[str, Any]]) -> None:
        """Runs one check: what it returns are its numbers, what it raises is why it failed."""
        if self.clock() > self.until:
            self._add(Row(check, case, LEFT_OUT, "the time is over"))
            return
        start = self.clock()
        try:
            numbers = dict(measure())
        except LeftOut as error:
            self._add(Row(check, case, LEFT_OUT, str(error), seconds=self.clock() - start))
        except Exception as error:
            # Whatever breaks on a machine that nobody has seen: it is told, and the next check runs.
            name = type(error).__name__
            words = f"{name}: {str(error).strip().splitlines()[0] if str(error) else ''}"
            # A smaller card has less memory than the papers' sizes with the literal network ask for.
            verdict = LEFT_OUT if name == "OutOfMemoryError" else FAILED
            self._add(Row(check, case, verdict, words, seconds=self.clock() - start))
        else:
            self._add(Row(check, case, PASSED, "", numbers, self.clock() - start))

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        self.say(row.line())

    def counts(self) -> dict[str, int]:
        """How many passed, failed and were left out."""
        return {
            verdict: sum(row.verdict == verdict for row in self.rows)
            for verdict in (PASSED, FAILED, LEFT_OUT)
        }

    def plain(self) -> list[dict[str, Any]]:
        """As plain containers."""
        return [asdict(row) for row in self.rows]
