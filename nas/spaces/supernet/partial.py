"""Partial channels: 1/K of the channels go through the candidates, the others past them (DrNAS, section 3.3).

Every edge puts its mixed channels and those that went past it together and shuffles them, K being the number
of groups. Sums and shuffles change places, so a node sums first and shuffles once.
"""

import torch
from torch import Tensor


def part(x_BCHW: Tensor, mixed_channels: int) -> tuple[Tensor, Tensor]:
    """The first channels, for the candidates and dense in memory, and a view of the others."""
    nhwc = x_BCHW.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if nhwc else torch.contiguous_format
    mixed_BCHW = x_BCHW[:, :mixed_channels].contiguous(memory_format=layout)
    return mixed_BCHW, x_BCHW[:, mixed_channels:]


def join(mixed_BCHW: Tensor, past_BCHW: Tensor, partial: int) -> Tensor:
    """Both parts as one, [B, C, H, W], shuffled over K groups in one copy: channel c*K + k is k*C/K + c."""
    parts = [mixed_BCHW, *past_BCHW.chunk(partial - 1, dim=1)]
    if past_BCHW.stride(1) == 1:  # channels last, be it a part of a tensor
        rows = [one.permute(0, 2, 3, 1) for one in parts]
        return torch.stack(rows, dim=-1).flatten(-2).permute(0, 3, 1, 2)
    return torch.stack(parts, dim=2).flatten(1, 2)
