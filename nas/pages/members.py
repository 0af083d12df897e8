"""A run among others, as the pages of several runs take it, and how its figures are headed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.analysis.sweeps import Run, Unit
from nas.pages import forms
from nas.reading.plain import is_time


@dataclass(frozen=True)
class Member:
    """A run among others.

    Attributes:
        run: as the tables of a sweep have it.
        summary: its `summary.json`; empty where it cannot be read.
        metrics: rows of its `metrics.csv`; none where they are not read.
        href: the relative place of its page; empty where it has none.
    """

    run: Run
    summary: Mapping[str, Any] = field(default_factory=dict)
    metrics: Sequence[Mapping[str, str]] = ()
    href: str = ""

    @property
    def seed(self) -> str:
        """Its seed, as text."""
        return forms.plain(self.summary.get("seed", self.run.overrides.get("seed")))

    @property
    def seconds(self) -> float | None:
        """How long it took; None where that is not known."""
        seconds = self.summary.get("seconds")
        return float(seconds) if is_time(seconds) else None  # type: ignore[arg-type]  # a number


def heading(unit: Unit) -> str:
    """The heading of a column of figures."""
    return unit.heading.replace("_", " ")


def timed(seconds: float | None) -> str:
    """A time in words; nothing where it is not known."""
    return "" if seconds is None else forms.duration(seconds)
