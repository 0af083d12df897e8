"""Mean and standard deviation of pixels from 0 to 255, channel by channel, by how often each value occurs.

Shapes: C channels, H rows, W columns, V = 256 values.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

VALUES = 256
# Pictures that stand for all of a large set, evenly spread.
LOOKED_AT = 2048
Moments = tuple[tuple[float, ...], tuple[float, ...]]


def spread(count: int, most: int = LOOKED_AT) -> list[int]:
    """At most so many of the indices from 0 to `count` - 1, evenly spread."""
    number = min(count, most)
    return [index * count // number for index in range(number)]


def counts_of(image_CHW: Tensor) -> Tensor:
    """How often each channel of a uint8 picture, or of several [C, ...], has each value, int64 [C, V]."""
    return torch.stack([one.flatten().bincount(minlength=VALUES) for one in image_CHW])


def of_counts(counts_CV: Tensor) -> Moments:
    """Mean and standard deviation of each channel, on the scale where a pixel of 255 is 1.

    Returns:
        Both to four digits; the deviation of a channel that never changes is one step of 255.
    """
    levels_V = torch.arange(VALUES, dtype=torch.float64) / (VALUES - 1)
    means, deviations = [], []
    for count_V in counts_CV:
        share_V = count_V.double() / count_V.sum()
        mean = float(share_V @ levels_V)
        means.append(round(mean, 4))
        deviations.append(max(round(float(share_V @ (levels_V - mean) ** 2) ** 0.5, 4), 1 / (VALUES - 1)))
    return tuple(means), tuple(deviations)


def words(moments: Sequence[float]) -> str:
    """The numbers of the channels as a table shows them."""
    return ", ".join(f"{one:.4g}" for one in moments)
