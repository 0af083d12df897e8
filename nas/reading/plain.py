"""What is allowed in containers that were read from a file. Standard library only."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from nas.errors import ConfigError, require
from nas.printable import shown

# A configuration is 8 deep; what walks through containers calls itself once a level.
DEPTH = 64
# Of whole numbers: what C's longest holds.
WHOLE = 2**63


def check_plain(data: object, where: str) -> None:
    """Refuses containers that are nested too deeply or hold a whole number beyond 64 bits.

    Args:
        data: of lists, mappings, texts, numbers, truth values and None.
        where: what the message begins with.

    Raises:
        ConfigError: names the key.
    """
    # (value, depth, (place of the parent, key)); not by calling itself, which is what deep nesting breaks.
    left: list[tuple[object, int, tuple | None]] = [(data, 0, None)]
    while left:
        value, depth, place = left.pop()
        if isinstance(value, Mapping):
            below: Iterable = value.items()
        elif isinstance(value, list):
            below = enumerate(value)
        else:
            if type(value) is int and not -WHOLE <= value < WHOLE:
                raise ConfigError(
                    f"{where}: {_path(place)}={shown(value)}: whole numbers go from -2^63 to 2^63 - 1"
                )
            continue
        require(depth < DEPTH, f"{where}: nested more than {DEPTH} levels deep")
        # Most of a long list are small numbers, which need no second look.
        left += [
            (one, depth + 1, (place, key))
            for key, one in below
            if isinstance(one, dict | list) or (type(one) is int and not -WHOLE <= one < WHOLE)
        ]


def _path(place: tuple | None) -> str:
    """A key as a message names it: `cells.normal.nodes[3]`."""
    keys = []
    while place is not None:
        place, key = place
        keys.append(f"[{key}]" if isinstance(key, int) else f".{key}")
    return shown("".join(reversed(keys)).lstrip(".")) or "the whole"


def walk(data: object) -> Iterator[tuple[bool, Any]]:
    """Every key and every value of nested lists and mappings that is neither, with whether it is a key."""
    left = [data]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield from ((True, key) for key in value)
            left += value.values()
        elif isinstance(value, list):
            left += value
        else:
            yield False, value


def read_key(
    data: Mapping, key: str, fits: Callable[[Any], bool], allowed: str, where: str, default: Any = None
) -> Any:
    """A value of what was read, checked.

    Args:
        data: the mapping.
        key: in it.
        fits: whether a value can be used.
        allowed: what can be used, in words.
        where: what the message begins with.
        default: returned where there is no such key, or null.

    Raises:
        ConfigError: the value does not fit.
    """
    value = data.get(key)
    if value is None:
        return default
    if not fits(value):
        # Of a value that fits no text is made: that of a checkpoint's tensors takes a second.
        raise ConfigError(f"{where}: {key}={shown(value)}: must be {allowed}")
    return value


def is_number(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    """Whether a value is a finite number from `low` to `high`, and no truth value."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and low <= value <= high
        and abs(value) < math.inf
    )


def is_time(value: object) -> bool:
    """Whether a value is a number of seconds."""
    return is_number(value, 0)


def is_whole(value: object, low: int = 0, high: int = WHOLE - 1) -> bool:
    """Whether a value is a whole number from `low` to `high`, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
