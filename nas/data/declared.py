"""What a source of images or text declares, checked without reading anything; and its parts read."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nas.data.sources import domain_of
from nas.errors import ConfigError, require


def check_source(source: Any) -> None:
    """Refuses a source whose declared numbers cannot be: nothing is read.

    Raises:
        ConfigError: an attribute or method is missing, or a number is out of range.
    """
    where, text = named(source), domain_of(source) == "text"
    needed = (
        ("name", "vocabulary_size", "train", "valid", "test")
        if text
        else ("name", "num_classes", "image_shape", "mean", "std", "train", "test")
    )
    missing = [name for name in needed if not hasattr(source, name)]
    require(
        not missing, f"{where}: it lacks {', '.join(missing)}; a source of {domain_of(source)} has {needed}"
    )
    require(isinstance(source.name, str), f"{where}: name must be a text, not {source.name!r}")
    if text:
        size = source.vocabulary_size
        require(_whole(size, 1), f"{where}: vocabulary_size must be a whole number above 0, not {size!r}")
        _check_declared(where, "num_tokens", getattr(source, "num_tokens", None), ("train", "valid", "test"))
        return
    classes, shape = source.num_classes, source.image_shape
    require(_whole(classes, 1), f"{where}: num_classes must be a whole number above 0, not {classes!r}")
    sized = isinstance(shape, Sequence) and len(shape) == 3 and all(_whole(size, 1) for size in shape)
    require(
        sized,
        f"{where}: image_shape must be three whole numbers above 0 (channels, height, width), not {shape!r}",
    )
    for name in ("mean", "std"):
        values = _numbers(getattr(source, name))
        if values is None or len(values) != shape[0]:
            found_there = hasattr(source, "settled")
            raise ConfigError(
                f"{where}: {name} must be a finite number for each of the {shape[0]} channels, not "
                f"{getattr(source, name)!r}"
                + (f"; dataset.source.{name}=null finds it out" if found_there else "")
            )
        require(
            name == "mean" or min(values) > 0, f"{where}: std must be above 0 in every channel, not {values}"
        )
    _check_declared(where, "num_images", getattr(source, "num_images", None), ("train", "test"))


def named(source: Any) -> str:
    """A source as messages call it: its key and its class."""
    kind = type(source)
    return f"dataset.source={kind.__module__}.{kind.__qualname__}"


def read_part(source: Any, part: str, **options: bool) -> Any:
    """What the method of a source that reads a part returns.

    Raises:
        ConfigError: it fails.
    """
    try:
        return getattr(source, part)(**options)
    except (ConfigError, OSError):
        raise
    except Exception as error:
        raise ConfigError(f"{named(source)}: {part}() failed: {type(error).__name__}: {error}") from error


def check_row(found: Any, words: str) -> None:
    """Refuses what is no int64 tensor [N]; `words` say what must be one."""
    typed = isinstance(found, Tensor) and found.dtype == torch.int64 and found.ndim == 1
    kind = f"{found.dtype} {list(found.shape)}" if isinstance(found, Tensor) else type(found)
    require(typed, f"{words}, an int64 tensor [N], not {kind}")


def _check_declared(where: str, name: str, given: Any, parts: Sequence[str]) -> None:
    fits = given is None or (
        isinstance(given, Sequence) and len(given) == len(parts) and all(_whole(one, 1) for one in given)
    )
    require(
        fits, f"{where}: {name} must be whole numbers above 0 ({', '.join(parts)}) or None, not {given!r}"
    )


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _numbers(values: Any) -> list[float] | None:
    try:
        found = [float(value) for value in values]
    except (TypeError, ValueError):
        return None
    return found if all(math.isfinite(value) for value in found) else None
