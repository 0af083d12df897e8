"""What in a step makes a host wait for its device, found operator by operator and without a GPU.

A GPU works through its operators while the host hands in the next ones. Reading a tensor's value, or anything
whose shape depends on values, makes the host wait until all are done; so does a tensor that is made on one
device and used on another.
"""

import traceback
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
# Operators whose result, or its shape, the host has to know.
READS = frozenset(
    packet
    for name in (
        "_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "_unique", "_unique2",
        "unique_dim", "unique_consecutive", "bincount", "allclose", "argwhere",
    )
    if (packet := getattr(aten, name, None)) is not None
)  # fmt: skip
INDEXED = frozenset({aten.index, aten.index_put, aten.index_put_, aten._unsafe_index})
COPIES = frozenset({aten._to_copy, aten.copy_, aten.copy, aten._foreach_copy_})
# What Python asks of a tensor without an operator, where the tensor is the host's own.
TAKEN = frozenset({Tensor.tolist, Tensor.numpy, Tensor.cpu, Tensor.__array__, Tensor.__contains__})
GIVEN = frozenset({torch.tensor, torch.as_tensor, torch.asarray, torch.from_numpy, Tensor.new_tensor})


@dataclass(frozen=True)
class Wait:
    """One reason to wait.

    Attributes:
        operator: its name, such as `aten._local_scalar_dense`.
        reason: in words.
        place: the line of this project that asked for it; empty where the project is not on the stack.
    """

    operator: str
    reason: str
    place: str

    def __str__(self) -> str:
        return f"{self.operator} ({self.reason}) at {self.place or 'no line of this project'}"


class DeviceWatch:
    """Notes everything inside the block for which a host would wait for its device.

    On a CPU the reads of values, and numbers of Python that become a tensor, count as they would on a GPU. On
    any other device (`meta` and fake tensors too) so does an operator that makes a tensor elsewhere than its
    inputs are. Scalars of the host, of no dimension, are spared: an operator takes one as a number, and
    nothing is copied.

    Args:
        device: where the step computes.
        host: tensors that rest on the host wherever the step computes, such as an optimiser's count of steps.

    Attributes:
        found: in the order of the step.
    """

    def __init__(self, device: torch.device | str, host: Iterable[Tensor] = ()):
        self.device = torch.device(device)
        self.found: list[Wait] = []
        self._host = {tensor.untyped_storage()._cdata for tensor in host}
        self._modes = ExitStack()

    def __enter__(self) -> "DeviceWatch":
        self._modes.enter_context(_Calls(self))
        self._modes.enter_context(_Operators(self))
        return self

    def __exit__(self, *error: Any) -> None:
        self._modes.close()

    def here(self, tensor: Tensor) -> bool:
        """Whether a tensor is the device's, and would be on a GPU."""
        if tensor.device.type != self.device.type:
            return False
        return tensor.untyped_storage()._cdata not in self._host

    def note(self, func: Any, reason: str) -> None:
        """Notes one reason to wait."""
        self.found.append(Wait(getattr(func, "__qualname__", None) or str(func), reason, _place()))


class _Calls(TorchFunctionMode):
    """What Python asks of tensors, operators aside."""

    def __init__(self, watch: DeviceWatch):
        super().__init__()
        self.watch = watch

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in TAKEN and self.watch.here(args[0]):
            self.watch.note(func, "the host reads the values")
        elif func in GIVEN and _is_copied(func, args, kwargs):
            self.watch.note(func, "numbers of the host are copied")
        elif func in (Tensor.__getitem__, Tensor.__setitem__) and self.watch.here(args[0]):
            places = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(place, list) for place in places):
                self.watch.note(func, "indices of the host are copied")
        return func(*args, **kwargs)


def _is_copied(func: Any, args: tuple, kwargs: dict) -> bool:
    """Whether numbers become a tensor that is more than a scalar of the host."""
    data = args[0] if args else kwargs.get("data")
    if func is Tensor.new_tensor or kwargs.get("device") is not None:
        return func is Tensor.new_tensor or not isinstance(data, Tensor)
    return not isinstance(data, Tensor | int | float)


class _Operators(TorchDispatchMode):
    """Operators, those of backward passes included."""

    def __init__(self, watch: DeviceWatch):
        super().__init__()
        self.watch = watch
        self.device = watch.device

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Looks at one operator and runs it."""
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        reason = self._reads(func, args, given)
        if reason is not None:
            self.watch.note(func, reason)
        made = func(*args, **kwargs)
        if reason is None:
            reason = self._moves(func, given, [x for x in tree_leaves(made) if isinstance(x, Tensor)])
            if reason is not None:
                self.watch.note(func, reason)
        return made

    def _reads(self, func: Any, args: tuple, given: list[Tensor]) -> str | None:
        packet = getattr(func, "overloadpacket", None)
        if packet in READS and any(map(self.watch.here, given)):
            return "the host reads a value"
        if packet in INDEXED and any(
            isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) and self.watch.here(index)
            for index in args[1]
        ):
            return "a mask as an index: its true entries are counted"
        if func is aten.repeat_interleave.Tensor and any(map(self.watch.here, given)):
            return "its length is a sum of values"
        return None

    def _moves(self, func: Any, given: list[Tensor], made: list[Tensor]) -> str | None:
        if self.device.type == "cpu":
            return None  # there is no other
        packet = getattr(func, "overloadpacket", None)
        if packet in COPIES:
            # `copy_` gives back what it has written to: what it has read tells.
            devices = {tensor.device.type for tensor in (*given, *made)}
            return f"a copy between {' and '.join(sorted(devices))}" if len(devices) > 1 else None
        homes = {tensor.device.type for tensor in given if tensor.dim()} or {self.device.type}
        # What rests on the host alone may stay there; a scalar is a number to any operator.
        strays = {tensor.device.type for tensor in made if tensor.dim() and tensor.device.type not in homes}
        if strays:
            return f"makes a tensor on {', '.join(sorted(strays))}"
        if len(homes) > 1:
            return f"reads tensors of {' and '.join(sorted(homes))}"
        return None


def _place() -> str:
    """The innermost line of this project, the measuring aside: `nas/methods/edges.py:84`."""
    for frame in reversed(traceback.extract_stack()):
        path = frame.filename.replace("\\", "/")
        if "/nas/" in path and "site-packages" not in path and not path.endswith("/measure/waits.py"):
            return f"nas/{path.rpartition('/nas/')[2]}:{frame.lineno}"
    return ""


def counters(*optimizers: torch.optim.Optimizer) -> list[Tensor]:
    """The counts of steps that optimisers keep on the host, once they have made a step.

    Adam's is one, where it is neither `capturable` nor `fused`: it is read without any device.
    """
    return [
        state["step"]
        for optimizer in optimizers
        if not any(group.get("capturable") or group.get("fused") for group in optimizer.param_groups)
        for state in optimizer.state.values()
        if isinstance(state.get("step"), Tensor)
    ]
