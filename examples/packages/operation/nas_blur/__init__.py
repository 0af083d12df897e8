"""An operation of one's own: a convolution behind a blur."""

import torch
from torch import Tensor, nn

import nas.spaces


class BlurConv(nas.spaces.Operation):
    """ReLU, 3x3 binomial blur with the stride, 1x1 convolution, BN: a reduction that does not alias.

    Source: Zhang, Making Convolutional Networks Shift-Invariant Again, 2019.
    """

    def build(self, channels: int, stride: int, affine: bool) -> nn.Module:
        return nn.Sequential(
            nn.ReLU(),
            Blur(channels, stride),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels, affine=affine),
        )


class Blur(nn.Module):
    """A depthwise convolution of [B, C, H, W] with a fixed kernel, (1, 2, 1) along each side."""

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.channels, self.stride = channels, stride
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(line, line).expand(channels, 1, 3, 3).clone())

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return nn.functional.conv2d(x_BCHW, self.kernel, None, self.stride, 1, groups=self.channels)
