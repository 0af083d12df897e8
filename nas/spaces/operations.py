"""Candidate operations as plain modules, one an edge: what evaluation networks are made of.

DARTS space (Liu et al. 2019, section 3.1 and the authors' release): ReLU-Conv-BN order, separable
convolutions applied twice, dilated ones once, no convolution bias. The evaluation operations of the NASNet
and AmoebaNet cells are here as well, so that every published genotype can be built.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nas.errors import ConfigError, require
from nas.spaces.native.affine import SeparableAffine
from nas.spaces.native.separable import SeparableSpec
from nas.spaces.norm import batch_norm

if TYPE_CHECKING:
    from nas.spaces.supernet.fan_out import Execution


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


class SeparableConv(nn.Sequential):
    """Steps of ReLU, depthwise and pointwise convolution, BN; the compiled kernel where one is given.

    Attributes:
        execution: how to compute; None, or an execution without a kernel: module by module.
    """

    def __init__(self, *modules: nn.Module):
        super().__init__(*modules)
        self.execution: Execution | None = None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H/stride, W/stride]."""
        return self.fused(x_BCHW) if self.fuses(x_BCHW) else super().forward(x_BCHW)

    def fuses(self, x_BCHW: Tensor) -> bool:
        """Whether the kernel computes this input: in training, on a CPU, outside autocast."""
        native = None if self.execution is None else self.execution.native
        if native is None or not self.training or torch.is_autocast_enabled(x_BCHW.device.type):
            return False
        depthwise, norm = self[1], self[3]
        batch, _, height, width = x_BCHW.shape
        stride = depthwise.stride[0]
        # A single value a channel cannot be normalised: torch says so in its own words.
        several = batch > 1 or height > stride or width > stride
        return (
            native.supports(x_BCHW, depthwise.kernel_size[0])
            and depthwise.weight.dtype == x_BCHW.dtype
            and norm.affine
            and norm.track_running_stats
            and several
        )

    def fused(
        self, x_BCHW: Tensor, factors_B: Tensor | None = None, total_BCHW: Tensor | None = None
    ) -> Tensor:
        """By the kernel: total + factors * self(x), in place where the total is laid out channels-last."""
        steps = len(self) // 4
        depthwise, pointwise, norms = ([self[4 * s + i] for s in range(steps)] for i in (1, 2, 3))
        first = depthwise[0]
        spec = SeparableSpec(
            self.execution.native, first.kernel_size[0], first.stride[0], first.dilation[0], steps
        )
        return SeparableAffine.apply(
            spec,
            norms,
            x_BCHW,
            factors_B,
            total_BCHW,
            *(conv.weight for conv in (*depthwise, *pointwise)),
            *(norm.weight for norm in norms),
            *(norm.bias for norm in norms),
        )


def separable_conv(channels: int, kernel: int, stride: int, affine: bool) -> SeparableConv:
    """ReLU, depthwise and pointwise convolution, BN, twice; the stride is in the first."""
    return SeparableConv(
        *_depthwise_separable(channels, kernel, stride, 1, affine),
        *_depthwise_separable(channels, kernel, 1, 1, affine),
    )


def dilated_conv(channels: int, kernel: int, stride: int, affine: bool) -> SeparableConv:
    """Depthwise convolution of dilation 2 and pointwise convolution, once."""
    return SeparableConv(*_depthwise_separable(channels, kernel, stride, 2, affine))


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

    Add an operation here (evaluation) and in `nas.spaces.supernet.fan_out` (search).
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
