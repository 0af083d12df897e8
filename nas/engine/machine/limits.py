"""What this process may use of its machine: processors and memory, within the limits of its containers."""

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
# What version 1 of the control groups has in place of no limit: the largest multiple of a page.
NO_LIMIT = 2**62


def processors(root: Path = ROOT) -> int:
    """The processors that this process may use: by its affinity, and whole ones of its control groups' quota.

    Args:
        root: where `proc` and `sys` are.
    """
    given = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if given else os.cpu_count() or 1
    for folder in _control_groups("cpu", root):
        quota, period = _numbers(folder / "cpu.max", 2) or (
            *(_numbers(folder / "cpu.cfs_quota_us") or [-1]),
            *(_numbers(folder / "cpu.cfs_period_us") or [1]),
        )
        if quota > 0 and period > 0:
            count = min(count, quota // period)
    return max(1, count)


def free_memory(root: Path = ROOT) -> int | None:
    """Bytes that this process could still take: what the system has, and its control groups allow.

    Memory of files that the kernel gives up when it is asked to counts as free.

    Args:
        root: where `proc` and `sys` are.

    Returns:
        None where the system does not say.
    """
    free = [
        1024 * int(line.split()[1])
        for line in _lines(root / "proc/meminfo")
        if line.startswith("MemAvailable:")
    ]
    for folder in _control_groups("memory", root):
        for limit, taken, reclaimable in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, used = _numbers(folder / limit), _numbers(folder / taken)
            if most and used and most[0] < NO_LIMIT:
                words = [line.split() for line in _lines(folder / "memory.stat")]
                spare = sum(int(word[1]) for word in words if word[0] == reclaimable)
                free.append(max(0, most[0] - used[0] + spare))
    return min(free, default=None)


def _control_groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of this process's control group and of those above it, of either version."""
    for line in _lines(root / "proc/self/cgroup"):
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        mount = root / "sys/fs/cgroup" / (controller if names else "")
        # A group outside of the container begins with `..`: what is mounted is then the container's own.
        parts = [part for part in path.split("/") if part]
        parts = [] if ".." in parts else parts
        for depth in range(len(parts), -1, -1):
            yield mount.joinpath(*parts[:depth])


def _numbers(file: Path, count: int = 1) -> list[int] | None:
    """The numbers that a file of the kernel's holds; None where there is none, or no limit."""
    words = " ".join(_lines(file)).split()
    try:
        numbers = [int(word) for word in words]
    except ValueError:
        return None
    return numbers if len(numbers) == count else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
