"""Which training images a search or an evaluation uses, decided once and independent of the run's seed.

Shapes: N training images.
"""

import numpy as np
import torch
from torch import Tensor

from nas.data.split import Split, share_of
from nas.errors import require

MODES = ("ordered", "random", "stratified")


def split(
    labels_N: Tensor, mode: str = "ordered", ratio: float = 0.5, fraction: float = 1.0, seed: int = 0
) -> Split:
    """Divides the training set into the two disjoint parts of a search.

    The set is divided first and `fraction` taken from each part afterwards, so that a smaller fraction
    never moves an image from one part to the other.

    Args:
        labels_N: class index of every training image [N]
        mode: `ordered`: first and last part in file order, as the papers do on CIFAR; `random`: a seeded
            draw; `stratified`: a seeded draw with the same share of every class in both parts, within one
            image
        ratio: share of the weight part, strictly between 0 and 1
        fraction: share of the training images to use at all, in (0, 1]
        seed: of the draw, 0 to 2**32 - 1; of no effect on `ordered`

    Returns:
        Both parts in ascending order.

    Raises:
        ConfigError: an argument is out of range, a part would be empty, or `ordered` meets a sorted set.
    """
    _check(labels_N, mode, fraction)
    require(0 < ratio < 1, f"dataset.split_ratio: must be between 0 and 1, both excluded, not {ratio}")
    if mode == "ordered":
        _refuse_sorted(labels_N)
    rng = _rng(seed, "split_seed")
    everything = torch.arange(len(labels_N))
    parts = _divide(labels_N, everything, mode, share_of(len(labels_N), ratio), rng)
    weight, architecture = (
        _divide(labels_N, part, mode, share_of(len(part), fraction), rng)[0] for part in parts
    )
    require(
        len(weight) > 0 and len(architecture) > 0,
        f"dataset.split_ratio={ratio} and dataset.fraction={fraction} leave {len(weight)} of {len(labels_N)} "
        f"images for the weights and {len(architecture)} for the architecture; both need at least 1",
    )
    return Split(weight=weight, architecture=architecture)


def subset(
    labels_N: Tensor, fraction: float = 1.0, seed: int = 0, mode: str = "ordered", valid: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Chooses the training images of an evaluation and, if asked for, holds out a validation share of them.

    Args:
        labels_N: class index of every training image [N]
        fraction: share of the training images to use at all, in (0, 1]; 1 is the whole training set
        seed: of the draw, 0 to 2**32 - 1; of no effect on `ordered`
        mode: as in `split`; `ordered` takes the first images and validates on the last of these
        valid: share of the chosen images to hold out for validation, in [0, 1)

    Returns:
        Training and validation indices, disjoint and ascending; the second is empty when `valid` is 0.

    Raises:
        ConfigError: an argument is out of range, a part would be empty, or `ordered` meets a sorted set.
    """
    _check(labels_N, mode, fraction)
    require(0 <= valid < 1, f"dataset.valid: must be at least 0 and below 1, not {valid}")
    if mode == "ordered" and (fraction < 1 or valid > 0):
        _refuse_sorted(labels_N)
    rng = _rng(seed, "split_seed")
    everything = torch.arange(len(labels_N))
    chosen, _ = _divide(labels_N, everything, mode, share_of(len(labels_N), fraction), rng)
    num_valid = share_of(len(chosen), valid)
    train, held_out = _divide(labels_N, chosen, mode, len(chosen) - num_valid, rng)
    require(
        len(train) > 0 and (valid == 0 or len(held_out) > 0),
        f"dataset.fraction={fraction} and dataset.valid={valid} leave {len(train)} images for training and "
        f"{len(held_out)} for validation out of {len(labels_N)}; both need at least 1",
    )
    return train, held_out


def stratified(labels_N: Tensor, count: int, seed: int, key: str = "split_seed") -> tuple[Tensor, Tensor]:
    """Draws `count` images, every class in proportion; returns them and the rest, both ascending.

    Raises:
        ConfigError: the seed is not an integer from 0 to 2**32 - 1; `key` names the setting it came from.
    """
    return _divide(labels_N, torch.arange(len(labels_N)), "stratified", count, _rng(seed, key))


def _divide(
    labels_N: Tensor, indices: Tensor, mode: str, count: int, rng: np.random.RandomState
) -> tuple[Tensor, Tensor]:
    """Divides ascending indices into `count` of them and the rest, both ascending."""
    if mode == "ordered":
        return indices[:count], indices[count:]
    if mode == "random":
        chosen = rng.permutation(len(indices))[:count]
    else:
        chosen = _draw_by_class(labels_N[indices].numpy(), count, rng)
    mask = torch.zeros(len(indices), dtype=torch.bool)
    mask[torch.from_numpy(chosen.astype(np.int64))] = True
    return indices[mask], indices[~mask]


def _draw_by_class(labels: np.ndarray, count: int, rng: np.random.RandomState) -> np.ndarray:
    """Returns `count` positions: of each class its share rounded down, one more where most was lost."""
    classes, sizes = np.unique(labels, return_counts=True)
    # Integers, because in floating point a tie would be decided by the rounding error of a share such as 0.1.
    quotas, remainders = np.divmod(sizes * count, max(len(labels), 1))
    quotas[np.argsort(-remainders, kind="stable")[: count - quotas.sum()]] += 1
    shuffled = [rng.permutation(np.flatnonzero(labels == label)) for label in classes]
    return np.concatenate([positions[:quota] for positions, quota in zip(shuffled, quotas, strict=True)])


def _rng(seed: int, key: str) -> np.random.RandomState:
    """Returns the one generator whose stream NumPy promises never to change, so a split outlives upgrades."""
    valid = isinstance(seed, int) and 0 <= seed < 2**32
    require(valid, f"{key}: must be an integer from 0 to {2**32 - 1}, not {seed!r}")
    return np.random.RandomState(seed)


def _check(labels_N: Tensor, mode: str, fraction: float) -> None:
    require(labels_N.ndim == 1 and len(labels_N) > 0, "the training set holds no images")
    require(mode in MODES, f"dataset.split: must be one of {', '.join(MODES)}, not {mode!r}")
    require(0 < fraction <= 1, f"dataset.fraction: must be above 0 and at most 1, not {fraction}")


def _refuse_sorted(labels_N: Tensor) -> None:
    is_sorted = bool((labels_N[1:] >= labels_N[:-1]).all()) and bool(labels_N[0] < labels_N[-1])
    require(
        not is_sorted,
        "dataset.split: ordered would give the parts different classes, because this training set is sorted "
        "by class; use stratified or random",
    )
