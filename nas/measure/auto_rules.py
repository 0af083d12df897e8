"""The rules of `size=auto` that look at nothing but numbers: ladders of sizes, batches, lengths of stages.

Ours, not a paper's: large networks learn few data by heart, so that less of them asks for smaller ones. The
upper ends of the ladders are the papers' sizes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# What sizes a network -> sizes of a supernet and of an evaluation network, from the papers' down.
LADDERS: Mapping[tuple[str, ...], tuple[Sequence[tuple[int, ...]], Sequence[tuple[int, ...]]]] = {
    ("num_cells", "init_channels"): (
        ((8, 16), (8, 12), (5, 16), (5, 8), (3, 8), (3, 4)),
        ((20, 36), (14, 24), (8, 24), (8, 16), (5, 12), (3, 8)),
    ),
    ("cells_per_stage", "init_channels"): (
        ((5, 16), (3, 16), (2, 16), (1, 16), (1, 8), (1, 4)),
        ((5, 16), (3, 16), (2, 16), (1, 16), (1, 12), (1, 8)),
    ),
    ("hidden_size",): (
        ((300,), (200,), (128,), (96,), (64,), (32,)),
        ((850,), (300,), (200,), (128,), (96,), (64,)),
    ),
}
# Training images, or words of the training text, from which a ladder begins at its first, second, ... step.
AMOUNTS: Mapping[str, Sequence[int]] = {
    "images": (20_000, 8_000, 2_000),
    "text": (900_000, 300_000, 60_000),
}
# Least and most images or columns of a step; so many steps an epoch are wanted at least.
BATCHES: Mapping[str, tuple[int, int]] = {"images": (8, 64), "text": (4, 32)}
STEPS = 10
# Time steps of a piece of text.
PIECE = 35


@dataclass(frozen=True)
class Phase:
    """A search, or the evaluation that follows it.

    Attributes:
        what: is trained, in words.
        place: of its sizes in `LADDERS`.
        batch_keys: which settings say how large a batch is; the first is set.
        epoch_keys: likewise for epochs.
        least: epochs without which nothing is learnt.
        read: how often an epoch reads each image: a search reads one part for weights, the other twice.
    """

    what: str
    place: int
    batch_keys: tuple[str, ...]
    epoch_keys: tuple[str, ...]
    least: int
    read: float


@dataclass
class Choice:
    """What was chosen of one phase.

    Attributes:
        numbers: key -> whole number.
        seconds: what its steps will take; None where it is not known.
        why: how they are known, or why not.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    seconds: float | None = None
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return {"numbers": self.numbers, "seconds": self.seconds, "why": self.why}


SEARCH = Phase("supernet", 0, ("dataset.batch_size",), ("trainer.max_epochs", "method.stages"), 10, 1.5)
EVALUATION = Phase(
    "network",
    1,
    ("recipe.batch_size", "dataset.batch_size"),
    ("recipe.epochs", "trainer.max_epochs"),
    20,
    1.0,
)
# As a search foresees it: what it types for itself says nothing of the evaluation.
FORESEEN = Phase("network", 1, ("recipe.batch_size",), ("recipe.epochs",), 20, 1.0)
# What may be chosen, and the most that any of it may be.
CHOSEN = frozenset(
    [f"{group}.{name}" for group in ("space", "recipe") for keys in LADDERS for name in keys]
    + [keys[0] for phase in (SEARCH, EVALUATION) for keys in (phase.batch_keys, phase.epoch_keys)]
)
MOST = 10**6


def is_number_of(key: str, value: object) -> bool:
    """Whether a key is one of those that are chosen, and a value a number that it may have."""
    return key in CHOSEN and isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST


def lighter(rung: Mapping[str, int], other: Mapping[str, int]) -> float:
    """The multiply-adds of one step of a ladder as a share of another's: as depth, and as width squared."""
    powers = {"init_channels": 2, "hidden_size": 2}
    shares = (
        (value / other[key]) ** powers.get(key.rpartition(".")[2], 1)
        for key, value in rung.items()
        if key in other
    )
    return math.prod(shares)


def rungs_of(known: Mapping[str, Any], phase: Phase, multiples: Sequence[int] = ()) -> list[dict[str, int]]:
    """The ladder of the networks that have such keys, from the papers' size down; empty for other networks.

    A key that is null, as one of two that count the same cells may be, sizes nothing.

    Args:
        known: a recipe, or a space, with the keys that size its networks.
        phase: whose sizes.
        multiples: what `init_channels` is rounded up to multiples of: K of partial channels.
    """
    shared = math.lcm(2, *multiples)
    for keys, ladders in LADDERS.items():
        if all(known.get(key) is not None for key in keys):
            rungs = [dict(zip(keys, sizes, strict=True)) for sizes in ladders[phase.place]]
            for rung in rungs:
                if "init_channels" in rung:
                    rung["init_channels"] = math.ceil(rung["init_channels"] / shared) * shared
            return rungs
    return []


def begin_at(domain: str, amount: float) -> int:
    """The step of a ladder that suits an amount of training data."""
    return sum(amount < least for least in AMOUNTS[domain])


def batch_for(domain: str, amount: float, most: int | None = None) -> int:
    """The batch that leaves an epoch ten steps: a power of two within the usual, at most what fits."""
    least, usual = BATCHES[domain]
    wanted = amount / STEPS / (PIECE if domain == "text" else 1)
    size = 2 ** int(math.log2(max(1.0, min(float(usual), max(float(least), wanted)))))
    while most is not None and size > max(1, most):
        size //= 2
    return size


def rescale_epochs(config: Any, epochs: int, typed: set[str]) -> dict[str, Any]:
    """Gives a search another length: stages and warm-up keep their shares of it.

    Args:
        config: whose `trainer.max_epochs`, `method.stages` and `method.warmup_epochs` change.
        epochs: at least as many as there are stages.
        typed: keys that stay.

    Returns:
        Key -> value of what else has changed.
    """
    method, before = config.method, int(config.trainer.max_epochs)
    stages = method.get("stages")
    warmup = method.get("warmup_epochs")
    usual = _follows(method)
    config.trainer.max_epochs = epochs
    if stages and len(stages) > 1:
        whole, left = sum(int(stage["epochs"]) for stage in stages), epochs
        for place, stage in enumerate(stages):
            old, rest = int(stage["epochs"]), len(stages) - 1 - place
            new = left if not rest else min(left - rest, max(1, round(old * epochs / whole)))
            left -= new
            stage["epochs"] = new
            stage["freeze"] = min(new - 1, round(int(stage["freeze"]) * new / old))
    elif stages:
        freeze = int(stages[0]["freeze"])
        stages[0]["freeze"] = min(epochs - 1, round(freeze * epochs / max(before, freeze + 1)))
    if isinstance(warmup, int) and warmup and "method.warmup_epochs" not in typed:
        # A warm-up longer than the search that it was configured with is half of it.
        method["warmup_epochs"] = min(epochs - 1, round(epochs * min(warmup / before, 0.5)))
    return {key: value for key, value in _follows(method).items() if value != usual[key]}


def _follows(method: Any) -> dict[str, Any]:
    """What follows from the length of a search, as plain values."""
    stages = [dict(stage) for stage in method.get("stages") or ()]
    return {"method.stages": stages, "method.warmup_epochs": method.get("warmup_epochs")}
