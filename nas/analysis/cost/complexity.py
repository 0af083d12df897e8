"""Parameters and multiply-adds of a network, by part, without running it on data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

AUXILIARY = "auxiliary"
# Their arguments begin with the input, scale, offset and running mean.
NORMS = (
    torch.ops.aten.native_batch_norm.default,
    torch.ops.aten._native_batch_norm_legit_no_training.default,
)


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        params: parameters without the auxiliary head, classifier and BN included.
        params_auxiliary: parameters of the auxiliary head; 0 if there is none.
        macs: multiply-adds of one image, or of one word of a text, in evaluation mode: convolutions and
            matrix products. Normalisation, activations, pooling, sums and the look-up of a word are not
            counted, as in the papers.
        parts: for each part of the network (name, parameters, multiply-adds), in order. Parameters that lie
            in none of its modules, as a language model's do, are one part under all their names.
    """

    params: int
    params_auxiliary: int
    macs: int
    parts: tuple[tuple[str, int, int], ...]


def count_cost(build: Callable[[], nn.Module], example: Sequence[int] | Callable[[], Tensor]) -> Cost:
    """Prices the network that `build` makes, on the meta device: nothing is allocated, nothing is computed.

    Args:
        build: makes the network; its forward takes the example alone.
        example: (C, H, W) of an image, or what makes the input that is priced.
    """
    with torch.device("meta"):
        network = build().eval()
        x = example() if callable(example) else torch.empty(1, *example)
    with FlopCounterMode(display=False) as counter, _WithoutNorms(), torch.no_grad():
        network(x)
    by_module = counter.get_flop_counts()
    root = type(network).__name__
    parts = []
    for name, module in _parts(network):
        macs = (
            sum(by_module.get(f"{root}.{name}", {}).values()) // 2
        )  # the counter counts multiply and add apart
        parts.append((name, _parameters(module), macs))
    own = dict(network.named_parameters(recurse=False))
    if own:
        rest = counter.get_total_flops() // 2 - sum(macs for *_, macs in parts)
        parts.insert(0, (", ".join(own), sum(p.numel() for p in own.values()), rest))
    auxiliary = getattr(network, AUXILIARY, None)
    params_auxiliary = 0 if auxiliary is None else _parameters(auxiliary)
    return Cost(
        params=_parameters(network) - params_auxiliary,
        params_auxiliary=params_auxiliary,
        macs=counter.get_total_flops() // 2,
        parts=tuple(parts),
    )


class _WithoutNorms(TorchDispatchMode):
    """Passes on what a batch norm is given, if that has its number of channels; everything else runs.

    A norm costs nothing, and takes more than half of the time of pricing on the meta device.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Runs one operator, or leaves it out."""
        if func in NORMS and args[3] is not None and len(args[3]) == args[0].shape[1]:
            return torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0)
        return func(*args, **(kwargs or {}))


def _parts(network: nn.Module):
    for name, child in network.named_children():
        if isinstance(child, nn.ModuleList):
            yield from ((f"{name}.{index}", item) for index, item in enumerate(child))
        else:
            yield name, child


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
