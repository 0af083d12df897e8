"""Names and shapes of a network's tensors before any is allocated, since a file may say any size.

Sizes in a file that may be a stranger's cost nothing to write and anything to believe. A network is therefore
first built on torch's `meta` device, whose tensors have shapes and no memory, and compared with the weights
that are to be loaded. What is built there is counted: modules take memory too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules import module as registering

from nas.errors import ConfigError, require
from nas.printable import shown

# Modules of a network whose weights are not at hand: a hundred times those of twenty cells of a paper, and
# about a gigabyte.
MOST_MODULES = 300_000
# Modules beside each tensor, such as wires and activations, that no sensible architecture reaches.
BESIDE = 100
GIB = 2**30


@contextmanager
def bounded(tensors: int | None = None, modules: int = MOST_MODULES, where: str = "") -> Iterator[None]:
    """Inside the block no more than so many tensors and modules are put into others.

    Args:
        tensors: parameters and buffers; None for any number.
        modules: submodules.
        where: what the message begins with.

    Raises:
        ConfigError: the block puts in more.
    """
    left = {"tensors": tensors, "modules": modules}

    def count(what: str) -> None:
        known = left[what]
        if known is None:
            return
        left[what] = known - 1
        most = tensors if what == "tensors" else modules
        require(known > 0, f"{where}its sizes stand for more than {most:,} {what}")

    def tensor(_: nn.Module, __: str, found: object) -> None:
        if found is not None:
            count("tensors")

    def module(_: nn.Module, __: str, ___: object) -> None:
        count("modules")

    handles = [
        registering.register_module_parameter_registration_hook(tensor),
        registering.register_module_buffer_registration_hook(tensor),
        registering.register_module_module_registration_hook(module),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def outline_of(build: Callable[[], nn.Module], tensors: int | None = None) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a network's state, by name; nothing is allocated, no number is drawn.

    Args:
        build: makes the network.
        tensors: more are refused while it is built.

    Raises:
        ConfigError: there would be more, too many modules, or a size cannot be.
    """
    # Several registrations may put one tensor in its place, as a buffer that is replaced.
    modules = MOST_MODULES if tensors is None else min(MOST_MODULES, BESIDE * (tensors + BESIDE))
    most = None if tensors is None else 2 * tensors + BESIDE
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]), bounded(most, modules):
            state = build().state_dict()
    except ConfigError:
        raise
    except (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"its sizes are those of no network ({_short(error)})") from error
    return {name: tuple(one.shape) for name, one in state.items()}


def check_outline(
    build: Callable[[], nn.Module], shapes: Mapping[str, Sequence[int]], words: str, advice: str = ""
) -> None:
    """Refuses a network whose tensors are not those of some weights, before it is built.

    Args:
        build: makes the network.
        shapes: of the weights, by name.
        words: what is said where they differ; what differs first is named after them.
        advice: what is said last.

    Raises:
        ConfigError: a tensor is missing, unknown or of another shape, or a size cannot be.
    """
    try:
        own = outline_of(build, len(shapes))
    except ConfigError as error:
        raise ConfigError(f"{words} ({error}){advice}") from error
    found = {name: tuple(shape) for name, shape in shapes.items()}
    for name, shape in own.items():
        said = list(found[name]) if name in found else "not there"
        require(
            found.get(name) == shape,
            f"{words} ({shown(name)} is {said} among the weights, and {list(shape)} by the sizes){advice}",
        )
    more = next((name for name in found if name not in own), None)
    require(more is None, f"{words} ({shown(str(more))} has no place in it){advice}")


def shapes_of(state: Mapping[str, object]) -> dict[str, tuple[int, ...]]:
    """The shapes of tensors by name; (-1,), which none has, of what is no tensor."""
    return {name: tuple(getattr(one, "shape", (-1,))) for name, one in state.items()}


def check_memory(parameters: int, memory: float | None, words: str) -> None:
    """Refuses a network whose parameters alone do not fit into memory; `memory` in bytes, None for unknown.

    Raises:
        ConfigError: they do not fit.
    """
    needed = 4 * parameters
    require(
        memory is None or needed <= memory,
        f"{words}: {parameters:,} parameters take {needed / GIB:,.1f} GiB, and this machine has "
        f"{(memory or 0) / GIB:,.1f}",
    )


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return shown(lines[0], 120) if lines else type(error).__name__
