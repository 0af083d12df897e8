"""Where data lie, said so that it holds in any folder: a run may be continued from another one."""

import os
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

# Keys of `dataset` and `dataset.source` that name a place.
PLACES = ("root", "file", "labels", "test_file", "test_labels")
# Others that do, one or a list of them.
TABLES = ("tabular.file", "tabular.costs", "method.cost.table")


def absolute(path: Any) -> Any:
    """A path from the root of the file system, `~` written out; what is no text stays."""
    return os.path.abspath(os.path.expanduser(path)) if isinstance(path, str) else path


def make_absolute(config: DictConfig) -> None:
    """Makes the places of a configuration's data, and of tables of costs, absolute, in place; null stays."""
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
