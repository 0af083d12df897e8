"""What two folders of one run have in common: everything but times, measured durations and log lines."""

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

# Names of times, measured durations and the state of the code, in JSON, columns and checkpoints.
TIMES = re.compile(
    r"(^|_)(seconds|minutes|hours|ms|date|time|per_second|throughput|milliseconds|processor_share)($|_)"
    r"|^(pid|host|git_commit)$"
)
# What a run says as it goes on: lines with times, and one more where it was resumed.
SAID = (".log", "output.txt")
PLACE = "<place>"


def differences(left: Path, right: Path, skip: tuple[str, ...] = ()) -> list[str]:
    """Where two run folders differ, a line each; empty where they are the same run.

    Args:
        left: the folder of a run that nothing happened to.
        right: the folder of the other.
        skip: names of files that are not compared.
    """
    ours, theirs = ({str(path.relative_to(run)): path for path in files(run)} for run in (left, right))
    found = [f"{name}: only in {left}" for name in sorted(ours.keys() - theirs.keys())]
    found += [f"{name}: only in {right}" for name in sorted(theirs.keys() - ours.keys())]
    for name in sorted(ours.keys() & theirs.keys()):
        if name.endswith(SAID) or Path(name).name in skip:
            continue
        one, other = read(ours[name], left), read(theirs[name], right)
        found += [f"{name}: {line}" for line in unlike(one, other)]
    return found


def files(folder: Path) -> Iterator[Path]:
    """The files of a folder, however deep."""
    return (path for path in folder.rglob("*") if not path.is_dir())


def read(path: Path, run: Path) -> Any:
    """The content of a file as plain values, without its times; the place of the run is one word."""
    if path.suffix in (".ckpt", ".pt"):
        return torch.load(path, map_location="cpu", weights_only=True)
    content = path.read_bytes()
    if path.suffix not in (".json", ".jsonl", ".csv", ".yaml", ".txt", ".md", ".tex"):
        return content
    text = content.decode("utf-8").replace(str(run.parent), PLACE)
    if path.suffix == ".json":
        return json.loads(text)
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    if path.suffix == ".csv":
        return list(csv.DictReader(io.StringIO(text)))
    return text.splitlines()


def unlike(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """Where two values differ, times apart."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in [*one, *(key for key in other if key not in one)]:
            if isinstance(key, str) and TIMES.search(key):
                continue
            if key not in one or key not in other:
                yield f"{where}.{key}: {'lost' if key in one else 'added'}"
            else:
                yield from unlike(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one.dtype != other.dtype or one.shape != other.shape or not _equal(one, other):
            yield f"{where}: another tensor"
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            yield f"{where}: {len(one)} and {len(other)} entries"
        for index, (mine, yours) in enumerate(zip(one, other, strict=False)):
            yield from unlike(mine, yours, f"{where}[{index}]")
    elif isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other):
        return
    elif type(one) is not type(other) or one != other:
        yield f"{where}: {str(one)[:80]!r} and {str(other)[:80]!r}"


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    if not one.is_floating_point():
        return torch.equal(one, other)
    return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def left_behind(folder: Path) -> list[str]:
    """What should have gone: files under temporary names, and locks that nobody holds."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*"))


def fingerprint(folder: Path) -> dict[str, bytes]:
    """All files of a folder with what they hold."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in files(folder) if path.is_file()}
