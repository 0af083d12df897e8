"""What a search reads, images or text, as `plan=true` has to know it: how many steps, and batches to time.

Nothing is read where the source says how much there is.

Shapes: N images or tokens, T rows of a text's columns.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from nas.analysis.complexity import Cost, count_cost, one_word
from nas.analysis.counting import supernet_cost
from nas.data.batchify import InOrder, PieceLengths, PieceSampler, columns
from nas.data.sources import ImageSource, domain_of, inputs_of
from nas.data.splits import split
from nas.data.text import TextSource
from nas.data.text_split import text_split
from nas.engine.bench_text import TextSteps, text_batch, text_supernet_cost
from nas.engine.benchmark import Numerics, SearchSteps
from nas.engine.tasks import Classification, Language, Task
from nas.engine.text_data import WEIGHT
from nas.methods.method import Method
from nas.spaces.space import Space

# So that a plan needs no images. Others are counted by reading them.
NUM_IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "imagenet16_120": 151_700, "imagenet": 1_281_167}


class Workload(Protocol):
    """What a search reads.

    Attributes:
        unit: what multiply-adds are counted of, with its article.
        inputs: what the space's networks are sized by.
        task: what is learnt.
        steps: the class of the search's steps.
    """

    unit: str
    inputs: tuple
    task: Task
    steps: type[SearchSteps]

    def epochs(self, number: int) -> list[int]:
        """Steps of every epoch, on every process."""
        ...

    def validation(self) -> int:
        """Batches of a validation, on every process."""
        ...

    def batches(self, where: Numerics) -> tuple[Any, Any, Any]:
        """Made-up batches for the weights, the architecture and the validation."""
        ...

    def supernet_cost(
        self, space: Space, partial: int | None = None, kept: Mapping[str, Tensor] | None = None
    ) -> Cost:
        """The cost of a supernet; `partial` and `kept` are as in `Space.supernet`."""
        ...

    def network_cost(self, space: Space, genotype: Any, recipe: Mapping) -> Cost:
        """The cost of an evaluation network; a recipe without its sizes is another space's."""
        ...


def workload_of(
    config: Mapping, space: Space, method: Method, source: ImageSource | TextSource
) -> "ImageWork | TextWork":
    """What a search of this configuration reads.

    Args:
        config: the whole configuration of `nas.search` as plain containers.
        space: the search space.
        method: says whether weights and architecture share their data.
        source: the data set.

    Raises:
        ConfigError: the data cannot be divided as configured.
    """
    return (TextWork if domain_of(source) == "text" else ImageWork)(config, space, method, source)


class ImageWork:
    """A search on images: see `Workload`."""

    unit = "an image"
    steps = SearchSteps

    def __init__(self, config: Mapping, space: Space, method: Method, source: ImageSource):
        self.config = config
        self.source = source
        self.joint = method.joint
        self.inputs = inputs_of(source)
        self.task = Classification()

    def epochs(self, number: int) -> list[int]:
        """Steps of every epoch, on every process: the loader drops a last training batch of one image."""
        size = self.config["dataset"]["batch_size"]
        images = self._images()[0]
        steps = images // size if size > 1 and images % size == 1 else math.ceil(images / size)
        return [_limited(steps, self.config["trainer"]["limit_train_batches"])] * number

    def validation(self) -> int:
        """Batches of a validation, on every process."""
        batches = math.ceil(self._images()[1] / self.config["dataset"]["batch_size"])
        return _limited(batches, self.config["trainer"]["limit_val_batches"])

    def _images(self) -> tuple[int, int]:
        """Images of both parts that a process reads."""
        given, processes = self.config["dataset"], _processes(self.config)
        known = NUM_IMAGES.get(self.source.name)
        labels_N = (
            self.source.train().labels if known is None else torch.arange(known) % self.source.num_classes
        )
        parts = split(
            labels_N, given["split"], given["split_ratio"], given["fraction"], self.config["split_seed"]
        )
        parts = parts.joined() if self.joint else parts
        weight, architecture = (
            math.ceil(len(part) / processes) for part in (parts.weight, parts.architecture)
        )
        if self.config["overfit"]:
            return min(given["batch_size"], weight), min(given["batch_size"], architecture)
        return weight, architecture

    def batches(self, where: Numerics) -> tuple[Any, Any, Any]:
        """Made-up batches for the weights, the architecture and the validation."""
        size = self.config["dataset"]["batch_size"]
        weight, architecture = (where.batch(size, *self.inputs, seed) for seed in (1, 2))
        return weight, architecture, architecture

    def supernet_cost(
        self, space: Space, partial: int | None = None, kept: Mapping[str, Tensor] | None = None
    ) -> Cost:
        """The cost of a supernet; `partial` and `kept` are as in `Space.supernet`."""
        return supernet_cost(space, *self.inputs, partial, kept)

    def network_cost(self, space: Space, genotype: Any, recipe: Mapping) -> Cost:
        """The cost of an evaluation network."""
        sizes = _sizes(space, recipe)
        auxiliary = bool(sizes) and recipe["auxiliary_weight"] > 0
        return count_cost(
            lambda: space.network(genotype, *self.inputs, auxiliary=auxiliary, **sizes),
            self.source.image_shape,
        )


