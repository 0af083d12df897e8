"""How many images or tokens a data set has, as far as it can be known without a run: never from its name."""

from dataclasses import dataclass

from torch import Tensor

from nas.data.checks import check_images, check_tokens, read_images
from nas.data.sources import CachedImages, ImageSource, TensorImages
from nas.data.text import TextSource
from nas.errors import ConfigError


@dataclass(frozen=True)
class Size:
    """How many training images there are.

    Attributes:
        count: the number; None where nobody knows.
        origin: where the number comes from, or why there is none, in words.
        in_memory: whether they are held in memory once they have been read.
    """

    count: int | None
    origin: str
    in_memory: bool = False


def training_size(source: ImageSource) -> Size:
    """How many training images a source has: as it declares, or counted where they are at hand.

    Files of images are counted and not decoded. What a source declares is taken where its images are not
    there; one whose number only stands in for files that are missing (`at_hand`) is counted if they are not.

    Raises:
        ConfigError: the images are there and not what the source declares.
    """
    declared, there = getattr(source, "num_images", None), getattr(source, "at_hand", None)
    if declared is not None and (there is None or not there()):
        return Size(declared[0], "declared, not counted", isinstance(source, CachedImages))
    if there is not None:
        return Size(len(read_images(source)), "counted") if there() else Size(None, "its files are not here")
    try:
        images = source.train()
    except (ConfigError, OSError) as error:
        return Size(None, str(error))
    check_images(source, images, "train")
    return Size(len(images), "counted", isinstance(images, TensorImages))


def streams_at_hand(source: TextSource) -> tuple[tuple[Tensor, Tensor] | None, str]:
    """The training and validation streams of a text that does not say how long it is, or why there are none.

    Raises:
        ConfigError: they are there and not what the source declares.
    """
    try:
        found = source.train(), source.valid()
    except (ConfigError, OSError) as error:
        return None, str(error)
    for part, tokens_N in zip(("train", "valid"), found, strict=True):
        check_tokens(source, tokens_N, part)
    return found, ""
