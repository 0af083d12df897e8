"""Tensors as the kernels want them: channels last in memory, sums that grow in place."""

from collections.abc import Sequence

import torch
from torch import Tensor


def nhwc(x_BCHW: Tensor) -> Tensor:
    """[B, C, H, W] in any layout -> [B, H, W, C], dense."""
    return x_BCHW.permute(0, 2, 3, 1).contiguous()


def open_sums(
    sums: Sequence[Tensor | None], shape: Sequence[int], dtype: torch.dtype
) -> tuple[list[Tensor], list[bool], list[Tensor]]:
    """Makes running sums ready to be added to in channels-last memory.

    Args:
        sums: [B, C, H, W] each; None where nothing has been added yet.
        shape: (B, H, W, C) of a new sum.
        dtype: of a new sum.

    Returns:
        The sums; for each whether it is new, its content undefined; those that will change in place.
    """
    batch, height, width, channels = shape
    results, fresh, in_place = [], [], []
    for total in sums:
        fresh.append(total is None)
        if total is None:
            # Not a permuted [B, H, W, C]: autograd cannot add in place to several views.
            total = torch.empty(
                (batch, channels, height, width), dtype=dtype, memory_format=torch.channels_last
            )
        elif total.permute(0, 2, 3, 1).is_contiguous():
            in_place.append(total)
        else:
            total = total.contiguous(memory_format=torch.channels_last)
        results.append(total)
    return results, fresh, in_place
