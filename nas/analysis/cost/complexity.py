"""Parameters and multiply-adds of a network, by part, without running it on data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

AUXILIARY = "auxiliary"


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
        network = _without_norms(build().eval())
        x = example() if callable(example) else torch.empty(1, *example)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
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


class _Unpriced(nn.BatchNorm2d):
    """Passes on what it is given, if that has its number of channels."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW if x_BCHW.shape[1] == self.num_features else super().forward(x_BCHW)


def _without_norms(network: nn.Module) -> nn.Module:
    """The network, which nobody else has, without normalising.

    That costs nothing, and takes half of the time of pricing on the meta device.
    """
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _Unpriced
    return network


def _parts(network: nn.Module):
    for name, child in network.named_children():
        if isinstance(child, nn.ModuleList):
            yield from ((f"{name}.{index}", item) for index, item in enumerate(child))
        else:
            yield name, child


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
