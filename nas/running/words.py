"""Values as words of a command line, which Hydra and a shell read back, and as messages show them."""

import difflib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from nas.errors import require

# Of ASCII alone, and beginning as no number does: whatever else Hydra reads as text stands in quotes.
PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./+:-]*", re.ASCII)
# A key of a mapping.
KEY = re.compile(r"[\w.-]+")
# Words that stand for other values.
RESERVED = ("null", "true", "false", "nan", "inf")
# Characters of a value in a message.
SHOWN = 80


def word(value: Any) -> str:
    """A plain value as Hydra's override parser reads it back: null, a truth value, number, text or container.

    Args:
        value: arrays are lists, and numbers of NumPy's or torch's are numbers.

    Raises:
        ConfigError: a key of a mapping is no plain word: Hydra has no quotes for one.
    """
    if value is None:
        return "null"
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        value = value.item()  # a number of NumPy's, or a tensor of one number
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        for name in map(str, value):
            require(
                KEY.fullmatch(name) is not None,
                f"{name[:SHOWN]!r}: is no plain word, as keys in a command line are",
            )
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
    """A command that a shell reads; what is not printable becomes an escape that bash undoes.

    Where this process was started by a script that was installed, such as `nas-search`, so are others: the
    `python` of the shell may be that of another environment.
    """
    words = [*_script(words), *words[3:]] if list(words[:2]) == ["python", "-m"] else words
    return " ".join(shlex.quote(one) if one.isprintable() else _escaped(one) for one in words)


def _script(words: Sequence[str]) -> list[str]:
    """`python -m nas.<command>`, or the script beside the one that started this process."""
    own, (package, _, command) = Path(sys.argv[0]), words[2].partition(".")
    script = own.with_name(f"{package}-{command}{own.suffix}")
    if own.stem.partition("-")[0] != package or not own.is_absolute() or not script.is_file():
        return list(words[:3])
    found = shutil.which(script.name)
    on_path = found is not None and os.path.samefile(found, script)
    return [script.stem if on_path else str(script)]


def _escaped(text: str) -> str:
    shells = {"\\": "\\\\", "'": "\\'"}
    parts = (
        shells.get(one, one)
        if one.isprintable()
        else "".join(f"\\x{byte:02x}" for byte in one.encode("utf-8", "surrogateescape"))
        for one in text
    )
    return f"$'{''.join(parts)}'"


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
