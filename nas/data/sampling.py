"""Which images an epoch of training has, where classes have unequal numbers of them.

Shapes: N images.
"""

from typing import Any

import torch
from torch import Tensor

from nas.data.class_weights import KEY as WEIGHTS
from nas.errors import require, require_one_of

KEY = "dataset.sampling"
BALANCED = "balanced"


def check_sampling(setting: str | None, class_weights: Any = None) -> None:
    """Refuses an unknown setting, and two cures of one evil.

    Args:
        setting: `dataset.sampling`.
        class_weights: `dataset.class_weights`.

    Raises:
        ConfigError: the setting is not None or `balanced`, or the loss is balanced too.
    """
    require_one_of(KEY, setting, (None, BALANCED))
    require(
        setting is None or class_weights != BALANCED,
        f"{KEY}=balanced and {WEIGHTS}=balanced: rare classes would count twice over; set one to null (a "
        " list of weights may stand beside the sampling)",
    )


class EvenClasses:
    """Draws positions of a part with replacement, so that every class that is there comes equally often.

    A class is drawn first, each with the same probability, and then one of its images. An epoch has as many
    draws as the part has images: images of rare classes come several times, some of frequent ones not at all.

    Args:
        labels_N: of the images of the part, int64 [N], at least one.
    """

    def __init__(self, labels_N: Tensor):
        self._order_N = labels_N.argsort(stable=True)
        _, self._sizes_K = labels_N.unique(return_counts=True)
        self._starts_K = self._sizes_K.cumsum(0) - self._sizes_K

    def draw(self, count: int, seed: int) -> list[int]:
        """Returns `count` positions, 0 to N - 1, which depend on the seed alone."""
        generator = torch.Generator().manual_seed(seed)
        # Row by row, so that a draw begins as any longer one does: several processes fill theirs up.
        share_N2 = torch.rand(count, 2, generator=generator, dtype=torch.float64)
        # In double precision a product with a size below 2**53 stays below that size.
        classes_N = (share_N2[:, 0] * len(self._sizes_K)).long()
        places_N = (share_N2[:, 1] * self._sizes_K[classes_N]).long()
        return self._order_N[self._starts_K[classes_N] + places_N].tolist()
