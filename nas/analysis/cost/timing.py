"""Times that can be compared: measured in turn, against what the same machine reaches in the same minutes."""

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from nas.errors import require

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


def synchronise(device: torch.device) -> None:
    """Waits until the device has done what it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(
    run: Callable[[], Any], device: torch.device, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds of one call by a clock, what it queued on the device included."""
    synchronise(device)
    start = clock()
    run()
    synchronise(device)
    return clock() - start


def spread(values: Sequence[float]) -> dict[str, float]:
    """`{median, min, max, n}` of measurements."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


class MatrixProduct:
    """A large square matrix product: the rate that the device's arithmetic can be had at.

    Args:
        size: rows and columns.
        device: where to compute.
        dtype: of the numbers.
    """

    def __init__(self, size: int, device: torch.device, dtype: torch.dtype):
        require(size >= 1, f"bench.matmul_size={size}: must be at least 1")
        generator = torch.Generator().manual_seed(0)
        self.a, self.b = (torch.randn(size, size, generator=generator).to(device, dtype) for _ in range(2))
        self.flops = 2 * size**3

    def __call__(self) -> None:
        """Multiplies once."""
        torch.mm(self.a, self.b)


class PeakMemory:
    """Peak memory since `reset`: what the allocator handed out on a GPU, the process's resident set on a CPU.

    The resident set holds interpreter and libraries too (some hundred MB), and memory that the C library has
    not given back. Where the system cannot forget a peak, `read` is the peak of the whole process; 0 where it
    does not say (Windows).
    """

    def __init__(self, device: torch.device):
        self.device = device

    def reset(self) -> None:
        """Starts a new measurement."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        try:
            CLEAR_REFS.write_text("5")  # 5 sets the peak to what is resident now
        except OSError:
            return

    def read(self) -> int:
        """Bytes at the peak."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        if STATUS.exists():
            for line in STATUS.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        try:
            import resource
        except ImportError:
            return 0  # not a Unix
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Race:
    """Variants that are warmed up one by one and then timed in turn.

    Args:
        device: where the variants compute.
        warmup: calls before a variant takes part.
        clock: seconds from some moment on.

    Attributes:
        variants: name -> what to time.
        peaks: name -> bytes at the peak of its warm-up.
    """

    def __init__(self, device: torch.device, warmup: int, clock: Callable[[], float] = time.perf_counter):
        self.device = device
        self.warmup = warmup
        self.clock = clock
        self.variants: dict[str, Callable[[], Any]] = {}
        self.peaks: dict[str, int] = {}

    def enter(self, name: str, run: Callable[[], Any]) -> None:
        """Warms a variant up and adds it."""
        memory = PeakMemory(self.device)
        memory.reset()
        for _ in range(self.warmup):
            run()
        synchronise(self.device)
        self.peaks[name] = memory.read()
        self.variants[name] = run

    def seconds(
        self,
        rounds: Mapping[str, int],
        watch: Callable[[Sequence[int]], Iterable[int]] = iter,
    ) -> dict[str, list[float]]:
        """Times every variant once a round, so that a drift of the machine's speed meets all alike.

        Args:
            rounds: for each variant its number of rounds; those with fewer rest at the end.
            watch: wraps the numbers of the rounds to show progress.

        Returns:
            For each variant its seconds, one per round.
        """
        seconds: dict[str, list[float]] = {name: [] for name in self.variants}
        for index in watch(range(max(rounds.values(), default=0))):
            for name, run in self.variants.items():
                if index < rounds[name]:
                    seconds[name].append(seconds_of(run, self.device, self.clock))
        return seconds