class TextWork:
    """A search on text: see `Workload`."""

    unit = "a word"
    steps = TextSteps

    def __init__(self, config: Mapping, space: Space, method: Method, source: TextSource):
        self.config = config
        self.inputs = inputs_of(source)
        self.task = Language(space.ar, space.tar)
        given = config["dataset"]
        self.lengths = PieceLengths(**given["bptt"])
        parts = text_split(_unread(source), given["split"], given["split_ratio"], given["fraction"])
        parts = parts.joined() if method.joint else parts
        processes = _processes(config)
        self.rows = self._rows(parts.weight.tokens_N, "batch_size", processes)
        self._rows(parts.architecture.tokens_N, "batch_size", processes)
        # Every process validates on all of it.
        self.valid_rows = self._rows(parts.architecture.tokens_N, "valid_batch_size")

    def _rows(self, tokens_N: Tensor, key: str, processes: int = 1) -> int:
        """T of a stream in `dataset.<key>` columns a process; one piece if the search is to overfit."""
        count = self.config["dataset"][key]
        rows = len(columns(tokens_N, count, processes, 0, f"dataset.{key}"))
        return min(rows, self.lengths.steps + 1) if self.config["overfit"] else rows

    def epochs(self, number: int) -> list[int]:
        """Steps of every epoch: their pieces are drawn anew, and so is their number."""
        lengths = self.lengths
        if self.config["overfit"]:
            lengths = PieceLengths(**(self.config["dataset"]["bptt"] | {"half": 0.0, "deviation": 0.0}))
        pieces = PieceSampler(self.rows, lengths, self.config["seed"], WEIGHT)
        found = []
        for epoch in range(number):
            pieces.set_epoch(epoch)
            found.append(_limited(len(pieces), self.config["trainer"]["limit_train_batches"]))
        return found

    def validation(self) -> int:
        """Pieces of a validation."""
        pieces = len(InOrder(self.valid_rows, self.lengths.steps))
        return _limited(pieces, self.config["trainer"]["limit_val_batches"])

    def batches(self, where: Numerics) -> tuple[Any, Any, Any]:
        """Made-up pieces of usual length for the weights, the architecture and the validation."""
        given = self.config["dataset"]
        sizes = (given["batch_size"], given["batch_size"], given["valid_batch_size"])
        steps = min(self.lengths.steps, self.rows - 1)
        weight, architecture, valid = (
            text_batch(where, steps, size, *self.inputs, seed) for seed, size in enumerate(sizes, start=1)
        )
        return weight, architecture, valid

    def supernet_cost(
        self, space: Space, partial: int | None = None, kept: Mapping[str, Tensor] | None = None
    ) -> Cost:
        """The cost of a supernet; `partial` and `kept` are as in `Space.supernet`."""
        return text_supernet_cost(space, *self.inputs, partial, kept)

    def network_cost(self, space: Space, genotype: Any, recipe: Mapping) -> Cost:
        """The cost of an evaluation network."""
        return count_cost(lambda: space.network(genotype, *self.inputs, **_sizes(space, recipe)), one_word)


class _Unread:
    """Streams of a known length that hold nothing, so that a split of them costs nothing."""

    def __init__(self, train: int, valid: int):
        self._train, self._valid = (torch.zeros(1, dtype=torch.int64).expand(n) for n in (train, valid))

    def train(self) -> Tensor:
        return self._train

    def valid(self) -> Tensor:
        return self._valid


def _unread(source: TextSource) -> "TextSource | _Unread":
    """A stand-in for a text that says how long it is; the text itself otherwise."""
    known = getattr(source, "num_tokens", None)
    return source if known is None else _Unread(*known[:2])


def _sizes(space: Space, recipe: Mapping) -> dict[str, Any]:
    """The recipe's sizes of this space's networks; nothing where it was written for another's."""
    fits = all(name in recipe for name in space.recipe_sizes)
    return {name: recipe[name] for name in space.recipe_sizes} if fits else {}


def _processes(config: Mapping) -> int:
    hardware = config["hardware"]
    devices = hardware["devices"] if isinstance(hardware["devices"], int) else 1
    return devices * hardware["num_nodes"]


def _limited(number: int, limit: float) -> int:
    """Lightning's rule: a whole number is a number, a fraction is a share."""
    return min(number, limit) if isinstance(limit, int) else int(number * limit)
