"""The data part of `nas.bench`: batch augmentation in memory against torchvision's, image by image."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from nas.analysis.cost.timing import spread
from nas.data.augment import BatchAugment, of_batches
from nas.data.checks import read_images as read_part
from nas.data.loaders import batches
from nas.data.sources import ImageSource, TensorImages
from nas.errors import ConfigError, require


def read_images(source: ImageSource) -> TensorImages:
    """The training images.

    Raises:
        ConfigError: they are missing, not as declared, or augmented one by one in any case.
    """
    images = read_part(source)
    if not isinstance(images, TensorImages):
        raise ConfigError(
            f"bench.data=true: {source.name} is read or augmented image by image, so there is nothing to "
            "compare"
        )
    require(
        not getattr(source, "floats", False),
        f"bench.data=true: torchvision's transforms are of pictures, and {source.name} holds other numbers",
    )
    return images


def measure_data(
    source: ImageSource, images: TensorImages, dataset: Mapping, seconds: float, rounds: int
) -> dict[str, Any]:
    """Images per second of both pipelines, as keys of `bench.json`; `dataset` is the group of that name."""
    settings = of_batches(source, dataset["augment"])
    augment = BatchAugment(source.mean, source.std, **settings, cutout=dataset["cutout"])
    rates = measure(images, augment, dataset["batch_size"], seconds, rounds)
    return {
        "data_images_per_second": rates["batched"],
        "reference_data_images_per_second": rates["per_image"],
        "data_ratio": rates["ratio"],
    }


class PilImages(Dataset):
    """The same images as PIL images with a transform each, as torchvision's own data sets hold them."""

    def __init__(self, images: TensorImages, transform: transforms.Compose):
        self.images_NHWC = images.images_NCHW.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = images.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image_HWC = self.images_NHWC[index]
        image = Image.fromarray(image_HWC.squeeze(2) if image_HWC.shape[2] == 1 else image_HWC)
        return self.transform(image), self.labels[index]


def measure(
    dataset: TensorImages, augment: BatchAugment, batch_size: int = 64, seconds: float = 2.0, rounds: int = 5
) -> dict:
    """Measures both pipelines in turn, so that a drift of the machine's speed meets both alike.

    Both shuffle, pad, crop, mirror and normalise as `augment` says, in this process and on the CPU. Cutout,
    where it is on, is only done by the in-memory pipeline. The first batch of each is not counted.

    Args:
        dataset: the images; the second pipeline works on a copy
        augment: the in-memory pipeline, on the CPU
        batch_size: images per batch
        seconds: time to spend on all rounds of both pipelines together; each round has at least one batch
        rounds: measurements of each pipeline

    Returns:
        `batched` and `per_image`, each `{median, min, max, n}` in images/s over the rounds, and `ratio`:
        the median of `batched` over that of `per_image`.

    Raises:
        ConfigError: `seconds` or `rounds` is out of range, or there are fewer images than `batch_size`.
    """
    require(seconds > 0, f"the time to measure must be above 0 s, not {seconds}")
    require(rounds >= 1, f"the number of rounds must be at least 1, not {rounds}")
    pipelines = {
        "batched": _batched(dataset, augment, batch_size),
        "per_image": _per_image(dataset, augment, batch_size),
    }
    for pipeline in pipelines.values():
        next(pipeline)
    rates: dict[str, list[float]] = {name: [] for name in pipelines}
    for _ in range(rounds):
        for name, pipeline in pipelines.items():
            rates[name].append(_rate(pipeline, seconds / (2 * rounds)))
    result: dict[str, Any] = {name: spread(values) for name, values in rates.items()}
    result["ratio"] = result["batched"]["median"] / result["per_image"]["median"]
    return result


def _batched(dataset: TensorImages, augment: BatchAugment, batch_size: int) -> Iterator[Tensor]:
    loader = batches(dataset, torch.arange(len(dataset)), batch_size=batch_size, shuffle=True, seed=0)
    while True:
        for images_BCHW, _ in loader:
            yield augment(images_BCHW, train=True)


def _per_image(dataset: TensorImages, augment: BatchAugment, batch_size: int) -> Iterator[Tensor]:
    size = dataset.images_NCHW.shape[2:]
    steps = [transforms.RandomCrop(size, padding=augment.pad)] if augment.pad else []
    steps += [transforms.RandomHorizontalFlip()] if augment.flip else []
    normalise = transforms.Normalize(augment.mean_C11.flatten().tolist(), augment.std_C11.flatten().tolist())
    steps = [*augment.single_steps(size), *steps]
    transform = transforms.Compose([*steps, transforms.ToTensor(), normalise])
    loader = DataLoader(PilImages(dataset, transform), batch_size=batch_size, shuffle=True)
    while True:
        for x_BCHW, _ in loader:
            yield x_BCHW


def _rate(pipeline: Iterator[Tensor], seconds: float) -> float:
    start = time.perf_counter()
    num_images = 0
    elapsed = 0.0
    while num_images == 0 or elapsed < seconds:
        num_images += len(next(pipeline))
        elapsed = time.perf_counter() - start
    return num_images / elapsed
