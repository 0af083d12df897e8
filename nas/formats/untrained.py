"""Random weights that can be told from others by what they compute."""

from typing import Any

import torch
from torch import nn

IMAGES = 16


def settle(network: nn.Module, image_shape: tuple[int, int, int], seed: int) -> None:
    """Gives batch norm the statistics of a batch of noise, in place.

    With those of its construction (mean 0, variance 1) a deep network's signal dies out, and its outputs are
    the classifier's biases whatever the picture: comparing them would compare nothing.
    """
    norms: list[Any] = [module for module in network.modules() if hasattr(module, "running_mean")]
    momenta = [norm.momentum for norm in norms]
    generator = torch.Generator().manual_seed(seed)
    try:
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            network.train()(torch.randn(IMAGES, *image_shape, generator=generator))
    finally:
        network.eval()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
