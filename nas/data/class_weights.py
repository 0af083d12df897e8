"""How much each class counts in the loss, where classes have unequal numbers of images.

Shapes: N images, K classes.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nas.data.checks import absent_classes
from nas.data.sources import domain_of
from nas.errors import require

KEY = "dataset.class_weights"
BALANCED = "balanced"


def class_weights(setting: str | Sequence[float] | None, labels_N: Tensor, num_classes: int) -> Tensor | None:
    """What `dataset.class_weights` stands for.

    Args:
        setting: None, `balanced`, or a weight for each class.
        labels_N: of the images that are trained on, int64 [N].
        num_classes: K.

    Returns:
        float64 [K], or None where all classes count alike. `balanced` is N / (K * n_k) with n_k images of
        class k: an image of a rare class counts more, and the mean weight of an image is 1.

    Raises:
        ConfigError: unknown, not K positive finite numbers, or `balanced` with a class that has no image.
    """
    if setting != BALANCED:
        return _given(setting, num_classes)
    absent = absent_classes(labels_N, num_classes)
    require(
        not absent,
        f"{KEY}=balanced: the training part has no image of class {', '.join(map(str, absent[:5]))}, so its "
        "weight would be infinite; give the weights as a list, or use more images",
    )
    return len(labels_N) / (num_classes * labels_N.bincount(minlength=num_classes).double())


def stand_in_weights(setting: str | Sequence[float] | None, source: Any) -> Tensor | None:
    """Weights for steps on made-up batches: as given, or all 1 where they depend on images. None for a text.

    Raises:
        ConfigError: as `class_weights`.
    """
    if domain_of(source) == "text":
        refuse_class_weights(setting)
        return None
    if setting == BALANCED:
        return torch.ones(source.num_classes, dtype=torch.float64)
    return _given(setting, source.num_classes)


def refuse_class_weights(setting: object) -> None:
    """Raises `ConfigError` where a text is to be learnt with weights of classes."""
    require(setting is None, f"{KEY}={setting}: only for images; the words of a text have no weights")


def _given(setting: str | Sequence[float] | None, num_classes: int) -> Tensor | None:
    if setting is None:
        return None
    require(
        isinstance(setting, Sequence) and not isinstance(setting, str),
        f"{KEY}={setting}: must be null, {BALANCED} or {num_classes} positive numbers, one per class",
    )
    numbers = [one for one in setting if isinstance(one, int | float) and not isinstance(one, bool)]
    fits = len(numbers) == len(setting) == num_classes
    require(
        fits and all(math.isfinite(one) and one > 0 for one in numbers),
        f"{KEY}={list(setting)}: must be {num_classes} positive finite numbers, one per class",
    )
    return torch.tensor(numbers, dtype=torch.float64)
