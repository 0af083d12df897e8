"""JSON as this project writes it: no numbers but finite ones, no key twice. Standard library only."""

import json
import math
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, require
from nas.printable import shown
from nas.reading.files import MEBIBYTE, read_text
from nas.reading.plain import check_plain


def parse_json(text: str, where: str) -> Any:
    """The containers that a text in JSON stands for.

    Args:
        text: the JSON.
        where: what a message begins with.

    Raises:
        ConfigError: it is broken, too deep, names a key twice, or holds a number that is not finite or beyond
            64 bits.
    """
    try:
        found = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError as error:
        raise ConfigError(f"{where}: damaged (nested too deeply)") from error
    except ValueError as error:
        raise ConfigError(f"{where}: damaged ({shown(str(error), 160)})") from error
    check_plain(found, where)
    return found


def read_object(path: str | Path, where: str | None = None, at_most: int = 16 * MEBIBYTE) -> dict[str, Any]:
    """The containers that a regular file in JSON holds, which must be an object.

    Args:
        path: of the file.
        where: what a message begins with; None for the path.
        at_most: bytes.

    Raises:
        ConfigError: as for `read_text` and `parse_json`, or it holds something else.
    """
    where = str(path) if where is None else where
    found = parse_json(read_text(path, where, at_most), where)
    require(isinstance(found, dict), f"{where}: damaged (no JSON object, but {shown(found)})")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shown(twice, 40)!r} is there twice")
    return found


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {shown(digits, 40)} is beyond the largest there is")
    return value
