"""Where data lie, said so that it holds in any folder: a run may be continued from another one."""

import os
import re
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

# Keys of `dataset` and `dataset.source` that name a place.
PLACES = ("root", "file", "labels", "test_file", "test_labels")
# Others that do, one or a list of them.
TABLES = ("tabular.file", "tabular.costs", "method.cost.table")
# What a surrogate of the user's is built with, and which of its arguments name places by their names.
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

    That is what an argument names as one (`model_path`, `files`), an address of the net apart, and what has a
    slash or a `~` and is there.
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
        elif value and "://" not in value:
            looks = "/" in value or os.sep in value or value.startswith("~")
            if place or (looks and os.path.exists(os.path.expanduser(value))):
                node[key] = absolute(value)
