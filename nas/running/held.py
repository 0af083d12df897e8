"""Objects of the caller's Python process in a configuration: a space, a method, Lightning's callbacks.

A configuration names what builds its parts. Where somebody has an object and no name, as in a notebook, the
part's `_target_` is one of the functions here, which hand out what the call of `nas.run_search` was given. In
another process there is nothing to hand out, and the run can only be continued where the object is.
Images are `nas.data.given`'s, which says in the configuration what they are.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nas.errors import ConfigError

GIVEN_SOURCE = "nas.data.given.Given"
# Key of a configuration -> what builds an object of Python's there, and what the caller calls it.
TARGETS: Mapping[str, tuple[str, str]] = {
    "dataset.source": (GIVEN_SOURCE, "data"),
    "space": ("nas.running.held.space", "space"),
    "method": ("nas.running.held.method", "method"),
}
# What these options are called.
OPTION = "given"
HELD: ContextVar[Mapping[str, Any]] = ContextVar("held", default=MappingProxyType({}))


@contextmanager
def holding(**objects: Any) -> Iterator[None]:
    """Inside the block, and this thread, these objects are handed out; None is none."""
    given = {name: value for name, value in objects.items() if value is not None}
    token = HELD.set(MappingProxyType({**HELD.get(), **given}))
    try:
        yield
    finally:
        HELD.reset(token)


def space(name: str) -> Any:
    """The space that the caller gave, as it is; `name` is what reports call it.

    Raises:
        ConfigError: this process holds none.
    """
    return _held("space")


def method(name: str, shapes: Mapping[str, tuple[int, int]], layout: Mapping[str, Any]) -> Any:
    """The method that the caller's function builds for the groups of a space.

    Args:
        name: what reports call it.
        shapes: group -> (edges, operations), as methods take them.
        layout: likewise.

    Raises:
        ConfigError: this process holds no such function.
    """
    return _held("method")(shapes=shapes, layout=layout)


def callbacks() -> list[Any]:
    """Lightning's callbacks that the caller gave."""
    return list(HELD.get().get("callbacks", ()))


def _held(name: str) -> Any:
    found = HELD.get().get(name)
    if found is None:
        raise ConfigError(
            f"{name}: that of this run was an object of a Python process, and is not here; go on from "
            "Python, "
            f"nas.resume(<folder>, {name}={name})"
        )
    return found


def of_python(config: Any) -> list[str]:
    """What of a configuration are objects of a Python process: `data`, `space`, `method`."""
    return [word for key, (target, word) in TARGETS.items() if _target(config, key) == target]


def option_of(group: str, config: Any) -> str | None:
    """The option of a group that stands for an object, where the configuration has one there."""
    found = (key for key, (target, _) in TARGETS.items() if _target(config, key) == target)
    return OPTION if group in (key.split(".")[0] for key in found) else None


def _target(node: Any, key: str) -> Any:
    for part in (*key.split("."), "_target_"):
        node = node.get(part) if hasattr(node, "get") else None
    return node


def python_call(name: str, config: Any, folder: Path) -> str:
    """What is typed in Python in the place of a command that no shell could run.

    Args:
        name: `resume`, or the command that goes on from a run: `evaluate`, `derive`.
        config: whose parts are objects of Python's.
        folder: of the run.
    """
    given = [word if word == "data" else f"{word}={word}" for word in of_python(config)]
    run = repr(str(folder))
    if name == "resume":
        return f"nas.resume({', '.join([run, *given])})"
    if name == "derive":
        return f"nas.load({run}).derive(max_params=...)"
    kept = [f"nas.load({run})", *(one for one in given if not one.startswith("method="))]
    return f"nas.run_evaluation({', '.join(kept)})"
