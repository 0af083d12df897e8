"""What an object is made of, as plain containers that can be compared: for tests of what a key changes."""

import hashlib
from collections.abc import Mapping
from dataclasses import is_dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn

PLAIN = (str, int, float, bool, bytes, complex, type(None), torch.dtype, torch.device, Path, timedelta)


def fingerprint(value: Any, seen: frozenset[int] = frozenset()) -> Any:
    """Nested tuples of all that `value` holds; of tensors a digest, unless they are on no device."""
    if isinstance(value, PLAIN):
        return (type(value).__name__, repr(value))
    if id(value) in seen:
        return "above"
    seen = seen | {id(value)}
    if isinstance(value, torch.Tensor):
        content = "" if value.is_meta else hashlib.sha256(_bytes(value)).hexdigest()
        return ("tensor", tuple(value.shape), str(value.dtype), content)
    if isinstance(value, Mapping):
        return ("mapping", *((str(key), fingerprint(one, seen)) for key, one in value.items()))
    if isinstance(value, list | tuple | set | frozenset):
        parts = [fingerprint(one, seen) for one in value]
        return ("several", *(sorted(parts, key=repr) if isinstance(value, set | frozenset) else parts))
    if isinstance(value, partial):
        return ("partial", *(fingerprint(one, seen) for one in (value.func, value.args, value.keywords)))
    if isinstance(value, MethodType):
        return ("method", value.__name__, fingerprint(value.__self__, seen))
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return ("function", value.__qualname__, fingerprint(cells, seen))
    if isinstance(value, type):
        return ("class", value.__qualname__)
    return (type(value).__qualname__, fingerprint(_inside(value), seen))


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _inside(value: Any) -> Mapping[str, Any]:
    if isinstance(value, torch.optim.Optimizer):
        return {"groups": [{k: v for k, v in group.items() if k != "params"} for group in value.param_groups]}
    inside = dict(getattr(value, "__dict__", {}))
    if is_dataclass(value) or inside or not hasattr(value, "__slots__"):
        # Modules have a dozen empty dictionaries of hooks each.
        skipped = isinstance(value, nn.Module)
        return {key: one for key, one in inside.items() if not (skipped and "hook" in key)}
    return {name: getattr(value, name) for name in value.__slots__ if hasattr(value, name)}
