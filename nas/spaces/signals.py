"""Networks of signals: those of images [C, 1, L], of which every operation reaches along time alone.

A k x k convolution on maps of height 1 meets nothing but padding above and below: two thirds (or more) of its
weights would never learn, and would be stored, decayed, exported and counted all the same. So a network for
signals has 1 x k ones from the beginning, and strides and pools along time; parameters, multiply-adds and
times are then those of a 1-d network, whatever counts them. What is drawn stays in proportion: the middle
row of a k x k draw, times sqrt(k), is torch's own draw of a 1 x k convolution.

Shapes: C channels, L time steps, m edges.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def is_signal(image_shape: Sequence[int]) -> bool:
    """Whether images (C, H, W) are signals: of a single row."""
    return image_shape[1] == 1


def fit_to(network: nn.Module, image_shape: Sequence[int]) -> None:
    """Makes a network that was just built for images (C, H, W) one of signals, where these are signals."""
    if is_signal(image_shape):
        along_time(network)


def along_time(network: nn.Module) -> nn.Module:
    """Replaces what reaches over rows, in place: convolutions, pools, and whoever has `flatten_rows`.

    Returns:
        The network. Other modules stay as they are; those of a user's own operations see maps of height 1.
    """
    for module in list(network.modules()):
        own: Any = getattr(module, "flatten_rows", None)
        if own is not None:
            own()
        elif isinstance(module, nn.Conv2d):
            _flatten_convolution(module)
        elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            for name, value in (("kernel_size", 1), ("stride", 1), ("padding", 0)):
                setattr(module, name, (value, _width(getattr(module, name))))
            if isinstance(module, nn.MaxPool2d):
                module.dilation = (1, _width(module.dilation))
    return network


def middle_row(weight: Tensor) -> nn.Parameter:
    """The middle row of kernels [..., k, k'], [..., 1, k'], scaled as torch draws such kernels."""
    rows = weight.shape[-2]
    with torch.no_grad():
        row = weight[..., rows // 2 : rows // 2 + 1, :] * rows**0.5
    return nn.Parameter(row.contiguous(), requires_grad=weight.requires_grad)


def reduced(side: int, factor: int) -> int:
    """A side of feature maps after the resolution was divided by a factor; a single row stays one."""
    return 1 if side == 1 else side // factor


def _flatten_convolution(conv: nn.Conv2d) -> None:
    if conv.kernel_size[0] > 1:
        conv.weight = middle_row(conv.weight)
    conv.kernel_size = (1, conv.kernel_size[1])
    conv.stride, conv.dilation = (1, conv.stride[1]), (1, conv.dilation[1])
    if not isinstance(conv.padding, str):
        conv.padding = (0, conv.padding[1])
        # torch keeps what modes of padding other than zeros pad with: left, right, top, bottom.
        conv._reversed_padding_repeated_twice = [conv.padding[1]] * 2 + [0, 0]


def _width(value: int | Sequence[int]) -> int:
    return value if isinstance(value, int) else value[-1]
