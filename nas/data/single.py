"""What is drawn for a training image on its own: a part of it, its mirror image, its colours. By torchvision.

Shapes: C channels, H rows, W columns.
"""

from collections.abc import Sequence
from typing import Any

from torchvision.transforms import InterpolationMode, v2

from nas.errors import require


def random_steps(
    size: Sequence[int],
    crop: Sequence[float] | None = None,
    flip: bool = False,
    jitter: Sequence[float] | None = None,
) -> list[Any]:
    """Transforms of a PIL image or a uint8 tensor [C, H, W], which draw from torch's own generator.

    Args:
        size: (H, W) that a part is scaled to.
        crop: least and greatest share of the area of a random part, whose aspect is 3/4 to 4/3 (Szegedy et
            al. 2015); None takes the image whole.
        flip: whether to mirror left to right with probability 1/2.
        jitter: brightness, contrast, saturation and hue, as torchvision's ColorJitter; None for none.

    Raises:
        ConfigError: a number is out of range.
    """
    steps: list[Any] = []
    if crop is not None:
        require(
            len(crop) == 2 and 0 < crop[0] <= crop[1] <= 1,
            "dataset.augment.crop: must be null or the least and the greatest share of the area, "
            f"0 < least <= greatest <= 1, not {list(crop)}",
        )
        steps.append(
            v2.RandomResizedCrop(
                tuple(size), scale=tuple(crop), interpolation=InterpolationMode.BILINEAR, antialias=True
            )
        )
    if flip:
        steps.append(v2.RandomHorizontalFlip())
    if jitter is not None:
        require(
            len(jitter) == 4 and min(jitter) >= 0 and jitter[3] <= 0.5,
            "dataset.augment.jitter: must be null or four numbers >= 0 (brightness, contrast, saturation, "
            f"hue) of which hue is at most 0.5, not {list(jitter)}",
        )
        steps.append(v2.ColorJitter(*jitter))
    return steps
