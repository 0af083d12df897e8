"""A CUDA graph as far as a processor can be one: operators on fixed memory, repeated without any Python.

What a graph would get wrong goes wrong here: numbers of Python stay what they were when it was recorded, new
tensors of Python are never seen, and what the host decided is not decided again.
"""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

EMPTY = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided")


class Operators(TorchDispatchMode):
    """Notes operators with the tensors that they read and make."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if not func.is_view and name not in EMPTY:
            self.calls.append((func, args, kwargs or {}, made))
        return made

    def replay(self):
        """Does it all again, in the same memory."""
        with torch.no_grad():
            for func, args, kwargs, made in self.calls:
                again = func(*args, **kwargs)
                if func._schema.is_mutable:
                    continue  # it has written where it wrote before
                for place, value in zip(tree_leaves(made), tree_leaves(again), strict=True):
                    if isinstance(place, Tensor):
                        place.detach().copy_(value)


def record(function):
    """As `nas.engine.graphs.Record`; what was computed while it was recorded is undone."""
    states = torch.get_rng_state()
    with Operators() as graph:
        made = function()
    torch.set_rng_state(states)
    return made, graph
