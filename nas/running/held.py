"""Objects of the caller's Python process in a configuration: a space, a method, Lightning's callbacks.
callbacks.

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
    found = []
    for key, (target, word) in TARGETS.items():
        node = config
        for part in key.split("."):
            node = node.get(part) if hasattr(node, "get") else None
        if hasattr(node, "get") and node.get("_target_") == target:
            found.append(word)
    return found


def python_call(function: str, config: Any, folder: Path) -> str:
    """What is typed in Python in the place of a command that no shell could run.

    Args:
        function: `resume`, or another of the package's that takes a run and data.
        config: whose parts are objects of Python's.
        folder: of the run.
    """
    words = of_python(config)
    given = [word if word == "data" else f"{word}={word}" for word in words]
    run = repr(str(folder))
    first = run if function == "resume" else f"nas.load({run})"
    return f"nas.{function}({', '.join([first, *given])})"
