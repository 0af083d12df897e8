"""How long a network takes on the device it is on."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.analysis.cost.timing import seconds_of
from nas.errors import require, require_one_of, require_whole

# What a call is timed by. `cpu` is the time that the processor gave to the thread, `wall` what a user waits.
CLOCKS = {"wall": time.perf_counter, "cpu": time.thread_time}


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one batch.

    Attributes:
        median: of the repeats.
        spread: interquartile range of the repeats.
        repeats: how many there were.
    """

    median: float
    spread: float
    repeats: int


def check_repeats(warmup: int, repeats: int, name: str = "repeats") -> None:
    """Refuses numbers that give no measurement; `name` is the key of the second.

    Raises:
        ConfigError: no call to warm up with (the first pays for memory and kernels), or less than two to
            measure.
    """
    for key, value, least in (("warmup", warmup, 1), (name, repeats, 2)):
        require_whole(f"latency.{key}", value, least)


def clock_of(name: str, device: str, threads: int) -> Callable[[], float]:
    """The clock of a name.

    Raises:
        ConfigError: there is no such clock, or it would not see all of the work.
    """
    require_one_of("latency.clock", name, CLOCKS)
    require(
        name == "wall" or (device == "cpu" and threads == 1),
        f"latency.clock={name}: counts the work of one thread on a processor, but here are {threads} threads "
        f"on {device}; set hardware.threads=1 on a CPU, or latency.clock=wall",
    )
    return CLOCKS[name]


def latency_of(seconds: Sequence[float]) -> Latency:
    """Median and interquartile range of at least two measurements."""
    times = [1000 * second for second in seconds]
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    # To the nanosecond; clocks tell no more.
    return Latency(round(statistics.median(times), 6), round(high - low, 6), len(times))


@torch.no_grad()
def measure_latency(
    network: nn.Module,
    images_BCHW: Tensor,
    warmup: int = 3,
    repeats: int = 11,
    clock: Callable[[], float] = time.perf_counter,
) -> Latency:
    """Times the forward pass in evaluation mode, what it queued on a GPU included.

    The median, because other processes only ever add time, and to few of the calls. Architectures that differ
    by less than their spreads have not been told apart.

    Args:
        network: any that takes images alone; put into evaluation mode and left there.
        images_BCHW: one batch, on the device and in the memory format to measure.
        warmup: calls before the first measurement.
        repeats: measured calls.
        clock: one of `CLOCKS`.

    Raises:
        ConfigError: a number is too small.
    """
    check_repeats(warmup, repeats)
    network.eval()
    for _ in range(warmup):
        network(images_BCHW)
    device = images_BCHW.device
    return latency_of([seconds_of(lambda: network(images_BCHW), device, clock) for _ in range(repeats)])
