"""Values and keys as messages about a configuration show them."""

import difflib
import re
from collections.abc import Iterable
from typing import Any

SHOWN = 80


def shown(value: Any) -> str:
    """A value as it is written in YAML, cut off where it is long."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    text = " ".join(str(value).split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def near(path: str, others: Iterable[str]) -> str:
    """Words that name the nearest of the other keys; nothing where there are none."""
    names = sorted(set(others))
    last = {name.rsplit(".", 1)[-1]: name for name in names}
    close = difflib.get_close_matches(path.rsplit(".", 1)[-1], last, n=1, cutoff=0.0)
    return f"; the nearest known is {last[close[0]]}" if close else ""


def typed_again(value: Any) -> str:
    """A value as it was typed, in quotes where it would look like one of another kind."""
    # 3 and '3' look alike.
    alike = isinstance(value, str) and re.fullmatch(r"[-+\d.e]+|true|false|null", value)
    return f"'{value}'" if alike else shown(value)
