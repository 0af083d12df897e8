"""Where data lie, said so that it holds in any folder: a run may be continued from another one."""

import os
import re
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf

from nas.running.words import word

# Keys of `dataset` and `dataset.source` that name a place.
PLACES = ("root", "file", "labels", "test_file", "test_labels")
# Others that do, one or a list of them.
TABLES = ("tabular.file", "tabular.costs", "method.cost.table")
# What a surrogate of the user's is built with, and which of its arguments name places by their names: those
# may be names of something else (a model of a hub, a file within another argument's folder).
SURROGATE = "tabular.surrogate"
PLACE = re.compile(r"(^|_)(dirs?|dirpath|directory|paths?|files?|filename|folders?|root)$")


def absolute(path: Any) -> Any:
    """A path from the root of the file system, `~` written out; what is no text stays."""
    return os.path.abspath(os.path.expanduser(path)) if isinstance(path, str) else path


def make_absolute(config: DictConfig) -> None:
    """Makes the places of a configuration's data, and of what it looks up, absolute, in place; null stays."""
    for part in ("dataset", "dataset.source"):
        node = OmegaConf.select(config, part)
        for key in PLACES if isinstance(node, DictConfig) else ():
            if key in node and not OmegaConf.is_interpolation(node, key):
                node[key] = absolute(node[key])
    for key in TABLES:
        value = OmegaConf.select(config, key)
        if value is not None:
            listed = [absolute(one) for one in value] if isinstance(value, ListConfig) else absolute(value)
            OmegaConf.update(config, key, listed, merge=False)
    _make_arguments_absolute(OmegaConf.select(config, SURROGATE))


def _make_arguments_absolute(node: Any, named: bool = False) -> None:
    """Makes texts of a node that stand for places absolute, in place.

    That is what has a slash or a `~` and is there; of what an argument names as a place (`model_path`,
    `files`), an address of the net apart, also a plain name that is there, and what has a slash and would lie
    in a folder that is there.
    """
    if not isinstance(node, DictConfig | ListConfig):
        return
    for key in list(node) if isinstance(node, DictConfig) else range(len(node)):
        if key == "_target_" or OmegaConf.is_interpolation(node, key):
            continue
        place = named if isinstance(key, int) else PLACE.search(str(key)) is not None
        value = node[key]
        if not isinstance(value, str):
            _make_arguments_absolute(value, place)
        elif _lies_here(value, place):
            node[key] = absolute(value)


def _lies_here(value: str, named: bool) -> bool:
    """Whether a text is a path of the present folder; `named` if its argument is called a place."""
    if not value or "://" in value:
        return False
    looks = "/" in value or os.sep in value or value.startswith("~")
    path = os.path.expanduser(value)
    if os.path.exists(path):
        return looks or named
    return looks and named and os.path.isdir(os.path.dirname(path.rstrip("/" + os.sep)))


def placed(override: str) -> str:
    """An override whose places are absolute, as `make_absolute` has them; others stay as they are."""
    try:
        found = OverridesParser.create().parse_override(override)
        value = None if found.is_delete() or found.is_sweep_override() else found.value()
    except (HydraException, RecursionError, ValueError):
        return override  # refused where the run's configuration is composed
    moved = _moved(found.key_or_group, value)
    return override if moved == value else f"{override.partition('=')[0]}={word(moved)}"


def _moved(key: str, value: Any) -> Any:
    """A plain value of a key with its places made absolute."""
    if isinstance(value, dict):
        return {name: _moved(f"{key}.{name}", inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_moved(key, one) for one in value]
    if not isinstance(value, str) or value[:1] in ("", "$"):
        return value
    part, _, last = key.rpartition(".")
    if key in TABLES or (part in ("dataset", "dataset.source") and last in PLACES):
        return absolute(value)
    argument = key.startswith(f"{SURROGATE}.") and last != "_target_"
    return absolute(value) if argument and _lies_here(value, PLACE.search(last) is not None) else value
