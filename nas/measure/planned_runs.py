"""What the training of an evaluation network will cost: steps times seconds measured on this device."""

import time
from collections.abc import Callable

import torch

from nas.analysis.cost.timing import seconds_of
from nas.measure.planned_steps import Deadline, Measured, OutOfTime, Point
from nas.measure.steps import EvaluationSteps

# Images or columns: what every machine has the memory for, and what tells what one more of them costs.
SIZES = (2, 8)
ROUNDS = 3
# Foreseen seconds of a step of the whole batch up to which it is measured itself: there most of the time is
# that of no image, which small batches tell badly, and the memory is small.
SHORT = 0.5


def training_seconds(
    build: Callable[[int], EvaluationSteps], batch_size: int, device: torch.device, until: float
) -> tuple[float | None, str]:
    """Seconds of a training step and how they are known; None, and why, where they are not.

    On a CPU two small batches are measured and the line through them is followed: its time is that of its
    images. A whole batch that takes a short time by it is measured too. A GPU is idle on small ones, and gets
    the whole batch.

    Args:
        build: images or columns -> the step on as many.
        batch_size: of the training.
        device: where.
        until: when to have ended, by `time.monotonic`.
    """
    sizes = [batch_size] if device.type == "cuda" else sorted({min(size, batch_size) for size in SIZES})
    points: list[Point] = []
    # One batch alone would be taken for proportional, so that each has its share of the time.
    for place, size in enumerate(sizes):
        point, why = _point(build, size, device, until, len(sizes) - place)
        if why is not None:
            return None, why
        if point is None:
            break
        points.append(point)
    if not points:
        return None, "not measured: a step takes longer than a plan may"
    result = Measured(points, batch_size)
    if len(points) == len(sizes) and not result.whole and result.seconds()["train"] < SHORT:
        point, _ = _point(build, batch_size, device, until, 1)
        result = result if point is None else Measured([*points, point], batch_size)
    seconds = "measured seconds" if result.whole else f"seconds extrapolated from {result.origin}"
    return result.seconds()["train"], f"steps x {seconds}"


def _point(
    build: Callable[[int], EvaluationSteps], size: int, device: torch.device, until: float, among: int
) -> tuple[Point | None, str | None]:
    """A batch as it was timed in its share of the time, or None, and why it never can be, or None."""
    enough = time.monotonic() + (until - time.monotonic()) / among
    taken: list[float] = []
    try:
        with Deadline(until):
            steps = build(size)
            seconds_of(steps.train, device, time.perf_counter)
            while len(taken) < ROUNDS and (not taken or time.monotonic() < enough):
                taken.append(seconds_of(steps.train, device, time.perf_counter))
    except OutOfTime:
        if not taken:
            return None, None
    except torch.OutOfMemoryError:
        return None, f"not measured: a batch of {size} does not fit the GPU's memory"
    return Point(size, {"train": taken}, 0), None
