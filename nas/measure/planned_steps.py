"""Steps that a plan measures within its time and the memory that is free; beyond them it extrapolates."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nas.analysis.cost.timing import Race, seconds_of
from nas.engine.machine.limits import free_memory
from nas.errors import ConfigError
from nas.measure.footprint import Footprint
from nas.measure.steps import SearchSteps

ROUNDS = 3
# From one batch to the next larger one, where the whole batch would take too long.
GROWTH = 4
# Of the free memory, what a plan takes at most: the estimate leaves out what operators use within themselves.
SHARE = 0.7
GIB = 2**30


class OutOfTime(Exception):
    """The time of a plan is over."""


class Deadline(TorchDispatchMode):
    """Ends what runs inside the block, before an operator, once the time is over; what tidies up goes on.

    Args:
        until: by the clock.
        clock: seconds from some moment on.
    """

    def __init__(self, until: float, clock: Callable[[], float] = time.monotonic):
        super().__init__()
        self.until = until
        self.clock = clock
        self._over = False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Runs one operator, or raises `OutOfTime`, once."""
        if not self._over and self.clock() > self.until:
            self._over = True
            raise OutOfTime
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Point:
    """What the steps cost on one batch.

    Attributes:
        size: images or columns.
        seconds: of each step, measurement by measurement.
        peak: bytes at the peak of a step.
    """

    size: int
    seconds: Mapping[str, Sequence[float]]
    peak: int


@dataclass(frozen=True)
class Measured:
    """What is known of the seconds of a network's steps.

    Attributes:
        points: of the batches that were measured, smaller ones first.
        batch_size: what was asked for.
        scaled: in words, what the points were scaled up from; empty where they are as they were measured.
    """

    points: Sequence[Point]
    batch_size: int
    scaled: str = ""

    @property
    def whole(self) -> bool:
        """Whether the batch that was asked for is the one that was measured."""
        return self.points[-1].size == self.batch_size and not self.scaled

    @property
    def origin(self) -> str:
        """What the seconds are extrapolated from."""
        return self.scaled or f"batch {' and '.join(str(point.size) for point in self.points[-2:])}"

    def seconds(self, size: int | None = None) -> dict[str, float]:
        """Median seconds of each step, on the line through the last two batches; None: of the whole batch."""
        size = self.batch_size if size is None else size
        last = self.points[-1]
        seconds = {}
        for name, values in last.seconds.items():
            here = statistics.median(values)
            slope = here / last.size
            if len(self.points) > 1:
                before = self.points[-2]
                between = (here - statistics.median(before.seconds[name])) / (last.size - before.size)
                # Never a step that is free of its images, which a disturbed measurement would promise.
                slope = between if between > 0 else slope
            seconds[name] = here + slope * (size - last.size)
        return seconds


def free_bytes(device: torch.device) -> int | None:
    """What a device has left, as far as it says; of a CPU within the limits of containers."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()


def measure_steps(
    build: Callable[[int], SearchSteps],
    footprint: Footprint,
    batch_size: int,
    device: torch.device,
    until: float,
    clock: Callable[[], float] = time.monotonic,
    first: int = 2,
) -> Measured:
    """Times the steps of a search on the largest batch that memory and time allow.

    Args:
        build: images or columns -> steps on a batch of as many.
        footprint: what a step is estimated to need.
        batch_size: what the search will have.
        device: where.
        until: when to have ended, by the clock.
        clock: seconds from some moment on.
        first: images or columns to begin with, where they fit.

    Raises:
        ConfigError: not even the smallest batch could be measured; the message says why.
    """
    least, room = min(batch_size, 2), free_bytes(device)
    most = batch_size if room is None else min(batch_size, footprint.largest_batch(SHARE * room))
    if most < least:
        raise ConfigError(
            f"a batch of {least} is estimated at {footprint.peak(least) / GIB:.1f} GiB, and "
            f"{(room or 0) / GIB:.1f} are free"
        )

    def rounds(size: int) -> int:
        return ROUNDS if size == most else 1

    points: list[Point] = []
    smallest = max(least, min(most, first))
    size: int | None = smallest
    while size is not None:
        try:
            points.append(_point(build, size, device, rounds(size), until, clock))
        except OutOfTime:
            break
        left, known = until - clock(), Measured(points, batch_size)
        larger = [most, min(most, GROWTH * size)] if size < most else []
        # A warm-up and one round; `_point` takes more of them while there is time.
        within = next((n for n in larger if 2 * sum(known.seconds(n).values()) <= left), None)
        if within is None and len(points) == 1 and larger and sum(known.seconds(size).values()) <= left:
            # One batch does not say what a step takes whatever its size, nearly all of it in a recurrent
            # network; the deadline ends a second one that takes too long.
            within = larger[-1]
        size = within
    if not points:
        raise ConfigError(f"a batch of {smallest} takes longer than a plan may")
    return Measured(points, batch_size)


def measure_scaled(
    build: Callable[[], SearchSteps],
    factor: float,
    what: str,
    batch_size: int,
    device: torch.device,
    until: float,
) -> Measured | None:
    """Times the steps on two small images in the place of large ones, and multiplies the seconds.

    Args:
        build: steps on two small images.
        factor: pixels of a large image over those of a small one.
        what: the small images, in words.
        batch_size: what the search will have.
        device: where.
        until: when to have ended, by `time.monotonic`.

    Returns:
        None where there is no network of that size, or no time.
    """
    try:
        point = _point(lambda size: build(), 2, device, 1, until, time.monotonic)
    except (ConfigError, OutOfTime):
        return None
    seconds = {name: [factor * value for value in values] for name, values in point.seconds.items()}
    return Measured([Point(2, seconds, 0)], batch_size, what)


def _point(
    build: Callable[[int], SearchSteps],
    size: int,
    device: torch.device,
    rounds: int,
    until: float,
    clock: Callable[[], float],
) -> Point:
    race, first = Race(device, 1, clock), {}
    with Deadline(until, clock):
        steps = build(size)
        runs = {"weight": steps.weight, "architecture": steps.architecture, "validation": steps.validation}
        if steps.method.joint:
            del runs["architecture"]
        for name, run in runs.items():
            first[name] = [seconds_of(partial(race.enter, name, run), device, clock)]
    # Without the deadline, which slows every operator down a little.
    taken = sum(values[0] for values in first.values())
    rounds = min(rounds, int((until - clock()) / taken) if taken else rounds)
    seconds = race.seconds(dict.fromkeys(race.variants, rounds)) if rounds > 0 else first
    return Point(size, seconds, max(race.peaks.values()))
