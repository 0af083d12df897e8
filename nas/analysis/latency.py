"""How long a network takes on the device it is on."""

import statistics
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.analysis.timing import seconds_of
from nas.errors import require


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


def check_repeats(warmup: int, repeats: int) -> None:
    """Refuses numbers that give no measurement.

    Raises:
        ConfigError: no call to warm up with (the first pays for memory and kernels), or less than two to
            measure.
    """
    for name, value, least in (("warmup", warmup, 1), ("repeats", repeats, 2)):
        require(
            isinstance(value, int) and not isinstance(value, bool) and value >= least,
            f"latency.{name}={value}: must be a whole number of at least {least}",
        )


@torch.no_grad()
def measure_latency(network: nn.Module, images_BCHW: Tensor, warmup: int = 3, repeats: int = 11) -> Latency:
    """Times the forward pass in evaluation mode, what it queued on a GPU included.

    The median, because other processes only ever add time, and to few of the calls. Architectures that differ
    by less than their spreads have not been told apart.

    Args:
        network: any that takes images alone; put into evaluation mode and left there.
        images_BCHW: one batch, on the device and in the memory format to measure.
        warmup: calls before the first measurement.
        repeats: measured calls.

    Raises:
        ConfigError: a number is too small.
    """
    check_repeats(warmup, repeats)
    network.eval()
    for _ in range(warmup):
        network(images_BCHW)
    device = images_BCHW.device
    times = [1000 * seconds_of(lambda: network(images_BCHW), device) for _ in range(repeats)]
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return Latency(statistics.median(times), high - low, repeats)
