"""The data part of `nas.bench`: batch augmentation in memory against torchvision's, image by image."""

from collections.abc import Mapping
from typing import Any

from nas.data.augment import BatchAugment
from nas.data.checks import read_images as read_part
from nas.data.sources import ImageSource, TensorImages
from nas.data.throughput import measure
from nas.errors import require


def read_images(source: ImageSource) -> TensorImages:
    """The training images.

    Raises:
        ConfigError: they are missing, not as declared, or augmented one by one in any case.
    """
    images = read_part(source)
    require(
        isinstance(images, TensorImages),
        f"bench.data=true: {source.name} is augmented image by image, so there is nothing to compare",
    )
    return images


def measure_data(
    source: ImageSource, images: TensorImages, dataset: Mapping, seconds: float, rounds: int
) -> dict[str, Any]:
    """Images a second of both pipelines, as keys of `bench.json`; `dataset` is the group of that name."""
    augment = BatchAugment(source.mean, source.std, **dataset["augment"], cutout=dataset["cutout"])
    found = measure(images, augment, dataset["batch_size"], seconds, rounds)
    return {
        "data_images_per_second": found["batched"],
        "reference_data_images_per_second": found["per_image"],
        "data_ratio": found["ratio"],
    }
