"""Partial channels: 1/K of the channels go through the candidates, the others past them (DrNAS, section 2.4).

Every edge puts its mixed channels and those that went past it together and shuffles them, K being the number
of groups. Sums and shuffles change places, so a node sums first and shuffles once.
"""

from collections.abc import Sequence

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
        rows = [part.permute(0, 2, 3, 1) for part in parts]
        return torch.stack(rows, dim=-1).flatten(-2).permute(0, 3, 1, 2)
    return torch.stack(parts, dim=2).flatten(1, 2)


class Past:
    """What has gone past the candidates on its way to each node.

    Without edge weights every node takes all that left the nodes before it, which is one running sum.
    """

    def __init__(self) -> None:
        self._all_BCHW: Tensor | None = None
        self._by_target: dict[int, Tensor] = {}

    def add(self, beside_BCHW: Tensor, targets: Sequence[int], weights_M: Tensor | None = None) -> None:
        """Adds what goes past the candidates of a node's M edges to their targets, each by its weight."""
        if weights_M is None:
            before = self._all_BCHW
            self._all_BCHW = beside_BCHW if before is None else before + beside_BCHW
            return
        for target, weight in zip(targets, weights_M.to(beside_BCHW.dtype).unbind(), strict=True):
            total = self._by_target.get(target)
            self._by_target[target] = (
                beside_BCHW * weight if total is None else total.addcmul_(beside_BCHW, weight)
            )

    def to(self, target: int) -> Tensor:
        """What has come to a node, [B, (K-1)*C/K, H, W]."""
        past_BCHW = self._by_target.get(target) if self._by_target else self._all_BCHW
        assert past_BCHW is not None  # a node has an input
        return past_BCHW
