"""What a search reads, images or text, as `plan=true` has to know it: how many steps, and batches to time.

Nothing is read where the source says how much there is.

Shapes: N images or tokens, T rows of a text's columns.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from nas.analysis.cost.complexity import Cost, count_cost, one_word
from nas.analysis.cost.counting import supernet_cost
from nas.data.class_weights import refuse_class_weights, stand_in_weights
from nas.data.draw_split import split
from nas.data.lists import given_lists, list_lengths
from nas.data.sizes import streams_at_hand, training_size
from nas.data.sources import ImageSource, domain_of, inputs_of
from nas.data.text import TextSource
from nas.data.text_pieces import InOrder, PieceLengths, PieceSampler, columns
from nas.data.text_split import text_split
from nas.engine.tasks import Classification, Language, Task
from nas.engine.text_data import WEIGHT
from nas.measure.bench_text import text_batch, text_supernet_cost
from nas.measure.steps import Numerics
from nas.methods.method import Method
from nas.spaces.space import Space, network_sizes, recipe_fits


class Workload(Protocol):
    """What a search reads.

    Attributes:
        unit: what multiply-adds are counted of, with its article.
        items: what a step reads, in the plural.
        step_items: how many of them a weight step of usual size reads, all processes together.
        size: how many there are to train on and where that number comes from, or that nobody knows, in words.
        inputs: what the space's networks are sized by.
        task: what is learnt.
    """

    unit: str
    items: str
    step_items: int
    size: str
    inputs: tuple
    task: Task

    def epochs(self, number: int) -> list[int] | None:
        """Steps of every epoch, on every process; None where nobody knows how much data there is."""
        ...

    def validation(self) -> int | None:
        """Batches of a validation, on every process; None likewise."""
        ...

    def resident_images(self) -> int:
        """How many images rest on the device in a run."""
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
    items = "images"

    def __init__(self, config: Mapping, space: Space, method: Method, source: ImageSource):
        self.config = config
        self.source = source
        self.joint = method.joint
        self.inputs = inputs_of(source)
        given = config["dataset"]
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
        return self.known.count if resting else 0

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
        return _limited(batches, self.config["trainer"]["limit_val_batches"])

    def _images(self) -> tuple[int, int] | None:
        """Images of both parts that a process reads; None where nobody knows how many there are."""
        given, processes = self.config["dataset"], processes_of(self.config)
        files = given_lists(given.get("lists"))
        if files:
            sizes = list(list_lengths(files).values())
        elif self.known.count is None:
            return None
        else:
            # How many images a part has does not depend on which labels they bear.
            labels_N = torch.arange(self.known.count) % self.source.num_classes
            chosen = (given["split"], given["split_ratio"], given["fraction"], self.config["split_seed"])
            parts = split(labels_N, *chosen)
            sizes = [len(parts.weight), len(parts.architecture)]
        # Disjoint parts, so that joined ones are as long as both together.
        sizes = [sum(sizes)] * 2 if self.joint else sizes
        weight, architecture = (math.ceil(size / processes) for size in sizes)
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
        sizes = network_sizes(space, recipe)
        auxiliary = recipe_fits(space, recipe) and recipe["auxiliary_weight"] > 0
        return count_cost(
            lambda: space.network(genotype, *self.inputs, auxiliary=auxiliary, **sizes),
            self.source.image_shape,
        )


class TextWork:
    """A search on text: see `Workload`."""

    unit = "a word"
    items = "words"

    def __init__(self, config: Mapping, space: Space, method: Method, source: TextSource):
        self.config = config
        self.inputs = inputs_of(source)
        self.task = Language(space.ar, space.tar)
        given, processes = config["dataset"], processes_of(config)
        refuse_class_weights(given.get("class_weights"))
        self.lengths = PieceLengths(**given["bptt"])
        self.step_items = self.lengths.steps * given["batch_size"] * processes
        text, self.size = _unread(source)
        self.rows = self.valid_rows = None
        if text is None:
            return
        parts = text_split(text, given["split"], given["split_ratio"], given["fraction"])
        parts = parts.joined() if method.joint else parts
        self.rows = self._rows(parts.weight.tokens_N, "batch_size", processes)
        self._rows(parts.architecture.tokens_N, "batch_size", processes)
        # Every process validates on all of it.
        self.valid_rows = self._rows(parts.architecture.tokens_N, "valid_batch_size")

    def _rows(self, tokens_N: Tensor, key: str, processes: int = 1) -> int:
        """T of a stream in `dataset.<key>` columns a process; one piece if the search is to overfit."""
        count = self.config["dataset"][key]
        rows = len(columns(tokens_N, count, processes, 0, f"dataset.{key}"))
        return min(rows, self.lengths.steps + 1) if self.config["overfit"] else rows

    def resident_images(self) -> int:
        """None: a text has no images."""
        return 0

    def epochs(self, number: int) -> list[int] | None:
        """Steps of every epoch: their pieces are drawn anew, and so is their number."""
        if self.rows is None:
            return None
        lengths = self.lengths
        if self.config["overfit"]:
            lengths = PieceLengths(**(self.config["dataset"]["bptt"] | {"half": 0.0, "deviation": 0.0}))
        pieces = PieceSampler(self.rows, lengths, self.config["seed"], WEIGHT)
        found = []
        for epoch in range(number):
            pieces.set_epoch(epoch)
            found.append(_limited(len(pieces), self.config["trainer"]["limit_train_batches"]))
        return found

    def validation(self) -> int | None:
        """Pieces of a validation."""
        if self.valid_rows is None:
            return None
        pieces = len(InOrder(self.valid_rows, self.lengths.steps))
        return _limited(pieces, self.config["trainer"]["limit_val_batches"])

    def batches(self, where: Numerics) -> tuple[Any, Any, Any]:
        """Made-up pieces of usual length for the weights, the architecture and the validation."""
        given = self.config["dataset"]
        sizes = (given["batch_size"], given["batch_size"], given["valid_batch_size"])
        steps = self.lengths.steps if self.rows is None else min(self.lengths.steps, self.rows - 1)
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
        return count_cost(
            lambda: space.network(genotype, *self.inputs, **network_sizes(space, recipe)), one_word
        )


class _Streams:
    """Streams as a source has them, all that a split of a text needs."""

    def __init__(self, vocabulary_size: int, train_N: Tensor, valid_N: Tensor):
        self.vocabulary_size = vocabulary_size
        self._train, self._valid = train_N, valid_N

    def train(self) -> Tensor:
        return self._train

    def valid(self) -> Tensor:
        return self._valid


def _unread(source: TextSource) -> tuple[_Streams | None, str]:
    """The streams that a plan divides, and how long they are in words; None where nobody knows.

    For a text that says how long it is they hold nothing, so that they cost nothing.
    """
    known = getattr(source, "num_tokens", None)
    if known is not None:
        empty = (torch.zeros(1, dtype=torch.int64).expand(count) for count in known[:2])
        return _Streams(source.vocabulary_size, *empty), f"{known[0]:,} (declared, not counted)"
    found, why = streams_at_hand(source)
    if found is None:
        return None, f"unknown ({why})"
    return _Streams(source.vocabulary_size, *found), f"{len(found[0]):,} (counted)"


def image_steps(config: Mapping, images: int) -> int:
    """Steps per epoch of a search whose weight part has so many images a process.

    The loader drops a last training batch of one image.
    """
    size = config["dataset"]["batch_size"]
    steps = images // size if size > 1 and images % size == 1 else math.ceil(images / size)
    return _limited(steps, config["trainer"]["limit_train_batches"])


def processes_of(config: Mapping) -> int:
    """Processes of a run, as far as its configuration says."""
    hardware = config["hardware"]
    devices = hardware["devices"] if isinstance(hardware["devices"], int) else 1
    return devices * hardware["num_nodes"]


def _limited(number: int, limit: float) -> int:
    """Lightning's rule: a whole number is a number, a fraction is a share."""
    return min(number, limit) if isinstance(limit, int) else int(number * limit)
