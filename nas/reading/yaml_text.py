"""YAML as OmegaConf reads it, without what a stranger's file could do: no tags, no aliases, no depth.

An alias can name the container that it lies in, or double what it stands for in each of thirty lines; a tag
can name a class. Configurations that this project writes have neither.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from nas.errors import ConfigError, require
from nas.printable import shown
from nas.reading.files import read_text
from nas.reading.plain import DEPTH, check_plain, walk

FLOAT = "tag:yaml.org,2002:float"
TIMESTAMP = "tag:yaml.org,2002:timestamp"
# As OmegaConf has it: `1e-3` is a number, which it is not in YAML 1.1.
FLOATS = re.compile(
    r"""^(?:
     [-+]?[0-9]+(?:_[0-9]+)*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)
    |\.[0-9]+(?:_[0-9]+)*(?:[eE][-+][0-9]+)?
    |[-+]?[0-9]+(?:_[0-9]+)*(?::[0-5]?[0-9])+\.[0-9_]*
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the compiled one if any
    """Plain containers; refuses a key that is there twice, as OmegaConf does."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (a table that nobody changes)
        first: [(tag, pattern) for tag, pattern in found if tag != TIMESTAMP]
        + ([(FLOAT, FLOATS)] if first and first in "-+0123456789." else [])
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict:
        """A mapping of a node.

        Raises:
            yaml.YAMLError: a key is there twice.
        """
        found = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in found:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {shown(key.value, 40)!r} is there twice", key.start_mark
                    )
                found.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, where: str) -> Any:
    """The containers that a text in YAML stands for; None where it is empty.

    Interpolations stay the texts that they are.

    Args:
        text: one document.
        where: what a message begins with.

    Raises:
        ConfigError: it is broken, too deep, has a tag, an alias or a key twice, a key that is neither text
            nor a number, or a whole number beyond 64 bits.
    """
    try:
        _check_events(text, where)
        found = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        words = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        raise ConfigError(f"{where}: damaged ({shown(str(words), 160)}{line})") from error
    except (ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        # Digits that int() or float() will not read.
        raise ConfigError(f"{where}: damaged ({shown(str(error), 160)})") from error
    check_plain(found, where)
    _check_kinds(found, where)
    return found


def _check_events(text: str, where: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1
        require(
            not isinstance(event, yaml.AliasEvent) and getattr(event, "anchor", None) is None,
            f"{where}: line {line}: aliases (& and *) are not read",
        )
        tag = getattr(event, "tag", None)
        require(tag is None, f"{where}: line {line}: tags are not read ({shown(tag, 60)})")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            require(depth <= DEPTH, f"{where}: line {line}: nested more than {DEPTH} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check_kinds(data: Any, where: str) -> None:
    for is_key, value in walk(data):
        fits = (value is None and not is_key) or isinstance(value, str | int | float)
        if not fits and is_key:
            raise ConfigError(f"{where}: the key {shown(value)} must be text or a number")
        require(
            fits,
            f"{where}: {shown(value)}: must be text, a number, a truth value, null, a list or a mapping",
        )


def read_yaml(path: str | Path, where: str | None = None) -> Any:
    """The containers that a regular file in YAML holds; None where it is empty.

    Args:
        path: of the file.
        where: what a message begins with; None for the path.

    Raises:
        ConfigError: as for `read_text` and `parse_yaml`.
    """
    where = str(path) if where is None else where
    return parse_yaml(read_text(path, where), where)


def read_mapping(path: str | Path, where: str | None = None) -> dict[Any, Any]:
    """The same of a file that must hold a mapping.

    Raises:
        ConfigError: as for `read_yaml`, or it holds something else.
    """
    found = read_yaml(path, where)
    require(isinstance(found, dict), f"{where or path}: damaged (it holds no keys, but {shown(found)})")
    return found
