"""One file a room; `torture.rooms.ROOMS` has them in the order in which they are tried.

A room's module has a function `room(folder)` that makes it. The folder is one of the room's own, for what it
needs more than once, such as a run that nothing happened to.
"""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torture.room import Room

# Names of modules in here, in the order of the table; what is not built is not here.
ROOMS = (
    "kills",
    "signals",
    "disk",
    "checkpoints",
    "hostile",
    "fuzz",
    "keys",
    "numbers",
    "distributed",
    "long",
    "sweeps",
    "exports",
)  # fmt: skip
# `<room>:<plant>` and the chamber's folder, for commands that are started while a fault is planted.
PLANT, KEPT = "TORTURE_PLANT", "TORTURE_KEPT"


def room_of(name: str, folder: Path) -> Room:
    """Makes a room; `folder` is the chamber's."""
    return importlib.import_module(f"torture.rooms.{name}").room(folder / "kept" / name)


@contextmanager
def planted(room: Room, name: str, folder: Path) -> Iterator[None]:
    """Inside the block a fault is planted in this process and in the commands that it starts."""
    os.environ |= {PLANT: f"{room.name}:{name}", KEPT: str(folder)}
    try:
        with room.plants[name].plant():
            yield
    finally:
        del os.environ[PLANT], os.environ[KEPT]
