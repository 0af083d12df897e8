"""Lightning's view of the data: which loaders, on which process, augmented on the device the batch is on."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import CombinedLoader
from torch import Tensor
from torch.utils.data import DataLoader

from nas.data.augment import BatchAugment, of_batches
from nas.data.checks import check_parts, read_images
from nas.data.class_weights import class_weights
from nas.data.declared import named
from nas.data.draw_split import split, subset
from nas.data.lists import given_lists, split_from_lists
from nas.data.loaders import EveryFew, ResidentBatches, ResidentImages, batches
from nas.data.sampling import check_sampling
from nas.data.sources import ImageSource, TensorImages
from nas.data.split import Split, hash_indices
from nas.errors import require

WEIGHT, ARCHITECTURE, TRAIN, VALID, TEST = range(5)


class ImageData(pl.LightningDataModule):
    """Common part: batches arrive as uint8, are moved by Lightning, and are augmented there.

    Args:
        source: where the images come from.
        batch_size: images a batch of one process.
        seed: of order and augmentation.
        augment: keyword arguments `pad`, `flip`, `crop` and `jitter` of `BatchAugment`; a source that
            `augments` does all but `pad` itself.
        cutout: side in pixels.
        num_workers: processes that fetch images.
        channels_last: memory layout of the augmented batch.
        overfit: keep to one unaugmented batch in a fixed order.
        resident: move images that are held in memory to the device once, each process its own copy, and
            gather batches there; files of images are read as ever.
        sampling: `balanced` draws training images so that every class comes equally often; None for each
            once an epoch.

    Attributes:
        train_indices: of the images that weights are trained on.
    """

    train_indices: Tensor

    def __init__(
        self,
        source: ImageSource,
        batch_size: int,
        seed: int,
        augment: dict[str, Any],
        cutout: int = 0,
        num_workers: int = 0,
        channels_last: bool = False,
        overfit: bool = False,
        resident: bool = False,
        sampling: str | None = None,
    ):
        super().__init__()
        check_sampling(sampling)
        self.sampling = sampling
        self.source = source
        self.batch_size = batch_size
        self.seed = seed
        self.num_workers = num_workers
        self.overfit = overfit
        self.resident = resident
        self._moved: dict[int, ResidentImages] = {}
        self.augment = BatchAugment(
            source.mean,
            source.std,
            **of_batches(source, augment),
            cutout=cutout,
            channels_last=channels_last,
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augments whole batches; dictionaries of batches keep their form, and None is no batch."""
        if batch is None:
            return None
        if isinstance(batch, dict):
            return {name: self.on_after_batch_transfer(part, dataloader_idx) for name, part in batch.items()}
        images_BCHW, labels_B = batch
        assert self.trainer is not None  # Lightning calls this within a run
        train = self.trainer.training and not self.overfit
        augment = self.augment.to(images_BCHW.device)
        # Lightning sets its precision as the default type around steps only, not here.
        dtype = next(self.trainer.lightning_module.parameters()).dtype
        return augment(images_BCHW, train).to(dtype), labels_B

    def resident_images(self) -> int:
        """How many images rest on the device in a run, once they have been read."""
        parts = [getattr(self, f"{name}_images", None) for name in ("train", "plain", "test")]
        held = {id(part): len(part) for part in parts if isinstance(part, TensorImages)}
        return sum(held.values()) if self.resident else 0

    def class_weights(self, setting: str | Sequence[float] | None) -> Tensor | None:
        """The weights of the classes [K]; `balanced` counts the images that weights are trained on."""
        check_sampling(self.sampling, setting)
        return class_weights(setting, self.train_images.labels[self.train_indices], self.source.num_classes)

    def _read_train(self) -> None:
        """Reads the training images, and the same ones prepared as those of the test are."""
        self.train_images = read_images(self.source)
        self.plain_images = read_images(self.source, augmented=False)
        require(
            torch.equal(self.train_images.labels, self.plain_images.labels),
            f"{named(self.source)}: train(augmented=False) must return the images of train() in their "
            "order, and its labels are others",
        )

    def _placed(self, dataset: Any) -> Any:
        """The data set where its batches are put together."""
        if not (self.resident and self.trainer and isinstance(dataset, TensorImages)):
            return dataset
        if id(dataset) not in self._moved:
            self._moved[id(dataset)] = ResidentImages(dataset, self.trainer.strategy.root_device)
        return self._moved[id(dataset)]

    def _loader(
        self, dataset: Any, indices: Tensor, stream: int, shuffle: bool
    ) -> DataLoader | ResidentBatches:
        if self.overfit:
            indices, shuffle = indices[: self.batch_size], False
        trainer = self.trainer
        world_size = trainer.world_size if trainer else 1
        rank = trainer.global_rank if trainer else 0
        share = len(range(rank, len(indices), world_size))
        loader = batches(
            self._placed(dataset),
            indices,
            batch_size=self.batch_size if shuffle else min(self.batch_size, share),
            shuffle=shuffle,
            seed=self.seed,
            stream=stream,
            num_replicas=world_size,
            rank=rank,
            num_workers=self.num_workers,
            pin_memory=bool(trainer and trainer.strategy.root_device.type == "cuda"),
            balanced=self.sampling is not None,
        )
        # Of a resumed run Lightning sets the epoch only when workers have begun to read, and `current_epoch`
        # is behind by one then.
        progress: Any = trainer.fit_loop.epoch_progress.current if trainer else None
        sampler: Any = loader.sampler
        sampler.set_epoch(0 if progress is None else progress.processed)
        return loader


