"""Random draws of single images that depend on seed, epoch and image alone, whichever process makes them."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Subset

from nas.randomness import generators_kept

MASK = 2**64 - 1


def item_seed(pass_seed: int, position: int) -> int:
    """One of 2**32 seeds for an image in a pass over its part (Steele et al. 2014: the mix of SplitMix64).

    Args:
        pass_seed: of the pass, any integer.
        position: of the image in its part, from 0.
    """
    mixed = (pass_seed + (position + 1) * 0x9E3779B97F4A7C15) & MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
    return (mixed ^ (mixed >> 31)) >> 32


class SeededItems(Dataset):
    """A part of a data set whose items are asked for by (position, seed), and drawn from that seed.

    Without it, an image that is augmented when it is read would depend on the number of worker processes and
    on what else its process has drawn. The generators of Python, NumPy and torch are as before afterwards.

    Args:
        part: of a data set that reads its items one at a time or (`__getitems__`) as a batch; a batch is
            drawn from the seed of its first item.
    """

    def __init__(self, part: Subset):
        self.part = part
        self.whole = callable(getattr(part.dataset, "__getitems__", None))

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, wanted: tuple[int, int]) -> Any:
        """The item at (position, seed)."""
        return self.__getitems__([wanted])[0]

    def __getitems__(self, wanted: Sequence[tuple[int, int]]) -> Any:
        """A batch: what the data set makes of it, or a list of items."""
        # Items are made on processors: a GPU's generators would have to be waited for, batch after batch.
        with generators_kept(gpus=False):
            if self.whole:
                _seed(wanted[0][1])
                return self.part.__getitems__([position for position, _ in wanted])
            items = []
            for position, seed in wanted:
                _seed(seed)
                items.append(self.part[position])
            return items


def _seed(seed: int) -> None:
    # Not torch.manual_seed, which visits every device.
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
