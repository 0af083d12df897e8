"""Steps that a GPU repeats by itself: recorded once as a CUDA graph, and replayed with other images.

A step of a search is thousands of small operators, and handing them in takes the host longer than a fast GPU
computes. A graph is handed in as one. What is recorded are the passes (forward and backward, clipping and
optimisers stay outside): they read and write the same memory each time, take the same numbers of Python, and
ask the host nothing. Learning rates stay outside; temperatures and rates of the passes change with the epoch,
so each epoch records anew, behind two steps that are taken as ever.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from nas.errors import require
from nas.methods.method import Method

# Steps before one is recorded: libraries choose algorithms and get their workspaces in them.
WARM = 2


class Graph(Protocol):
    """What has been recorded."""

    def replay(self) -> None:
        """Computes it again, on what now stands in the memory that it reads."""


# Runs a function once while its operators are recorded; returns what it returned, and how to repeat it.
Record = Callable[[Callable[[], Any]], tuple[Any, Graph]]


class CudaRecord:
    """Records on the present GPU, all graphs in one pool of memory: they are never replayed at once."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, function: Callable[[], Any]) -> tuple[Any, Graph]:
        """Records; nothing is computed."""
        graph = torch.cuda.CUDAGraph()
        # A loader's threads may go on asking for memory.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            made = function()
        self._pool = self._pool or graph.pool()
        return made, graph


class Recorder:
    """Runs functions of batches: the first times as they are, then as what was recorded of them.

    Args:
        record: how to record; None for CUDA graphs.
        warm: calls before one is recorded.
    """

    def __init__(self, record: Record | None = None, warm: int = WARM):
        self.warm = warm
        self._new = CudaRecord if record is None else lambda: record
        self.forget()

    def forget(self) -> None:
        """Records anew from here on: what functions go by beside their inputs has changed."""
        self._record: Record = self._new()
        self._calls: dict[Any, int] = {}
        self._held: dict[Any, tuple[list[Tensor], Any, Graph]] = {}

    def run(self, name: str, function: Callable[..., Any], *inputs: Any) -> Any:
        """What the function returns for these inputs, its tensors valid until the next call of that name.

        Args:
            name: of the function, which is to be the same in all calls.
            function: inputs -> containers of tensors, None and numbers that follow from shapes.
            inputs: containers of tensors; other shapes are another recording.
        """
        given, form = tree_flatten(inputs)
        tensors = [leaf for leaf in given if isinstance(leaf, Tensor)]
        key = (name, *((tuple(tensor.shape), tensor.dtype) for tensor in tensors))
        if key not in self._held:
            self._calls[key] = self._calls.get(key, 0) + 1
            if self._calls[key] <= self.warm:
                return function(*inputs)
            self._held[key] = self._recorded(function, given, form)
        places, made, graph = self._held[key]
        with torch.no_grad():
            for place, tensor in zip(places, tensors, strict=True):
                place.copy_(tensor, non_blocking=True)
        graph.replay()
        return made

    def _recorded(self, function: Callable[..., Any], given: list[Any], form: Any) -> Any:
        held = [leaf.detach().clone() if isinstance(leaf, Tensor) else leaf for leaf in given]
        inputs = tree_unflatten(held, form)

        def run() -> Any:
            # Halves of weights that autocast keeps belong to what has computed them.
            torch.clear_autocast_cache()
            made = function(*inputs)
            torch.clear_autocast_cache()
            return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, made)

        made, graph = self._record(run)
        return [leaf for leaf in held if isinstance(leaf, Tensor)], made, graph


def check_graph(hardware: Mapping[str, Any], method: Method, text: bool) -> None:
    """Refuses `hardware.graph=true` where a step cannot be recorded.

    Args:
        hardware: the `hardware` group.
        method: what is searched by.
        text: whether it is searched on text.

    Raises:
        ConfigError: says why, and with which key it could.
    """
    if not hardware.get("graph"):
        return
    off = "set hardware.graph=false"
    require(
        not text,
        f"hardware.graph=true: segments of a text differ in length, and a recording has one shape; {off}",
    )
    why = unrecordable(method)
    require(why is None, f"hardware.graph=true: {why}; {off}")


def unrecordable(method: Method) -> str | None:
    """Why the passes of a method's steps cannot be recorded, in words with the key; None if they can."""
    update, relaxation = method.update, method.relaxation
    if update is None:
        return f"method={method.name} trains nothing, so that there is nothing to record"
    if update.rewinds:
        return (
            f"method.update={update.name} puts random generators back between its passes, and a graph draws "
            "on and on; method.update=first_order could be recorded"
        )
    if method.budgeted and not method.joint:
        return (
            "method.cost.budget moves the price of a cost after every step, and a graph keeps the one that "
            "it was recorded at; method.cost.budget=null could be recorded"
        )
    if relaxation.one_path or update.by_probability:
        return (
            f"which candidates are run the host decides anew in every pass of method={method.name}, and a "
            "graph runs the same ones; take a method.relaxation that runs all of them"
        )
    for key, monitor in method.monitors.items():
        if monitor.compares_gradients:
            return f"method.monitors.{key} holds candidates between passes, by what their gradients say"
    return None
