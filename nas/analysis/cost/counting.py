"""Exact counts of what a training step asks of a device: operators, and bytes kept for the backward pass.

Both are free of noise, and the same on every machine that takes the same code path.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from nas.analysis.cost.complexity import Cost, count_cost
from nas.spaces.space import EdgeGroup, Inputs, Space


@dataclass(frozen=True)
class Operators:
    """Operators that reached the dispatcher below autograd.

    Attributes:
        total: all of them.
        computing: those that are not views; on a GPU about as many kernel launches.
    """

    total: int
    computing: int


class OperatorCounter(TorchDispatchMode):
    """Counts operators inside the block, those of backward passes that start in it included."""

    def __init__(self):
        super().__init__()
        self.total = 0
        self.computing = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Counts one operator and runs it."""
        self.total += 1
        # The schema hides that `_unsafe_view` moves no data.
        if not (func.is_view or func is torch.ops.aten._unsafe_view.default):
            self.computing += 1
        return func(*args, **(kwargs or {}))


def count_operators(run: Callable[[], Any]) -> Operators:
    """Operators that one call of `run` dispatches."""
    with OperatorCounter() as counter:
        run()
    return Operators(counter.total, counter.computing)


def count_saved_bytes(forward: Callable[[], Any], parameters: Iterable[Tensor] = ()) -> int:
    """Bytes that one forward pass keeps for the backward pass: distinct storages, each whole and once.

    Autograd's saved tensors are seen: all that built-in operators keep and that custom functions hand to
    `save_for_backward`. Tensors that a function keeps by other means are not: peak memory shows those.

    Args:
        forward: runs the forward pass and returns what holds its graph.
        parameters: tensors whose storage is there anyway and not counted.
    """
    known = {tensor.untyped_storage()._cdata for tensor in parameters}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        # Not the address of the data: on the device `meta` all have the same.
        if storage._cdata not in known:
            sizes[storage._cdata] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        # Held until the sum is taken: a freed storage's address could be given out and counted again.
        graph = forward()
    total = sum(sizes.values())
    del graph
    return total


class _WithWeights(nn.Module):
    """A supernet as a module of its inputs alone, at equal op weights."""

    def __init__(self, supernet: nn.Module, groups: Mapping[str, EdgeGroup]):
        super().__init__()
        self.supernet = supernet
        self.op_weights = {name: torch.ones(group.shape) for name, group in groups.items()}

    def forward(self, x: Tensor) -> Any:
        return self.supernet(x, self.op_weights)


def supernet_cost(
    space: Space, inputs: Inputs, partial: int | None = None, kept: Mapping[str, Tensor] | None = None
) -> Cost:
    """Parameters and forward multiply-adds per image or per word, of a space's supernet.

    `partial` and `kept` are as in `Space.supernet`.
    """

    def build() -> nn.Module:
        # torch's counter trips over modules whose inputs need gradients while none are computed.
        supernet = space.supernet(inputs, partial, kept).requires_grad_(False)
        return _WithWeights(supernet, space.groups)

    return count_cost(build, inputs.example)
