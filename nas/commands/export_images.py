"""What `nas.export` does for networks of images: their description, and what they are compared on."""

import inspect
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from nas.data.checks import check_images
from nas.domains.networks import sizes_of
from nas.errors import ConfigError, require
from nas.formats import families
from nas.formats.comparison import predict
from nas.formats.description import PADDED_FROM, Description, Preprocessing
from nas.formats.pictures import list_pictures, normalise, read_pictures
from nas.formats.prepared import as_measured, with_preparation
from nas.formats.untrained import settle
from nas.reading.pictures import PLAIN, UPRIGHT
from nas.running.config import typed_keys
from nas.running.places import PLACES

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCH = 8
# Preprocessing has no word for it, and a reader of the files is to know.
PADDED = (
    "the network was trained on images of {} x {} with black around them, {} x {} together; the "
    "preprocessing has no padding and would stretch a picture to the whole, so pad pictures before"
)
# The note of a description that holds (height, width) of what black was put around.
INNER = PADDED_FROM
# That of where channels stand in arrays, where it was said that it is last.
CHANNELS, LAST = "channels", "last"
log = logging.getLogger(__name__)


class Logits(nn.Module):
    """An evaluation network of somebody else's space as others use it: the logits [B, K] alone."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Images [B, C, H, W] -> logits [B, K]."""
        return self.network(x_BCHW)[0]


class ImageExport:
    """A network of images on its way out.

    Args:
        config: of the command.
        space: of the network.
        source: its data set.
    """

    images = True

    def __init__(self, config: DictConfig, space: Any, source: Any):
        self.config, self.space, self.source = config, space, source
        self.known = space.family in families.FAMILIES
        self.pixels = not getattr(source, "floats", False)
        self.pictures: Any = None

    def settle(self, network: nn.Module) -> None:
        """Gives random weights norms that have seen something."""
        settle(network, self.source.image_shape, self.config.seed)

    def weights(self, checkpoint: Any) -> dict[str, Any]:
        """The weights of a checkpoint, by the names of its module."""
        return checkpoint["state_dict"]

    def describe(self, genotype: Any, notes: dict[str, Any]) -> Description:
        """What the files say of the network; pictures that the user named are read here, and refused."""
        found = describe_images(self.config, self.space, self.source, genotype, notes)
        if "padding" in found.notes:
            log.warning("%s: %s", found.dataset, found.notes["padding"])
        require(
            self.pixels or self.config.pictures is None,
            f"pictures={self.config.pictures}: {self.source.name} holds no pictures; leave it out, and test "
            "data are compared on",
        )
        if self.config.pictures is not None:
            paths = _spread(list_pictures(self.config.pictures), self.config.images)
            self.pictures = read_pictures(paths, found.preprocessing)
        return found

    def told(self, description: Any) -> dict[str, Any]:
        """What `summary.json` says of it."""
        return {
            "num_classes": description.num_classes,
            "class_names": description.class_names is not None,
        }

    def written(self, network: nn.Module, description: Any) -> nn.Module:
        """The network in the form that is exported."""
        if not self.known:
            return Logits(network)
        classifier = families.build(description)
        classifier.load_state_dict(network.state_dict())
        return classifier

    def compared(self, network: Any, description: Any) -> tuple[Tensor, Callable[[Callable], Tensor], str]:
        """Logits of the trained network, what computes a written one's on the same images, and which."""
        images_NCHW, words = self._images(description)
        # Batches of two sizes, as the last one is smaller, unless the number divides.
        batches, seed = images_NCHW.split(BATCH), self.config.seed
        whole = with_preparation(lambda batch: network(batch)[0], description)
        expected_NK = predict(whole, batches, seed)
        return expected_NK, partial(predict, batches=batches, seed=seed), words

    def _images(self, description: Description) -> tuple[Tensor, str]:
        """Prepared images [N, C, H, W], or numbers as measured, and what they are."""
        config, source = self.config, self.source
        if self.pictures is not None:
            return self.pictures, f"{len(self.pictures)} pictures of {config.pictures}"
        try:
            test = source.test()
        except ConfigError:
            if any(f"dataset.{place}" in typed_keys() for place in PLACES):
                raise
            generator = torch.Generator().manual_seed(config.seed)
            images = torch.randn(config.images, *description.given_shape, generator=generator)
            return images, f"{config.images} random images (those of {source.name} are not on this machine)"
        check_images(source, test, "test")
        images = torch.stack([test[index][0] for index in _spread(range(len(test)), config.images)])
        words = f"{len(images)} test images of {source.name}"
        if not self.pixels:
            return as_measured(images, description), words
        return normalise(images, description.preprocessing), words


def describe_images(
    config: DictConfig, space: Any, source: Any, genotype: Any, notes: dict[str, Any]
) -> Description:
    """What is to be known of a network and of its pictures; `ImageExport` has the arguments."""
    channels, height, width = (int(side) for side in source.image_shape)
    size: Any = height if height == width else (height, width)
    # As the test images of files are prepared; other sets hold images of the network's size.
    resize = getattr(source, "resize", size)
    inner = getattr(source, "padded_from", None)
    floats = bool(getattr(source, "floats", False))
    if getattr(source, "channels", None) == LAST:
        notes = {**notes, CHANNELS: LAST}
    if inner is not None:
        notes = {**notes, INNER: [int(side) for side in inner]}
        if not floats:
            notes["padding"] = PADDED.format(*inner, height, width)
    return Description(
        genotype,
        _sizes(config, space),
        (channels, height, width),
        int(source.num_classes),
        source.name,
        Preprocessing(
            resize,
            size,
            source.mean,
            source.std,
            floats=floats,
            decoding=PLAIN if floats else getattr(source, "decoding", UPRIGHT),
        ),
        class_names(source),
        notes,
    )


def _sizes(config: DictConfig, space: Any) -> dict[str, Any]:
    """What sizes the network, with nothing left to defaults."""
    typed, sizes = sizes_of(config, space), {}
    if space.family not in families.FAMILIES:
        return typed
    parameters = inspect.signature(space.network).parameters
    for name in list(inspect.signature(families.classifier_of(space.family).construct).parameters)[4:]:
        value = typed.get(name, parameters[name].default if name in parameters else None)
        value = getattr(space, name) if value is None else value
        sizes[name] = value if isinstance(value, str | int) else list(value)
    return sizes


def class_names(source: Any) -> tuple[str, ...] | None:
    """The classes in the order of the outputs: as the source has them, digits, CIFAR-10's words, or None."""
    found = getattr(source, "classes", None)
    if found is not None:
        return found if len(found) == source.num_classes else None
    known = {"digits": tuple(str(digit) for digit in range(10)), "cifar10": CIFAR10}
    return known.get(source.name)


def _spread(items: Sequence, number: int) -> list:
    """So many of the items, evenly spread, as classes come one after another."""
    number = min(number, len(items))
    return [items[index * len(items) // number] for index in range(number)]
