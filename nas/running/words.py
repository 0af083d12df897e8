"""Values as words of a command line, which Hydra and a shell read back as what they stand for."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

# Of ASCII alone, and beginning as no number does: whatever else Hydra reads as text stands in quotes.
PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./+:-]*", re.ASCII)
# Words that stand for other values.
RESERVED = ("null", "true", "false", "nan", "inf")


def word(value: Any) -> str:
    """A plain value as Hydra's override parser reads it back: null, a truth value, number, text or container.

    Args:
        value: keys of its mappings must be plain words, for which Hydra has no quotes.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{word(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return "[" + ",".join(map(word, value)) + "]"
    return quoted(value)


def key_of(override: str) -> str:
    """The key of an override, without the signs of adding and taking away: `a.b` of `++a.b=1`."""
    return override.lstrip("+~").split("=", 1)[0]


def quoted(value: object) -> str:
    """A text, such as a path, as Hydra's override parser reads it back: in quotes, or a plain word."""
    text = str(value)
    if PLAIN.fullmatch(text) and text.lower() not in RESERVED:
        return text
    # A backslash is doubled before a quote, and nowhere else.
    return QuotedString(text=text, quote=Quote.double).with_quotes()


def pasted(words: Sequence[str]) -> str:
    """A command that a shell reads; what is not printable becomes an escape that bash undoes."""
    return " ".join(shlex.quote(one) if one.isprintable() else _escaped(one) for one in words)


def _escaped(text: str) -> str:
    shells = {"\\": "\\\\", "'": "\\'"}
    parts = (
        shells.get(one, one)
        if one.isprintable()
        else "".join(f"\\x{byte:02x}" for byte in one.encode("utf-8", "surrogateescape"))
        for one in text
    )
    return f"$'{''.join(parts)}'"
