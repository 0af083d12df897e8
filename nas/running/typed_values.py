"""What people paste behind `key=`, such as a path, is taken as the text that it is.

Hydra's grammar has its own reading of `=`, commas, brackets and other signs. A key that takes nothing but
text gets what was typed in quotes; for any other the form to type is told.
"""

import os
import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from nas.engine.machine.processes import MULTIRUN
from nas.errors import ConfigError
from nas.running.declared import declared
from nas.running.kinds import Kind, kind
from nas.running.words import pasted, quoted, shown

# Folders that are made where they are missing, and so are read as typed whether they are there or not.
MADE = ("hydra.run.dir", "hydra.sweep.dir", "outputs")
# Hydra's own options whose value is an argument of its own.
OPTIONS = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p")
TEXT = kind("str")
# Keys whose lists hold overrides of other commands, in which `=` and brackets are usual.
OF_OVERRIDES = re.compile(r"((search|select|evaluate)\.)?overrides|search\.grid")
SIMPLE = re.compile(r"[\w.+/:-]*", re.ASCII)


def with_texts(name: str, arguments: Sequence[str]) -> list[str]:
    """A command line that Hydra's grammar reads as it was meant.

    Args:
        name: the command.
        arguments: what was typed.

    Raises:
        ConfigError: a value that the grammar cannot read, of a key that takes more than text; with the form
            to type.
    """
    multirun = any(one in MULTIRUN for one in arguments)
    return [
        text if before in OPTIONS else _with_text(name, text, multirun)
        for before, text in zip(("", *arguments), arguments, strict=False)
    ]


def _with_text(name: str, argument: str, multirun: bool) -> str:
    split = re.fullmatch(r"(\+{0,2}([A-Za-z_][\w./@-]*)=)(.*)", argument, re.DOTALL)
    if split is None:
        return argument
    start, key, text = split.groups()
    there = os.path.lexists(text)
    if "${" in text or (SIMPLE.fullmatch(text) and not there):
        return argument
    override, of_key = _parsed(argument), TEXT if key in MADE else declared(name).kind(key)
    if override is not None and not _is_other(override, of_key, there or (key in MADE and not multirun)):
        return argument
    if of_key is None or "str" not in of_key.types or {"list", "map"} & of_key.types:
        if override is not None:
            return argument
        if there and of_key is not None and "str" in of_key.types:
            # A place that is there, of a key that takes one or a list of them.
            return start + quoted(text)
        listed = _overrides(text) if OF_OVERRIDES.fullmatch(key) else None
        if listed is not None and _parsed(start + listed):
            return start + listed
        raise ConfigError(
            f"{key}={shown(text)}: has signs that Hydra's grammar reads as its own; in quotes they are text: "
            + pasted([start + _form(text)])
        )
    parts = text.split(",")
    if multirun and not there and all(map(os.path.lexists, parts)):
        return start + ",".join(map(quoted, parts))
    home = key in MADE and re.match(r"~(/|$)", text)
    return start + quoted(os.path.expanduser(text) if home else text)


def _parsed(argument: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(argument)
    except HydraException:
        return None


def _is_other(override: Override, of_key: Kind | None, named: bool) -> bool:
    """Whether what was read as a number, a list or a choice of a sweep is text, such as a file's name."""
    if override.is_sweep_override():
        return named
    value = override.value()
    if isinstance(value, list | dict):
        return True
    return named and not isinstance(value, str) and of_key is not None and not of_key.fits(value)


def _form(text: str) -> str:
    """A value in quotes; of a list of texts each that needs them."""
    if text.startswith("[") and text.endswith("]"):
        items = [one.strip() for one in text[1:-1].split(",")]
        form = f"[{','.join(one if _parsed(f'key={one}') else quoted(one) for one in items)}]"
        if _parsed(f"key={form}"):
            return form
    return quoted(text)


def _overrides(text: str) -> str | None:
    """A list of overrides, or of lists of them, each in quotes: `[a=1,b=[2,3]]`; None where it is no list."""
    if not (text.startswith("[") and text.endswith("]")):
        return None
    found = []
    for one in _split(text[1:-1]):
        nested = _overrides(one)
        alone = one[:1] in ("'", '"') and one[-1:] == one[:1] and len(one) > 1
        found.append(nested if nested is not None else one if alone else quoted(one))
    return f"[{','.join(found)}]"


def _split(text: str) -> list[str]:
    """What commas separate, but for those within brackets or quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "[({":
            depth += 1
        elif letter in "])}":
            depth -= 1
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [one.strip() for one in parts if one.strip()]
