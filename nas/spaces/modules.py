"""The modules of one edge that candidate operations are made of, and the layers beside them."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import require
from nas.spaces.native.affine import SeparableAffine
from nas.spaces.native.separable import SeparableSpec
from nas.spaces.norm import batch_norm

if TYPE_CHECKING:
    from nas.spaces.supernet.candidate import Execution


class DropPath(nn.Module):
    """Drops whole images in training and scales the others up (Huang et al. 2016; Larsson et al. 2017).

    The draws are those of timm's class of that name, which is not used because importing timm takes as long
    as importing torch.

    Attributes:
        drop_prob: probability of dropping an image's path.
    """

    def __init__(self, drop_prob: float = 0.0):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, ...], each image dropped or divided by the probability of being kept."""
        if not self.training or self.drop_prob == 0:
            return x_BCHW
        keep = 1 - self.drop_prob
        mask_B = x_BCHW.new_empty(len(x_BCHW), *[1] * (x_BCHW.dim() - 1)).bernoulli_(keep)
        return x_BCHW * (mask_B.div_(keep) if keep > 0 else mask_B)

    def extra_repr(self) -> str:
        """What is printed of it."""
        return f"drop_prob={self.drop_prob:0.3f}"


def set_drop_path(network: nn.Module, rate: float) -> None:
    """Sets the probability of dropping a path, for every path of a network or of a part."""
    for module in network.modules():
        if isinstance(module, DropPath):
            module.drop_prob = rate


def relu_conv_bn(c_in: int, c_out: int, kernel: int, stride: int, affine: bool) -> nn.Sequential:
    """ReLU, dense convolution, BN."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False),
        batch_norm(c_out, affine),
    )


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
        """Whether the kernel computes this input: in training, norms too, on a CPU, outside autocast."""
        native = None if self.execution is None else self.execution.native
        if native is None or not self.training or torch.is_autocast_enabled(x_BCHW.device.type):
            return False
        depthwise: Any = self[1]
        norm: Any = self[3]
        batch, _, height, width = x_BCHW.shape
        stride = depthwise.stride[0]
        # A single value per channel cannot be normalised: torch says so in its own words.
        several = batch > 1 or height > stride or width > stride
        return (
            all(self[place].training for place in range(3, len(self), 4))
            and native.supports(x_BCHW, depthwise.kernel_size[0])
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
        first: Any = depthwise[0]
        assert self.execution is not None and self.execution.native is not None  # as `fuses` has found
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


def separable_conv(
    channels: int, kernel: int, stride: int, dilation: int, repeats: int, affine: bool
) -> SeparableConv:
    """ReLU, depthwise and pointwise convolution, BN: `repeats` times, the stride in the first."""
    modules: list[nn.Module] = []
    padding = dilation * (kernel - 1) // 2
    for step in range(repeats):
        first = stride if step == 0 else 1
        modules += [
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel, first, padding, dilation, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            batch_norm(channels, affine),
        ]
    return SeparableConv(*modules)


def pool(kind: str, stride: int) -> nn.Module:
    """3x3 pooling; the average leaves padding out of its count."""
    if kind == "max":
        return nn.MaxPool2d(3, stride, 1)
    return nn.AvgPool2d(3, stride, 1, count_include_pad=False)


def one_further(x_BCHW: Tensor) -> Tensor:
    """Feature maps from the second row and column on; of a signal's single row only the columns move."""
    return x_BCHW[:, :, min(1, x_BCHW.shape[2] - 1) :, 1:]


def convolved(conv: nn.Conv2d, x_BCHW: Tensor) -> Tensor:
    """A convolution; a 1x1 one of a stride reads its pixels first and strides no more, where it is trained.

    oneDNN computes the gradient of such weights in memory that is too small, and breaks the heap, hangs or is
    wrong (its issue 6035): with fewer than 8 channels on processors without AVX-512, and on others with 8
    channels of 56 or more pixels a side, as we have seen it. Nobody has said where else.
    """
    strided = conv.kernel_size == (1, 1) and conv.stride != (1, 1)
    if not (strided and conv.training and x_BCHW.device.type == "cpu"):
        return conv(x_BCHW)
    rows, columns = conv.stride
    return F.conv2d(x_BCHW[:, :, ::rows, ::columns], conv.weight, conv.bias)


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
        """[B, C_in, H, W] -> [B, C_out, H/2, W/2]; H and W must be even, or H 1."""
        x_BCHW = self.relu(x_BCHW)
        halves = convolved(self.conv_1, x_BCHW), convolved(self.conv_2, one_further(x_BCHW))
        return self.bn(torch.cat(halves, dim=1))


class Zero(nn.Module):
    """The `none` operation: zeros of the strided shape."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> zeros [B, C, H/stride, W/stride]."""
        return torch.zeros_like(x_BCHW[:, :, :: self.stride, :: self.stride])


class Noise(nn.Module):
    """Fresh N(0, 1) noise of the strided shape, in training and in test (space S4, Zela et al. 2020).

    Attributes:
        draws: whether a network that holds it draws numbers in evaluation too.
    """

    draws = True

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> noise [B, C, H/stride, W/stride] that does not depend on the input's values."""
        return torch.randn_like(x_BCHW[:, :, :: self.stride, :: self.stride])


def seven_by_seven(channels: int, stride: int, affine: bool) -> nn.Sequential:
    """ReLU, 1x7 and 7x1 convolution, BN."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, 7), (1, stride), (0, 3), bias=False),
        nn.Conv2d(channels, channels, (7, 1), (stride, 1), (3, 0), bias=False),
        batch_norm(channels, affine),
    )
