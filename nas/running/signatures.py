"""What a node of a configuration builds, and what its signature takes. Modules are imported for it."""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig

from nas.running.kinds import Kind, of_parameter


def target_of(node: Any) -> Callable | None:
    """What a node's `_target_` names, if it names something that can be found."""
    name = node.get("_target_") if isinstance(node, DictConfig) else None
    return named(name) if isinstance(name, str) else None


def named(name: str) -> Callable | None:
    """What a dotted name stands for, if it can be found."""
    try:
        return hydra.utils.get_object(name)
    except (ImportError, ValueError, AttributeError, HydraException):
        # Told in full where it is built.
        return None


def parameters_of(node: Any) -> Mapping[str, inspect.Parameter] | None:
    """The arguments of what a node builds; None where it builds nothing, or nothing that tells."""
    target = target_of(node)
    if target is None:
        return None
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):
        return None


def takes(node: Any, key: str) -> bool:
    """Whether what a node builds has an argument of that name, or takes any."""
    parameters = parameters_of(node) or {}
    return key in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def kinds_of(node: Any) -> dict[str, Kind]:
    """The kinds of the arguments of what a node builds, as far as its signature tells them."""
    target = target_of(node)
    return {} if target is None else dict(kinds_of_target(target))


@functools.lru_cache(1024)
def kinds_of_target(target: Callable) -> Mapping[str, Kind]:
    """The kinds of the arguments of a class or function, as far as its signature tells them."""
    owner = target.__init__ if inspect.isclass(target) else target
    try:
        parameters, hints = inspect.signature(target).parameters, typing.get_type_hints(owner)
    except (NameError, TypeError, AttributeError, ValueError):
        return {}
    found = {key: of_parameter(one, hints.get(key, Any)) for key, one in parameters.items()}
    return {key: kind for key, kind in found.items() if kind is not None}
