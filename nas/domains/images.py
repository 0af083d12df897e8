"""Images, of which a network says the class.

Shapes: N images, C channels, H rows, W columns.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from nas.analysis.metrics import OF_TASKS, Metric, with_asked
from nas.data.class_weights import stand_in_weights
from nas.data.draw_split import split
from nas.data.lists import given_lists, list_lengths, names_hash
from nas.data.sampling import check_sampling
from nas.data.sizes import training_size
from nas.data.sources import ImageSource, example_of
from nas.engine.confusion import counted
from nas.engine.data_module import EvaluationData, SearchData, evaluation_indices, search_split
from nas.engine.evaluation_module import EvaluationModule
from nas.engine.tasks import Classification
from nas.errors import ConfigError, require
from nas.measure.literals import build_literal
from nas.measure.memory_fit import check_evaluation, check_search, fit_rows
from nas.measure.shapes import check_network, check_supernet
from nas.measure.steps import Numerics
from nas.measure.workload import image_steps, limited, processes_of
from nas.methods.method import Method
from nas.reading.pictures import SUFFIXES
from nas.running.config import instantiate, plain
from nas.spaces.signals import is_signal
from nas.spaces.space import ImageInputs, Space


class Images:
    """See `nas.domains.domain.Domain`."""

    name = "images"
    unit = "image"
    sets = "digits, cifar10, cifar100, imagenet16_120, imagenet, folder, csv, arrays"
    spaces = "space=darts, nasbench201, dso"
    varies = False
    layouts: Mapping[str, bool] = MappingProxyType(
        {"reference_{}": False, "reference_{}_channels_last": True}
    )

    def written_for(self, recipe: Mapping) -> bool:
        """Recipes of texts say how long pieces are."""
        return "bptt" not in recipe

    def inputs(self, source: ImageSource) -> ImageInputs:
        """(C, H, W) of an image, and the number of classes."""
        return ImageInputs(source.image_shape, source.num_classes)

    def metrics(self, source: ImageSource, asked: Sequence[str] = ()) -> tuple[Metric, ...]:
        """Those of classes."""
        return with_asked(OF_TASKS[self.name], asked, source.num_classes) if asked else OF_TASKS[self.name]

    def task(
        self,
        space: Space,
        recipe: Mapping | None,
        weights: Tensor | None,
        source: ImageSource,
        metrics: Sequence[Metric] | None = None,
    ) -> Classification:
        """Cross-entropy of the classes; smoothed as the recipe has it."""
        smoothing = 0.0 if recipe is None else recipe["label_smoothing"]
        return Classification(smoothing, weights, source.num_classes, metrics)

    def network(
        self, space: Space, genotype: Any, source: ImageSource, auxiliary: bool, sizes: Mapping
    ) -> nn.Module:
        """The evaluation network of a genotype."""
        return space.network(genotype, self.inputs(source), auxiliary=auxiliary, **sizes)

    def search_data(self, config: DictConfig, source: ImageSource, method: Method) -> SearchData:
        """Both parts of the training set."""
        given = config.dataset
        drawn = (given.split, given.split_ratio, given.fraction, config.split_seed)
        if given.get("lists"):
            # A resumed run may be started from another folder.
            for name, file in given.lists.items():
                given.lists[name] = None if file is None else os.path.abspath(os.path.expanduser(str(file)))
        parts = search_split(source, *drawn, given.get("lists"), joined=method.one_level)
        return SearchData(**data_arguments(config, source), split=parts, weight_steps=method.weight_steps)

    def note_numbers(self, method: str) -> None:
        """Nothing: methods have the numbers of images."""

    def steps(
        self, config: Mapping, space: Space, method: Method, source: ImageSource, data: SearchData
    ) -> list[int]:
        """Of the images that there are."""
        images = math.ceil(len(data.split.weight) / processes_of(config))
        if config["overfit"]:
            images = min(images, config["dataset"]["batch_size"])
        return [image_steps(config, images)] * config["trainer"]["max_epochs"]

    def check_search(
        self, config: Mapping, space: Space, method: Method, source: ImageSource, data: SearchData
    ) -> float | None:
        """Tries the shapes of every stage, and estimates the memory of its steps."""
        inputs, size = self.inputs(source), config["dataset"]["batch_size"]
        task = self.task(space, None, None, source)
        check_supernet(space, method, inputs, task, lambda where, size: where.batch(size, inputs, 1), size)
        return check_search(config, space, method, source, data.resident_images())

    def evaluation_data(self, config: DictConfig, source: ImageSource) -> tuple[EvaluationData, dict]:
        """The images of an evaluation, and which they are."""
        given = config.dataset
        drawn = (given.split, given.fraction, config.split_seed, given.valid)
        indices, found = evaluation_indices(source, *drawn)
        train, valid = (part.tolist() for part in indices)
        data = EvaluationData(**data_arguments(config, source), indices=indices, tests=config.test)
        return data, {
            "train": train,
            "valid": valid,
            "hash": found,
            **_files_hash(source, *indices, config.test),
        }

    def training_steps(self, config: Mapping, source: ImageSource) -> tuple[int | None, str]:
        """Of the images that are neither left out nor held out."""
        known, given = training_size(source), config["dataset"]
        if known.count is None:
            return None, f"number of images unknown ({known.origin})"
        images = int(known.count * given["fraction"]) - int(known.count * given["fraction"] * given["valid"])
        images = math.ceil(images / processes_of(config))
        images = min(images, given["batch_size"]) if config["overfit"] else images
        return image_steps(config, images) * config["trainer"]["max_epochs"], known.origin

    def largest_batch(self, config: Mapping, source: ImageSource) -> int | None:
        """All images of a process."""
        count = self.amount(source)
        return None if count is None else math.ceil(count / processes_of(config))

    def smallest_part(self, config: Mapping, source: ImageSource) -> int | None:
        """Of the lists that are given, or as parts are drawn."""
        sizes = part_sizes(config["dataset"], self.amount(source), source.num_classes, config["split_seed"])
        return None if sizes is None else max(1, min(sizes) // processes_of(config))

    def amount(self, source: ImageSource) -> int | None:
        """Images."""
        return training_size(source).count

    def check_evaluation(
        self, config: DictConfig, network: nn.Module, source: ImageSource, data: EvaluationData, task: Any
    ) -> None:
        """Tries the shapes, estimates the memory of a training step, and counts what is only read later."""
        _check_shares(config, data)
        inputs, recipe = self.inputs(source), config.recipe
        check_network(
            network,
            inputs,
            task,
            lambda where, size: where.batch(size, inputs, 1),
            config.dataset.batch_size,
            recipe.auxiliary_weight,
        )
        optimizer = instantiate(config.recipe.optimizer)
        check_evaluation(plain(config), network, source, data.resident_images(), task, optimizer)

    def example(self, source: ImageSource) -> str:
        """A picture; an archive where no picture has what the network reads."""
        if getattr(source, "floats", False) or source.image_shape[0] not in (1, 3):
            return "<your .npz file>"
        return example_of(source, SUFFIXES) or "<your picture>"

    def validates(self, dataset: Mapping) -> bool:
        """Whether images are held out."""
        return bool(dataset.get("valid"))

    def evaluation(
        self,
        config: DictConfig,
        network: nn.Module,
        task: Classification,
        scheduler: Callable,
        checkpoints: Path,
    ) -> EvaluationModule:
        """The training of a classifier."""
        recipe = config.recipe
        part = "test" if config.test else "valid" if self.validates(config.dataset) else None
        return EvaluationModule(
            network,
            task,
            instantiate(recipe.optimizer),
            scheduler,
            recipe.drop_path,
            recipe.auxiliary_weight,
            # Whatever became of the run's length, the rise keeps to the one that it was started with.
            config.restarts[0].before if config.restarts else config.trainer.max_epochs,
            recipe.get("drop_path_ramp", "epoch"),
            None if task.num_classes is None else counted(part, task.num_classes),
        )

    def workload(self, config: Mapping, space: Space, method: Method, source: ImageSource) -> "ImageWork":
        """What a search of this configuration reads."""
        return ImageWork(config, space, method, source)

    def batch(self, config: DictConfig, source: ImageSource, where: Numerics, size: int, seed: int) -> Any:
        """Noise and labels."""
        return where.batch(size, self.inputs(source), seed)

    def noise(self, config: DictConfig, source: ImageSource, where: Numerics, size: int, seed: int) -> Tensor:
        """Noise [B, C, H, W]."""
        return self.batch(config, source, where, size, seed)[0]

    def words(self, config: DictConfig) -> None:
        """Images have no time steps."""

    def check_bench(self, settings: Mapping, space: Space, source: ImageSource) -> None:
        """Refuses to measure signals against literal networks, which are of pictures."""
        asking = [key for key in ("reference", "evaluation") if settings[key]]
        require(
            not (asking and is_signal(source.image_shape)),
            f"bench.{(*asking, '')[0]}=true: the literal networks are of pictures, and dataset {source.name} "
            f"holds signals {list(source.image_shape)}; set it to false",
        )

    def reference(self, literal: nn.Module, space: Space) -> nn.Module:
        """The literal supernet as it is."""
        return literal

    def reference_network(
        self,
        literal: Callable,
        genotype: Any,
        network: nn.Module,
        source: ImageSource,
        sizes: Mapping[str, Any],
    ) -> nn.Module:
        """The literal network of our sizes."""
        known = {**sizes, "genotype": genotype, **asdict(self.inputs(source))}
        try:
            return build_literal(literal, known)
        except KeyError as error:
            raise ConfigError(
                f"bench.evaluation=true: the literal network has no operation {error.args[0]!r}; choose "
                "another genotype, or set bench.evaluation=false"
            ) from error


def data_arguments(config: DictConfig, source: ImageSource) -> dict[str, Any]:
    """Arguments that searches and evaluations give their data alike."""
    return {
        "source": source,
        "batch_size": config.dataset.batch_size,
        "seed": config.seed,
        "augment": plain(config.dataset.augment),
        "cutout": config.dataset.cutout,
        "num_workers": config.dataset.num_workers,
        "channels_last": config.hardware.channels_last,
        "overfit": config.overfit,
        "resident": config.hardware.get("resident", False),
        "sampling": config.dataset.get("sampling"),
    }


def part_sizes(dataset: Mapping, count: int | None, classes: int, seed: int) -> list[int] | None:
    """Images of the weight part and of the architecture part; None where nobody knows.

    Args:
        dataset: its configuration.
        count: training images.
        classes: of them.
        seed: of the split.
    """
    files = given_lists(dataset.get("lists"))
    if files:
        return list(list_lengths(files).values())
    if count is None:
        return None
    # How many images a part has does not depend on which labels they bear.
    labels_N = torch.arange(count) % classes
    parts = split(labels_N, dataset["split"], dataset["split_ratio"], dataset["fraction"], seed)
    return [len(parts.weight), len(parts.architecture)]


class ImageWork:
    """A search on images: see `Workload`."""

    unit = "image"
    items = "images"
    first = 2

    def __init__(self, config: Mapping, space: Space, method: Method, source: ImageSource):
        self.config = config
        self.source = source
        self.joined = method.one_level
        self.inputs = ImageInputs(source.image_shape, source.num_classes)
        given = config["dataset"]
        check_sampling(given.get("sampling"), given.get("class_weights"))
        weights = stand_in_weights(given.get("class_weights"), source)
        self.task = Classification(class_weights=weights, num_classes=source.num_classes)
        self.step_items = given["batch_size"] * processes_of(config)
        self.known = training_size(source)
        self.size = (
            f"unknown ({self.known.origin})"
            if self.known.count is None
            else f"{self.known.count:,} ({self.known.origin})"
        )

    def resident_images(self) -> int:
        """How many images rest on the device in a run."""
        resting = self.config["hardware"].get("resident") and self.known.in_memory
        return (self.known.count or 0) if resting else 0

    def memory_rows(self, space: Space, method: Method) -> list[tuple[str, str]]:
        """What a plan says of the memory of a step."""
        return fit_rows(self.config, space, method, self.source, self.resident_images())

    def epochs(self, number: int) -> list[int] | None:
        """Steps of every epoch, on every process: the loader drops a last training batch of one image."""
        both = self._images()
        return None if both is None else [image_steps(self.config, both[0])] * number

    def validation(self) -> int | None:
        """Batches of a validation, on every process."""
        both = self._images()
        if both is None:
            return None
        batches = math.ceil(both[1] / self.config["dataset"]["batch_size"])
        return limited(batches, self.config["trainer"]["limit_val_batches"])

    def _images(self) -> tuple[int, int] | None:
        """Images of both parts that a process reads; None where nobody knows how many there are."""
        given, processes = self.config["dataset"], processes_of(self.config)
        sizes = part_sizes(given, self.known.count, self.source.num_classes, self.config["split_seed"])
        if sizes is None:
            return None
        # Disjoint parts, so that joined ones are as long as both together.
        sizes = [sum(sizes)] * 2 if self.joined else sizes
        weight, architecture = (math.ceil(size / processes) for size in sizes)
        if self.config["overfit"]:
            return min(given["batch_size"], weight), min(given["batch_size"], architecture)
        return weight, architecture

    def batches(self, where: Numerics, size: int) -> tuple[Any, Any, Any]:
        """Made-up batches for the weights, the architecture and the validation, of `size` images."""
        weight, architecture = (where.batch(size, self.inputs, seed) for seed in (1, 2))
        return weight, architecture, architecture


def _check_shares(config: DictConfig, data: EvaluationData) -> None:
    """Refuses a part of which a process would have nothing, as it is read after the training has begun."""
    processes = processes_of(config)
    held = {"held-out": len(data.valid_indices)} if len(data.valid_indices) else {}
    if data.tests:
        held["test"] = len(data.test_images)
    for part, count in held.items():
        require(
            count >= processes,
            f"hardware.devices: {processes} processes, but {count} {part} image{'s' * (count != 1)}, and "
            f"each needs one; choose at most hardware.devices={count}",
        )


def _files_hash(source: ImageSource, train: Tensor, valid: Tensor, tests: bool) -> dict[str, str]:
    """What tells files of the same places apart, by the names of each part; nothing where there are none."""
    names = getattr(source.train(), "names", None)
    if names is None:
        return {}
    parts = {"train": [names[i] for i in train.tolist()], "valid": [names[i] for i in valid.tolist()]}
    if tests:
        parts["test"] = getattr(source.test(), "names", [])
    return {"files_hash": names_hash(parts)}
