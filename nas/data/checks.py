"""What is checked of a set of images, or of a text's streams, as its parts are read: before the first step.

Somebody else's source can declare one thing and hold another, and training would hardly notice: networks take
other shapes than they were sized for, and a label out of range ends a run in the middle of an epoch. The
images of files are not all decoded: labels are checked whole, and a few images for all of them.

Shapes: N images or tokens, K classes, C channels, H rows, W columns.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nas.data.declared import check_row, named, read_part
from nas.data.sources import Images, ImageSource, TensorImages
from nas.errors import ConfigError, require
from nas.printable import listed

log = logging.getLogger(__name__)
# Images that are fetched for all of a part that does not lie in memory: the first, the last, and between.
SAMPLES = 8
WORDS = {"train": "training images", "test": "test images"}


def read_images(source: ImageSource, part: str = "train", augmented: bool = True) -> Images:
    """Reads a part of a source and checks it.

    Args:
        source: where the images come from; `check_source` has passed it.
        part: `train` or `test`.
        augmented: as in `ImageSource.train`.

    Raises:
        ConfigError: what was read is not what the source declares; see `check_images`.
    """
    images = read_part(source, part, **({"augmented": augmented} if part == "train" else {}))
    check_images(source, images, part)
    return images


def check_images(source: ImageSource, images: Any, part: str) -> None:
    """Compares a part of a source with what the source declares.

    Every label is looked at, and every image that lies in memory; of others a few are fetched, without moving
    torch's random numbers. A class without a training image is refused, because nothing would ever learn it
    and it is most often a wrong number of classes; one without a test image is said.

    Raises:
        ConfigError: number, shape or type of images or labels is not as declared, a label is out of range, a
            class has no training image, or an image cannot be fetched.
    """
    where, what = named(source), WORDS[part]
    labels_N: Any = getattr(images, "labels", None)
    check_row(labels_N, f"{where}: {part}() must have labels")
    require(hasattr(images, "__len__") and len(images) > 0, f"{where}: there are no {what}")
    require(
        len(images) == len(labels_N),
        f"{where}: {len(images)} {what} have {len(labels_N)} labels; each has one",
    )
    declared = getattr(source, "num_images", None)
    expected = None if declared is None else declared[("train", "test").index(part)]
    # The number of a source with `at_hand` only stands in for files that are not there.
    require(
        expected in (None, len(images)) or hasattr(source, "at_hand"),
        f"{where}: num_images declares {expected} {what}, but there are {len(images)}",
    )
    lowest, highest = int(labels_N.min()), int(labels_N.max())
    require(
        lowest >= 0 and highest < source.num_classes,
        f"{where}: the labels of the {what} run from {lowest} to {highest}, but num_classes="
        f"{source.num_classes} allows 0 to {source.num_classes - 1}",
    )
    absent = absent_classes(labels_N, source.num_classes)
    require(
        not absent or part == "test",
        f"{where}: num_classes={source.num_classes}, but no training image is of class "
        f"{_with_names(source, absent)}; "
        "declare the classes that there are, numbered from 0",
    )
    if absent:
        log.warning("warning: no test image is of class %s", _with_names(source, absent))
    if isinstance(images, TensorImages):
        _check_kind(source, images.images_NCHW, f"the {what} are", len(images))
    else:
        _check_samples(source, images, labels_N, what)


def check_parts(
    labels_N: Tensor, parts: Mapping[str, Tensor], num_classes: int, stratified: bool, keys: str
) -> None:
    """Looks for classes that a part of the training set has lost, and says so; refuses what breaks a promise.

    Args:
        labels_N: of the whole training set, int64 [N].
        parts: name -> indices; an empty part is none.
        num_classes: K.
        stratified: whether every part is to have its share of every class.
        keys: the settings that decide, for the message.

    Raises:
        ConfigError: a stratified part lacks a class.
    """
    for name, indices in parts.items():
        if len(indices) == 0:
            continue
        absent = absent_classes(labels_N[indices], num_classes)
        sizes_K = labels_N.bincount(minlength=num_classes)
        require(
            not absent or not stratified,
            f"dataset.split=stratified: the {name} part has none of the {int(sizes_K[absent[:1]].sum())} "
            f"images of class {listed(absent)}, too few for a share in every part; raise {keys}, or use "
            "dataset.split=random",
        )
        if absent:
            log.warning("warning: the %s part has no image of class %s (%s)", name, listed(absent), keys)


def read_tokens(source: Any, part: str) -> Tensor:
    """Reads a stream of a text source and checks it.

    Args:
        source: a text source; `check_source` has passed it.
        part: `train`, `valid` or `test`.

    Returns:
        int64 [N], at least one token, all within the vocabulary.

    Raises:
        ConfigError: it is not that, or of another length than the source declares.
    """
    tokens_N = read_part(source, part)
    check_tokens(source, tokens_N, part)
    return tokens_N


def check_tokens(source: Any, tokens_N: Any, part: str) -> None:
    """Compares a stream with what its source declares; raises as `read_tokens`."""
    where = named(source)
    check_row(tokens_N, f"{where}: {part}() must return tokens")
    require(len(tokens_N) > 0, f"{where}: {part}() returns no token")
    lowest, highest = int(tokens_N.min()), int(tokens_N.max())
    require(
        lowest >= 0 and highest < source.vocabulary_size,
        f"{where}: the tokens of {part}() run from {lowest} to {highest}, but vocabulary_size="
        f"{source.vocabulary_size} allows 0 to {source.vocabulary_size - 1}",
    )
    declared = getattr(source, "num_tokens", None)
    expected = None if declared is None else declared[("train", "valid", "test").index(part)]
    require(
        expected in (None, len(tokens_N)),
        f"{where}: num_tokens declares {expected} tokens of {part}, but there are {len(tokens_N)}",
    )


def absent_classes(labels_N: Tensor, num_classes: int) -> list[int]:
    """The classes of 0 to K - 1 that no label names."""
    return (labels_N.bincount(minlength=num_classes) == 0).nonzero().flatten().tolist()


def _check_samples(source: ImageSource, images: Any, labels_N: Tensor, what: str) -> None:
    count = len(images)
    picked = sorted({i * (count - 1) // (SAMPLES - 1) for i in range(SAMPLES)})
    for index in picked:
        image_CHW, label = _fetch(source, images, index, what)
        _check_kind(source, image_CHW, f"image {index} of the {what} is")
        declared = int(labels_N[index])
        require(
            label == declared,
            f"{named(source)}: image {index} of the {what} comes with label {label!r}, but labels[{index}] "
            f"is {declared}",
        )


def _fetch(source: ImageSource, images: Any, index: int, what: str) -> tuple[Any, Any]:
    """One image and its label as a loader gets them."""
    try:
        # What an image's augmentation draws here must not move what a run draws later.
        with torch.random.fork_rng(devices=[]):
            whole = hasattr(images, "__getitems__")
            fetched = images.__getitems__([index]) if whole else images[index]
            if isinstance(fetched, list):
                (fetched,), whole = fetched, False
            image, label = fetched
            if whole:
                (image,), (label,) = image, label
            return image, int(label)
    except (ConfigError, OSError):
        raise
    except Exception as error:
        raise ConfigError(
            f"{named(source)}: image {index} of the {what} cannot be fetched as (uint8 image [C, H, W], "
            f"label): {type(error).__name__}: {error}"
        ) from error


def _check_kind(source: ImageSource, found: Any, subject: str, count: int | None = None) -> None:
    """Compares type and shape; `count` is that of a whole part."""
    where, shape = named(source), list(source.image_shape)
    floats = bool(getattr(source, "floats", False))
    require(
        isinstance(found, Tensor) and found.dtype == (torch.float32 if floats else torch.uint8),
        f"{where}: {subject} {getattr(found, 'dtype', type(found).__name__)}; "
        + (
            "it declares floats, which must be torch.float32"
            if floats
            else "pixels must be torch.uint8, 0 to 255"
        ),
    )
    inner = list(found.shape if count is None else found.shape[1:])
    require(
        inner == shape and (count is None or len(found) == count),
        f"{where}: {subject} {inner} (channels, height, width), but image_shape declares {shape}",
    )


def _with_names(source: ImageSource, labels: Sequence[int]) -> str:
    """Some classes by number, and by name where the source knows their names (`classes`)."""
    names = getattr(source, "classes", None)
    return listed(labels if names is None else [f"{label} ({names[label]})" for label in labels])
