"""Batches of uint8 images in an order that depends on the seed and the epoch alone."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, Subset, default_collate

from nas.data.draws import SeededItems, item_seed
from nas.data.sampling import EvenClasses
from nas.data.sources import Images, TensorImages
from nas.errors import require


class EpochSampler(DistributedSampler):
    """A DistributedSampler that can say with every image what it is to be drawn from.

    Args:
        dataset: what is sampled.
        num_replicas: processes that share it.
        rank: number of this process, from 0.
        shuffle: whether the order changes with the epoch.
        seed: of the run.
        stream: tells the samplers of a run apart.
        draws: yields pairs (position, seed), for `SeededItems`, instead of positions. The seed depends on
            seed, stream, epoch and position, and on how often the epoch has been passed over.
        even: draws the positions of an epoch anew, instead of their being put in an order. An image may come
            several times then, and each time its seed is another.
    """

    def __init__(
        self,
        dataset: Subset,
        num_replicas: int,
        rank: int,
        shuffle: bool,
        seed: int,
        stream: int,
        draws: bool = False,
        even: EvenClasses | None = None,
    ):
        order = _derive(seed, stream)
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=shuffle, seed=order)
        if not shuffle:
            # What is measured counts each image once: torch fills up, so that all have as many.
            self.total_size = len(dataset)
            self.num_samples = len(range(rank, len(dataset), num_replicas))
        self.draws = draws
        self.even = even
        self._numbers = (seed, stream)
        self._passes = 0

    def set_epoch(self, epoch: int) -> None:
        """Makes the next pass that of `epoch`; Lightning calls this by itself, and may do so twice."""
        if epoch != self.epoch:
            self._passes = 0
        super().set_epoch(epoch)

    def __iter__(self) -> Iterator[int | tuple[int, int]]:
        mine = slice(self.rank, self.total_size, self.num_replicas)
        if self.even is None:
            positions = places = list(super().__iter__())
        else:
            # All processes draw the same epoch and take their own places in it.
            positions = self.even.draw(self.total_size, self.seed + self.epoch)[mine]
            places = list(range(self.total_size)[mine])
        if not self.draws:
            return iter(positions)
        # A short loader begins again within an epoch, with the same order and other draws.
        base = _derive(*self._numbers, self.epoch, self._passes)
        self._passes += 1
        return ((one, item_seed(base, place)) for one, place in zip(positions, places, strict=True))


def batches(
    dataset: Images,
    indices: Tensor,
    *,
    batch_size: int,
    shuffle: bool,
    seed: int,
    stream: int = 0,
    num_replicas: int = 1,
    rank: int = 0,
    num_workers: int = 0,
    pin_memory: bool = False,
    key: str = "dataset.batch_size",
    balanced: bool = False,
) -> "DataLoader | ResidentBatches":
    """Returns a loader of (uint8 [B, C, H, W], int64 labels [B]) over some images of a data set.

    Call `loader.sampler.set_epoch(epoch)` before every epoch: epoch e then comes in the same order, and is
    augmented image by image in the same way, whether the run was resumed or not and whatever `num_workers`
    is. (Lightning calls it too, but in a resumed run only when workers have begun to read.)

    The last, smaller batch is kept as the papers' code does, unless it would be a single image of a shuffled
    loader: batch norm cannot train on that at a resolution of 1 x 1. With several replicas a few images of a
    shuffled loader come twice so that all replicas make the same number of steps; with one, and of a loader
    in order, each image comes exactly once. Of a `balanced` loader it is a matter of chance
    (`nas.data.sampling`).

    `ResidentImages` are gathered where they rest, the same batches in the same order; `num_workers` and
    `pin_memory` mean nothing there.

    Args:
        dataset: of (image, label) pairs; `__getitems__` is used where there is one, and may return a whole
            batch
        indices: which images [number of images]
        batch_size: images a batch of one replica
        shuffle: whether the order changes with the epoch; else it is that of `indices`
        seed: of the run, 0 to 2**32 - 1
        stream: tells loaders of one run apart, so that they shuffle independently; at least 0
        num_replicas: processes that share the images
        rank: number of this process, from 0
        num_workers: processes that fetch images; 0 for none
        pin_memory: whether batches are put where a GPU can copy them from asynchronously
        key: the setting that `batch_size` came from
        balanced: whether every class comes equally often; of no effect on a loader in order

    Raises:
        ConfigError: there is no image, an index is beyond the data set, or a number is out of range.
    """
    _check_part(dataset, indices)
    require(num_replicas >= 1, f"the number of processes must be at least 1, not {num_replicas}")
    require(0 <= rank < num_replicas, f"rank must be from 0 to {num_replicas - 1}, not {rank}")
    require(num_workers >= 0, f"dataset.num_workers: must be at least 0, not {num_workers}")
    valid_seed = isinstance(seed, int) and 0 <= seed < 2**32
    require(valid_seed, f"seed: must be an integer from 0 to {2**32 - 1}, not {seed!r}")
    require(stream >= 0, f"the stream of a loader must be at least 0, not {stream}")
    # A list, because reading a tensor one index at a time costs more than the gather that follows.
    part = Subset(dataset, indices.tolist())
    # Images in memory are taken as they are; whatever else reads images may draw on the way.
    draws = not isinstance(dataset, TensorImages)
    even = EvenClasses(dataset.labels.cpu()[indices]) if balanced and shuffle else None
    sampler = EpochSampler(part, num_replicas, rank, shuffle, seed, stream, draws, even)
    most = len(sampler)
    require(
        isinstance(batch_size, int) and 1 <= batch_size <= most,
        f"{key}: must be an integer from 1 to {most}, the images that a process has here, not {batch_size!r}",
    )
    drop_last = shuffle and batch_size > 1 and most % batch_size == 1
    if isinstance(dataset, ResidentImages):
        return ResidentBatches(dataset, indices, sampler, batch_size, drop_last)
    return DataLoader(
        SeededItems(part) if draws else part,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=drop_last,
        collate_fn=_collate,
        num_workers=num_workers,
        pin_memory=pin_memory,
        # Its own: starting to read must not move the one that the network draws from.
        generator=torch.Generator(),
    )


def _check_part(dataset: Images, indices: Tensor) -> None:
    require(len(indices) > 0, "the part of the data set to load holds no image")
    lowest, highest = int(indices.min()), int(indices.max())
    require(
        lowest >= 0 and highest < len(dataset),
        f"indices run from {lowest} to {highest}, but the data set holds {len(dataset)} images: a split "
        "belongs to the data set it was made for",
    )


class ResidentImages(TensorImages):
    """Images that have been moved, whole, to the device that trains on them.

    Args:
        dataset: images in memory.
        device: where to.
    """

    def __init__(self, dataset: TensorImages, device: torch.device):
        super().__init__(dataset.images_NCHW.to(device), dataset.labels.to(device))


class ResidentBatches:
    """Batches of images that rest on a device, gathered there: nothing but an order is copied, once an epoch.

    Args:
        dataset: images and labels on that device.
        indices: which of them [number of images].
        sampler: yields positions among `indices`; its `set_epoch` is that of the loader.
        batch_size: images per batch.
        drop_last: whether a last, smaller batch is left out.
    """

    # Lightning looks for it in every loader that has a sampler.
    batch_sampler = None

    def __init__(
        self,
        dataset: ResidentImages,
        indices: Tensor,
        sampler: EpochSampler,
        batch_size: int,
        drop_last: bool,
    ):
        self.dataset = dataset
        self.indices = indices.to(dataset.images_NCHW.device)
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __len__(self) -> int:
        most = len(self.sampler)
        return most // self.batch_size if self.drop_last else math.ceil(most / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order_N = self.indices[torch.tensor(list(self.sampler), device=self.indices.device)]
        for batch_B in order_N.split(self.batch_size)[: len(self)]:
            yield self.dataset.images_NCHW[batch_B], self.dataset.labels[batch_B]


class EveryFew:
    """Batches of two loaders, one of the second with every `every`-th of the first, from the first on anew.

    An epoch is one pass over the first loader. The second is passed over batch by batch, without a gap, and
    from its start again where it runs out. Where it has no batch its part is None.

    Args:
        weight: the first loader.
        architecture: the second loader.
        every: x; the second comes with batch x - 1 and every x-th after it, counted from `start()`.
        start: returns the number of batches that came before this epoch.
    """

    def __init__(self, weight: Any, architecture: Any, every: int, start: Callable[[], int]):
        self.weight = weight
        self.architecture = architecture
        self.every = every
        self.start = start
        self.sampler = _Both((weight.sampler, architecture.sampler))

    def __len__(self) -> int:
        return len(self.weight)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        first, source = self.start(), self._again()
        for number, batch in enumerate(self.weight, start=first + 1):
            yield {"weight": batch, "architecture": None if number % self.every else next(source)}

    def _again(self) -> Iterator[Any]:
        while True:
            yield from self.architecture


class _Both:
    """The samplers of two loaders as the one that Lightning looks for."""

    def __init__(self, samplers: Sequence[EpochSampler]):
        self.samplers = samplers

    def set_epoch(self, epoch: int) -> None:
        """Makes the next pass of both that of `epoch`."""
        for sampler in self.samplers:
            sampler.set_epoch(epoch)


def _collate(fetched: Any) -> Any:
    # A tuple is a batch already; a list holds one pair an image.
    return fetched if isinstance(fetched, tuple) else default_collate(fetched)


def _derive(*numbers: int) -> int:
    # Hashed, because torch adds the epoch to this seed: seed 0 in epoch 1 must not be seed 1 in epoch 0.
    # Shifted to leave room for that addition in 63 bits.
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(2))
