"""Parameters and statistics of the same layer on m edges, stacked in one tensor.

Each layer can be applied edge by edge or to all m edges in one operator, their channels side by side.

Shapes: B batch, C channels, H W space, m edges that hold a candidate.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.spaces.norm import BN_EPS, BN_MOMENTUM
from nas.spaces.signals import middle_row


class StackedConv(nn.Module):
    """The weights of m equal convolutions, `[m, C_out, C_in/groups, k, k]`, initialised as torch does.

    Of signals they are `[m, C_out, C_in/groups, 1, k]` (`nas.spaces.signals`).
    """

    def __init__(self, m: int, c_in: int, c_out: int, kernel: int = 1, groups: int = 1):
        super().__init__()
        fan_in = c_in // groups * kernel * kernel
        bound = fan_in**-0.5
        self.groups = groups
        self.kernel = kernel
        self.flat = False
        self.weight = nn.Parameter(
            torch.empty(m, c_out, c_in // groups, kernel, kernel).uniform_(-bound, bound)
        )

    def forward(self, x_BCHW: Tensor, weight: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
        """Applies one of the stacked convolutions, `weight` being its slice."""
        return F.conv2d(x_BCHW, weight, None, stride, self._padding(dilation), dilation, self.groups)

    def wide(self, x_BCHW: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
        """Applies all m at once, each to its own channels: [B, m*C_in, H, W] -> [B, m*C_out, H', W']."""
        padding, groups = self._padding(dilation), len(self.weight) * self.groups
        return F.conv2d(x_BCHW, self.weight.flatten(0, 1), None, stride, padding, dilation, groups)

    def flatten_rows(self) -> None:
        """Keeps kernels of one row, for signals."""
        self.weight, self.flat = middle_row(self.weight), True

    def _padding(self, dilation: int) -> tuple[int, int]:
        padding = dilation * (self.kernel - 1) // 2
        return 0 if self.flat else padding, padding

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, groups={self.groups}"


class StackedNorm(nn.Module):
    """m affine-free batch norms over C channels, whose scale is an op weight (or 1)."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, m: int, channels: int):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(m, channels))
        self.register_buffer("running_var", torch.ones(m, channels))

    def forward(self, x_BCHW: Tensor, index: int, scale: Tensor | None = None) -> Tensor:
        """Normalises `x_BCHW` with the statistics of edge `index`, times the 0-dimensional `scale`."""
        # Dense, because torch reads an expanded weight wrongly in the channels-last backward pass on a CPU.
        weight_C = None if scale is None else scale.to(self.running_mean.dtype).repeat(x_BCHW.shape[1])
        return self._norm(x_BCHW, self.running_mean[index], self.running_var[index], weight_C)

    def wide(self, x_BCHW: Tensor, scale_X: Tensor | None = None) -> Tensor:
        """Normalises all m edges at once, [B, m*C, H, W], each channel times its scale [m*C]."""
        scale_X = None if scale_X is None else scale_X.to(self.running_mean.dtype)
        return self._norm(x_BCHW, self.running_mean.flatten(), self.running_var.flatten(), scale_X)

    def repeated(self, scales_M: Tensor) -> Tensor:
        """A scale per edge -> one per channel, dense, [m*C]."""
        # Made contiguous before it is flattened: for one edge that alone would be a view, and not dense.
        expanded = scales_M.to(self.running_mean.dtype)[:, None].expand_as(self.running_mean)
        return expanded.contiguous().flatten()

    def _norm(self, x_BCHW: Tensor, mean_C: Tensor, var_C: Tensor, weight_C: Tensor | None) -> Tensor:
        return F.batch_norm(x_BCHW, mean_C, var_C, weight_C, None, self.training, BN_MOMENTUM, BN_EPS)