class SearchData(ImageData):
    """The weight split and the architecture split of the training set.

    An epoch is one pass over the weight split; batches of the architecture split come beside it, from the
    start again when they run out. Both are augmented, as in the authors' code. Validation is the architecture
    split without augmentation.

    Args:
        split: which images are which.
        weight_steps: x where alpha steps with every x-th batch of the weight split: only then a batch of the
            architecture split is read, and it is the one after the last that was.
    """

    def __init__(self, *args: Any, split: Split, weight_steps: int = 1, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.split = split
        self.train_indices = split.weight
        self.weight_steps = weight_steps

    def prepare(self) -> None:
        """Reads the training set and builds both loaders once: bad data or sizes are found before a run."""
        self._read_train()
        self.train_dataloader()

    def train_dataloader(self) -> CombinedLoader | EveryFew:
        """Batches {"weight": ..., "architecture": ...}; the latter None where alpha rests in a step."""
        weight = self._loader(self.train_images, self.split.weight, WEIGHT, shuffle=True)
        architecture = self._loader(self.train_images, self.split.architecture, ARCHITECTURE, shuffle=True)
        if self.weight_steps > 1:
            return EveryFew(weight, architecture, self.weight_steps, self._steps_done)
        parts = {"weight": weight, "architecture": architecture}
        return CombinedLoader(parts, "max_size_cycle" if len(architecture) < len(weight) else "min_size")

    def told(self) -> str:
        """Both parts in words."""
        split = self.split
        if torch.equal(split.weight, split.architecture):
            return f"all {len(split.weight):,} for weights and architecture together"
        return f"{len(split.weight):,} for the weights, {len(split.architecture):,} for the architecture"

    def _steps_done(self) -> int:
        module: Any = self.trainer.lightning_module if self.trainer else None
        return 0 if module is None else module.iteration

    def val_dataloader(self) -> DataLoader | ResidentBatches:
        """The architecture split in order, unaugmented."""
        return self._loader(self.plain_images, self.split.architecture, VALID, shuffle=False)


class EvaluationData(ImageData):
    """The training set, a validation part held out of it if wanted, and the test set.

    Args:
        indices: of the training images and of those that are held out.
        tests: whether the test set will be looked at; else it is not read.
    """

    def __init__(self, *args: Any, indices: tuple[Tensor, Tensor], tests: bool = True, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.train_indices, self.valid_indices = indices
        self.tests = tests

    def prepare(self) -> None:
        """Reads the images and builds the training loader once: bad data or sizes are found before a run."""
        self._read_train()
        if self.tests:
            self.test_images = read_images(self.source, "test")
        self.train_dataloader()

    def told(self) -> str:
        """The parts in words."""
        held_out = f"{len(self.valid_indices):,} held out" if len(self.valid_indices) else "none held out"
        return f"{len(self.train_indices):,} to train on, {held_out}"

    def train_dataloader(self) -> DataLoader | ResidentBatches:
        """Shuffled and augmented."""
        return self._loader(self.train_images, self.train_indices, TRAIN, shuffle=True)

    def val_dataloader(self) -> DataLoader | ResidentBatches | list:
        """The held-out part; nothing if there is none."""
        if len(self.valid_indices) == 0:
            return []
        return self._loader(self.plain_images, self.valid_indices, VALID, shuffle=False)

    def test_dataloader(self) -> DataLoader | ResidentBatches:
        """The test set in order."""
        return self._loader(self.test_images, torch.arange(len(self.test_images)), TEST, shuffle=False)


def search_split(
    source: ImageSource,
    mode: str,
    ratio: float,
    fraction: float,
    seed: int,
    lists: Mapping | None = None,
    joined: bool = False,
) -> Split:
    """The fixed split of a source's training set: drawn, or what `dataset.lists` names.

    With `joined` both parts are all images of either.

    Raises:
        ConfigError: the images are not what the source declares, cannot be divided so, or a part that is to
            have its share of every class lacks one.
    """
    images = read_images(source)
    files = given_lists(lists)
    drawn = None if files else split(images.labels, mode, ratio, fraction, seed)
    found = drawn or split_from_lists(images, files)
    found = found.joined() if joined else found
    parts = {"weight": found.weight} | ({} if joined else {"architecture": found.architecture})
    of_share = f"dataset.fraction={fraction} or " if fraction < 1 else ""
    keys = "dataset.lists" if files else f"{of_share}dataset.split_ratio={ratio}"
    check_parts(images.labels, parts, source.num_classes, mode == "stratified" and not files, keys)
    return found


def evaluation_indices(
    source: ImageSource, mode: str, fraction: float, seed: int, valid: float
) -> tuple[tuple[Tensor, Tensor], str]:
    """Training and validation indices, and their hash."""
    labels_N = read_images(source).labels
    indices = subset(labels_N, fraction, seed, mode, valid)
    parts = dict(zip(("training", "validation"), indices, strict=True))
    keys = f"dataset.fraction={fraction} or dataset.valid={valid}"
    check_parts(labels_N, parts, source.num_classes, mode == "stratified", keys)
    return indices, hash_indices(*indices)
