"""Where an evaluated architecture stands among randomly drawn ones that were trained by the same recipe.

How much a search is worth shows beside random architectures of its space alone: in many spaces most of them
are good (Yang, Esperanca and Carlucci 2020). A record holds what such architectures reached and everything
that decides it; a run that differs in any of that is not compared. No torch in here.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.errors import require
from nas.reading.json_text import read_object

SCHEMA = 1
KEY = "random_cells"
# Records that come with the project, by name.
SHIPPED = Path(__file__).resolve().parent.parent / "baselines"
_LARGEST = 16 * 2**20
# What a run reports, where its images lie and how they are fetched, which is not what is computed.
_ASIDE = re.compile(
    r"recipe\.name$|dataset\.([\w.]+\.)?(root|file|download|num_workers)$"
    r"|trainer\.(enable_progress_bar|log_every_n_steps|profiler|check_val_every_n_epoch|limit_val_batches)$"
)


@dataclass(frozen=True)
class Standing:
    """An accuracy among those of random cells.

    Attributes:
        worse: how many random cells have a lower accuracy.
        equal: how many have the same.
        of: how many there are.
    """

    worse: int
    equal: int
    of: int

    @property
    def percentile(self) -> float:
        """Percentage of the random cells that are worse; those that are equal count half."""
        return 100 * (self.worse + self.equal / 2) / self.of

    def to_dict(self) -> dict[str, float]:
        """What `summary.json` holds of it."""
        return {
            "random_cells": self.of,
            "random_cells_worse": self.worse,
            "random_cells_equal": self.equal,
            "random_cells_percentile": round(self.percentile, 2),
        }


@dataclass(frozen=True)
class RandomCells:
    """What randomly drawn cells reached.

    Attributes:
        source: the record as the user named it.
        conditions: dotted key -> value of everything that decides an accuracy.
        origin: where the record was made (`device`, `torch`, `threads`, `commit`), for people.
        cells: a row per cell: `seed`, `genotype`, `params`, `test_accuracy` (a fraction).
    """

    source: str
    conditions: Mapping[str, Any]
    origin: Mapping[str, Any]
    cells: Sequence[Mapping[str, Any]]

    def differences(self, conditions: Mapping[str, Any]) -> list[str]:
        """How a run's conditions differ from those of the record, a line each; empty if they do not.

        A key that the record does not know yet counts as the same while it is null.
        """
        keys = sorted({*self.conditions, *conditions})
        return [
            f"{key} is {_short(conditions.get(key))}, there {_short(self.conditions.get(key))}"
            for key in keys
            if conditions.get(key) != self.conditions.get(key)
        ]

    def standing(self, accuracy: float) -> Standing:
        """Where a test accuracy (a fraction) lies; accuracies of one number of right images are equal."""
        # Fractions of the same count may differ in the last digits of a float32.
        gaps = [round(float(cell["test_accuracy"]) - accuracy, 6) for cell in self.cells]
        return Standing(sum(gap < 0 for gap in gaps), sum(gap == 0 for gap in gaps), len(gaps))

    def compared(self, conditions: Mapping[str, Any], accuracy: float) -> tuple[dict[str, float], str]:
        """What a run's `summary.json` gets, and the line for a person.

        Where the run's conditions differ from the record's, nothing and the reason.

        Args:
            conditions: the run's, from `conditions_of`.
            accuracy: its test accuracy, a fraction.
        """
        differences = self.differences(conditions)
        if differences:
            more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
            why = "; ".join(differences[:3]) + more
            return {}, f"not compared with the random cells of {self.source}: {why}"
        place = self.standing(accuracy)
        ties = f" and as good as {place.equal}" if place.equal else ""
        return place.to_dict(), (
            f"better than {place.worse}{ties} of {place.of} random cells: percentile {place.percentile:.0f} "
            f"({self.source}, recorded on {self.origin.get('device')} with torch {self.origin.get('torch')})"
        )


def conditions_of(config: Mapping[str, Any], sizes: Sequence[str], split_hash: str) -> dict[str, Any]:
    """Everything that decides what accuracy an architecture reaches, but for seed, machine and versions.

    Args:
        config: a resolved configuration of an evaluation, as plain containers.
        sizes: the overrides that size the network.
        split_hash: which images are trained on.

    Returns:
        Dotted key -> value; keys whose value is null are left out.
    """
    kept = {
        "space": {name: config["space"].get(name) for name in ("name", "operations")},
        "sizes": list(sizes),
        "split_hash": split_hash,
        "hardware": {"precision": config["hardware"].get("precision")},
        **{name: config.get(name) for name in ("budget", "dataset", "overfit", "recipe", "trainer")},
    }
    return {key: value for key, value in _flat(kept) if value is not None and not _ASIDE.match(key)}


def shipped() -> list[str]:
    """The names of the records that come with the project."""
    return sorted(path.stem for path in SHIPPED.glob("*.json"))


def read_random_cells(named: str) -> RandomCells:
    """Reads a record.

    Args:
        named: one that comes with the project, or a JSON file.

    Raises:
        ConfigError: there is no such record, or it is none.
    """
    source = f"{KEY}={named}"
    known = SHIPPED / f"{named}.json"
    path = known if str(named) in shipped() else Path(str(named)).expanduser()
    require(
        path.is_file(),
        f"{source}: there is no such file, and the records that come with the project are "
        f"{', '.join(shipped())} (null for no comparison)",
    )
    record = read_object(path, source, _LARGEST)
    require(
        record.get("schema") == SCHEMA,
        f"{source}: no record of random cells (schema must be {SCHEMA})",
    )
    for key, kind in (("conditions", dict), ("origin", dict), ("cells", list)):
        require(isinstance(record.get(key), kind), f"{source}: {key} is missing or of another kind")
    require(len(record["cells"]) > 0, f"{source}: cells is empty")
    for number, cell in enumerate(record["cells"]):
        accuracy = cell.get("test_accuracy") if isinstance(cell, dict) else None
        right = isinstance(accuracy, int | float) and not isinstance(accuracy, bool) and 0 <= accuracy <= 1
        require(right, f"{source}: cells[{number}].test_accuracy must be a fraction from 0 to 1")
    return RandomCells(str(named), record["conditions"], record["origin"], record["cells"])


def _flat(node: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if not isinstance(node, Mapping):
        return [(prefix[:-1], node)]
    return [pair for key, value in node.items() for pair in _flat(value, f"{prefix}{key}.")]


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
