"""Candidate operations as plain modules, one an edge: what evaluation networks are made of.

DARTS space (Liu et al. 2019, section 3.1 and the authors' release): ReLU-Conv-BN order, separable
convolutions applied twice, dilated ones once, no convolution bias. The evaluation operations of the NASNet
and AmoebaNet cells are here as well, so that every published genotype can be built.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nas.errors import ConfigError, require

BN_EPS = 1e-5
BN_MOMENTUM = 0.1


def batch_norm(channels: int, affine: bool) -> nn.BatchNorm2d:
    """Batch normalisation as every network here uses it; searches use `affine=False`."""
    return nn.BatchNorm2d(channels, eps=BN_EPS, momentum=BN_MOMENTUM, affine=affine)


def relu_conv_bn(c_in: int, c_out: int, kernel: int, stride: int, affine: bool) -> nn.Sequential:
    """ReLU, dense convolution, BN."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False),
        batch_norm(c_out, affine),
    )


def _depthwise_separable(
    channels: int, kernel: int, stride: int, dilation: int, affine: bool
) -> list[nn.Module]:
    padding = dilation * (kernel - 1) // 2
    return [
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        batch_norm(channels, affine),
    ]


def separable_conv(channels: int, kernel: int, stride: int, affine: bool) -> nn.Sequential:
    """ReLU, depthwise and pointwise convolution, BN, twice; the stride is in the first."""
    return nn.Sequential(
        *_depthwise_separable(channels, kernel, stride, 1, affine),
        *_depthwise_separable(channels, kernel, 1, 1, affine),
    )


def dilated_conv(channels: int, kernel: int, stride: int, affine: bool) -> nn.Sequential:
    """Depthwise convolution of dilation 2 and pointwise convolution, once."""
    return nn.Sequential(*_depthwise_separable(channels, kernel, stride, 2, affine))


def pool(kind: str, stride: int) -> nn.Module:
    """3x3 pooling; the average leaves padding out of its count."""
    if kind == "max":
        return nn.MaxPool2d(3, stride, 1)
    return nn.AvgPool2d(3, stride, 1, count_include_pad=False)


class FactorizedReduce(nn.Module):
    """Halves the resolution: two 1x1 stride-2 convolutions on grids one pixel apart, concatenated, BN."""

    def __init__(self, c_in: int, c_out: int, affine: bool):
        super().__init__()
        require(
            c_out % 2 == 0, f"space.init_channels: reductions need an even number of channels, not {c_out}"
        )
        self.relu = nn.ReLU()
        self.conv_1 = nn.Conv2d(c_in, c_out // 2, 1, 2, bias=False)
        self.conv_2 = nn.Conv2d(c_in, c_out // 2, 1, 2, bias=False)
        self.bn = batch_norm(c_out, affine)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C_in, H, W] -> [B, C_out, H/2, W/2]; H and W must be even."""
        x_BCHW = self.relu(x_BCHW)
        return self.bn(torch.cat([self.conv_1(x_BCHW), self.conv_2(x_BCHW[:, :, 1:, 1:])], dim=1))


class Zero(nn.Module):
    """The `none` operation: zeros of the strided shape."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> zeros [B, C, H/stride, W/stride]."""
        return torch.zeros_like(x_BCHW[:, :, :: self.stride, :: self.stride])


class Noise(nn.Module):
    """Fresh N(0, 1) noise of the strided shape, in training and in test (space S4, Zela et al. 2020)."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> noise [B, C, H/stride, W/stride] that does not depend on the input's values."""
        return torch.randn_like(x_BCHW[:, :, :: self.stride, :: self.stride])


def _skip(channels: int, stride: int, affine: bool) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine)


def _seven(channels: int, stride: int, affine: bool) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, 7), (1, stride), (0, 3), bias=False),
        nn.Conv2d(channels, channels, (7, 1), (stride, 1), (3, 0), bias=False),
        batch_norm(channels, affine),
    )


def operation_builders() -> dict[str, Callable[[int, int, bool], nn.Module]]:
    """Name -> `build(channels, stride, affine)` of every operation that a cell may hold.

    Add an operation here (evaluation) and in `nas.spaces.mixed` (search).
    """
    return {
        "none": lambda c, s, a: Zero(s),
        "noise": lambda c, s, a: Noise(s),
        "skip_connect": _skip,
        "max_pool_3x3": lambda c, s, a: pool("max", s),
        "avg_pool_3x3": lambda c, s, a: pool("avg", s),
        "sep_conv_3x3": lambda c, s, a: separable_conv(c, 3, s, a),
        "sep_conv_5x5": lambda c, s, a: separable_conv(c, 5, s, a),
        "sep_conv_7x7": lambda c, s, a: separable_conv(c, 7, s, a),
        "dil_conv_3x3": lambda c, s, a: dilated_conv(c, 3, s, a),
        "dil_conv_5x5": lambda c, s, a: dilated_conv(c, 5, s, a),
        "conv_7x1_1x7": _seven,
    }


def operation(name: str, channels: int, stride: int, affine: bool = True) -> nn.Module:
    """Builds one operation [B, C, H, W] -> [B, C, H/stride, W/stride].

    Raises:
        ConfigError: there is no operation of that name.
    """
    builders = operation_builders()
    if name not in builders:
        raise ConfigError(
            f"space.operations: unknown operation {name!r}; known are {', '.join(sorted(builders))}"
        )
    return builders[name](channels, stride, affine)
