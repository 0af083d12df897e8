"""Parameters and multiply-adds of a network, by part, without running it on data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

AUXILIARY = "auxiliary"


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        params: parameters without the auxiliary head, classifier and BN included.
        params_auxiliary: parameters of the auxiliary head; 0 if there is none.
        macs: multiply-adds of one image in evaluation mode: convolutions and linear layers. Normalisation,
            activations, pooling and sums are not counted, as in the papers.
        parts: for each part of the network (parameters, multiply-adds), in order.
    """

    params: int
    params_auxiliary: int
    macs: int
    parts: tuple[tuple[str, int, int], ...]


def count_cost(build: Callable[[], nn.Module], image_shape: Sequence[int]) -> Cost:
    """Prices the network that `build` makes, on the meta device: nothing is allocated, nothing is computed.

    Args:
        build: makes the network; its forward takes images alone.
        image_shape: (C, H, W).
    """
    with torch.device("meta"):
        network = build().eval()
        images_BCHW = torch.empty(1, *image_shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images_BCHW)
    by_module = counter.get_flop_counts()
    root = type(network).__name__
    parts = []
    for name, module in _parts(network):
        macs = (
            sum(by_module.get(f"{root}.{name}", {}).values()) // 2
        )  # the counter counts multiply and add apart
        parts.append((name, _parameters(module), macs))
    auxiliary = getattr(network, AUXILIARY, None)
    params_auxiliary = 0 if auxiliary is None else _parameters(auxiliary)
    return Cost(
        params=_parameters(network) - params_auxiliary,
        params_auxiliary=params_auxiliary,
        macs=counter.get_total_flops() // 2,
        parts=tuple(parts),
    )


def _parts(network: nn.Module):
    for name, child in network.named_children():
        if isinstance(child, nn.ModuleList):
            yield from ((f"{name}.{index}", item) for index, item in enumerate(child))
        else:
            yield name, child


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
