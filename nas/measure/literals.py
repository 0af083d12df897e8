"""The literal networks of the tests, which `nas.bench` measures ours against: found by import path, built."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from nas.errors import ConfigError

# What a space's literal supernet (`Space.reference`) is called with, where its signature names it, beside the
# space itself, `groups`, `image_shape` and `num_classes`.
SIZES = (
    "num_cells", "cells_per_stage", "init_channels", "stem_multiplier", "stem", "partial", "hidden_size",
    "num_nodes",
)  # fmt: skip


def find_literal(target: str, key: str) -> Callable:
    """The class or function at an import path.

    Args:
        target: the path.
        key: what asks for it, such as `bench.evaluation`.

    Raises:
        ConfigError: it cannot be imported, as where the tests do not lie beside this package.
    """
    place, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(place), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{key}=true: {target} cannot be imported ({error}); the reference lies in the tests folder of a "
            f"checkout: run the command from there, or set {key}=false"
        ) from error


def build_literal(literal: Callable, known: Mapping[str, Any]) -> nn.Module:
    """Calls it with those of the known arguments that its signature names."""
    named = inspect.signature(literal).parameters
    return literal(**{name: value for name, value in known.items() if name in named})
