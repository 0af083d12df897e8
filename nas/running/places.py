"""Where data lie, said so that it holds in any folder: a run may be continued from another one."""

import os
from typing import Any

from omegaconf import DictConfig, OmegaConf

# Keys of `dataset` and `dataset.source` that name a place.
PLACES = ("root", "file", "labels", "test_file", "test_labels")


def absolute(path: Any) -> Any:
    """A path from the root of the file system, `~` written out; what is no text stays."""
    return os.path.abspath(os.path.expanduser(path)) if isinstance(path, str) else path


def make_absolute(config: DictConfig) -> None:
    """Makes the places of a configuration's data absolute, in place; null stays."""
    for part in ("dataset", "dataset.source"):
        node = OmegaConf.select(config, part)
        for key in PLACES if isinstance(node, DictConfig) else ():
            if key in node and not OmegaConf.is_interpolation(node, key):
                node[key] = absolute(node[key])
