"""Text, of which a network says the next word.

Shapes: N tokens, T rows of a text's columns, B columns.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from nas.analysis.metrics import BITS, OF_TASKS, Metric, with_asked
from nas.data.class_weights import refuse_class_weights
from nas.data.sizes import streams_at_hand
from nas.data.sources import example_of
from nas.data.text import TextSource
from nas.data.text_segments import InOrder, SegmentLengths, SegmentSampler, columns
from nas.data.text_split import text_split, text_subset
from nas.data.tokens import CHARACTERS, WORDS
from nas.engine.language_evaluation import LanguageEvaluation
from nas.engine.tasks import Language, TextBatch
from nas.engine.text_data import WEIGHT, TextEvaluationData, TextSearchData
from nas.errors import require
from nas.measure.bench_text import (
    LiteralWithMasks,
    check_text,
    literal_network,
    text_batch,
)
from nas.measure.shapes import check_network, check_supernet
from nas.measure.steps import Numerics
from nas.measure.workload import limited, processes_of
from nas.methods.method import Method
from nas.running.config import CONF, instantiate, plain
from nas.spaces.space import Space, TextInputs

log = logging.getLogger(__name__)


class Text:
    """See `nas.domains.domain.Domain`."""

    name = "text"
    unit = "word"
    sets = "wikitext_mini, wikitext2, ptb, corpus"
    spaces = "space=darts_rnn method=darts1_rnn"
    varies = True
    layouts: Mapping[str, bool] = MappingProxyType({"reference_{}": False})

    def written_for(self, recipe: Mapping) -> bool:
        """Recipes of texts say how long segments are."""
        return "bptt" in recipe

    def inputs(self, source: TextSource) -> TextInputs:
        """The size of the vocabulary."""
        return TextInputs(source.vocabulary_size)

    def metrics(self, source: TextSource, asked: Sequence[str] = ()) -> tuple[Metric, ...]:
        """Of a text in characters their bits too; there are no others to be asked for."""
        characters = getattr(source, "tokenizer", WORDS) == CHARACTERS
        return with_asked((*OF_TASKS[self.name], *((BITS,) if characters else ())), asked, None)

    def task(
        self,
        space: Any,
        recipe: Mapping | None,
        weights: Tensor | None,
        source: TextSource,
        metrics: Sequence[Metric] | None = None,
    ) -> Language:
        """The next word, with the regularisers of the recipe, or in a search of the space.

        All that is measured follows from the loss, whatever `metrics` are.
        """
        return Language(space.ar, space.tar) if recipe is None else Language(recipe["ar"], recipe["tar"])

    def network(
        self, space: Space, genotype: Any, source: TextSource, auxiliary: bool, sizes: Mapping
    ) -> nn.Module:
        """The evaluation network of a genotype; language models have no auxiliary head."""
        return space.network(genotype, self.inputs(source), **sizes)

    def search_data(self, config: DictConfig, source: TextSource, method: Method) -> TextSearchData:
        """Both parts of the training text."""
        given = config.dataset
        split = text_split(source, given.split, given.split_ratio, given.fraction)
        split = split.joined() if method.one_level else split
        return TextSearchData(**data_arguments(config, source), split=split)

    def note_numbers(self, method: str) -> None:
        """`darts1_rnn` is the sister of `darts1`."""
        sister = CONF / "method" / f"{method}_rnn.yaml"
        if sister.is_file():
            log.warning(
                "method=%s has the numbers of images; method=%s has those of texts", method, sister.stem
            )

    def steps(
        self, config: Mapping, space: Space, method: Method, source: TextSource, data: TextSearchData
    ) -> list[int] | None:
        """Segments are drawn anew each epoch, and so is their number."""
        return TextWork(config, space, method, source).epochs(config["trainer"]["max_epochs"])

    def check_search(
        self, config: Mapping, space: Space, method: Method, source: TextSource, data: TextSearchData
    ) -> float | None:
        """Tries the shapes; memory is not estimated, for these networks are small beside any device's."""
        given, words = config["dataset"], source.vocabulary_size
        task, steps = self.task(space, None, None, source), given["bptt"]["steps"]
        check_supernet(
            space,
            method,
            self.inputs(source),
            task,
            lambda where, size: text_batch(where, steps, size, words, 1),
            given["batch_size"],
        )
        return None

    def evaluation_data(self, config: DictConfig, source: TextSource) -> tuple[TextEvaluationData, dict]:
        """The streams of an evaluation, and which they are."""
        for key in ("valid", "cutout"):
            value = config.dataset.get(key, 0)
            require(
                not value,
                f"dataset.{key}={value}: only for images; a text has a validation part and nothing to cut "
                "out",
            )
        (train, valid), found = text_subset(source, config.dataset.fraction)
        arguments = data_arguments(config, source)
        # Searches read segments of equal length, evaluations vary them more (Liu et al. 2019, authors' code).
        arguments["bptt"] |= plain(config.recipe.bptt)
        data = TextEvaluationData(**arguments, parts=(train, valid), tests=config.test)
        return data, {"train": train.to_dict(), "valid": valid.to_dict(), "hash": found}

    def training_steps(self, config: Mapping, source: TextSource) -> tuple[int | None, str]:
        """Of segments as long as usual: their lengths, and so their number, are drawn anew each epoch."""
        text, known = _unread(source)
        if text is None:
            return None, f"length of the text {known}"
        given, trainer = config["dataset"], config["trainer"]
        words = int(len(text.train()) * given["fraction"]) // (given["batch_size"] * processes_of(config))
        lengths = SegmentLengths(**(given["bptt"] | config["recipe"]["bptt"]))
        words = min(words, lengths.steps + 1) if config["overfit"] else words
        segments = limited(math.ceil((words - 1) / lengths.steps), trainer["limit_train_batches"])
        return segments * trainer["max_epochs"], known

    def largest_batch(self, config: Mapping, source: TextSource) -> int | None:
        """As many columns as hold two words each."""
        words = self.amount(source)
        return None if words is None else words // (2 * processes_of(config))

    def smallest_part(self, config: Mapping, source: TextSource) -> int | None:
        """As many columns as hold two words each of the shorter stream."""
        text, _ = _unread(source)
        if text is None:
            return None
        given = config["dataset"]
        parts = text_split(text, given["split"], given["split_ratio"], given["fraction"])
        shorter = min(len(parts.weight.tokens_N), len(parts.architecture.tokens_N))
        return max(1, shorter // (2 * processes_of(config)))

    def amount(self, source: TextSource) -> int | None:
        """Words."""
        text, _ = _unread(source)
        return None if text is None else len(text.train())

    def check_evaluation(
        self, config: DictConfig, network: nn.Module, source: TextSource, data: Any, task: Any
    ) -> None:
        """Tries the shapes."""
        steps, words = config.dataset.bptt.steps, source.vocabulary_size
        check_network(
            network,
            self.inputs(source),
            task,
            lambda where, size: text_batch(where, steps, size, words, 1),
            config.dataset.batch_size,
        )

    def example(self, source: TextSource) -> str:
        """A text file."""
        return example_of(source) or "<your text file>"

    def validates(self, dataset: Mapping) -> bool:
        """A text brings its validation part."""
        return True

    def evaluation(
        self, config: DictConfig, network: nn.Module, task: Language, scheduler: Callable, checkpoints: Path
    ) -> LanguageEvaluation:
        """The training of a language model."""
        recipe = config.recipe
        return LanguageEvaluation(
            network,
            task,
            instantiate(recipe.optimizer),
            scheduler,
            recipe.nonmono,
            recipe.max_rollbacks,
            checkpoints / "best.pt",
        )

    def workload(self, config: Mapping, space: Space, method: Method, source: TextSource) -> "TextWork":
        """What a search of this configuration reads."""
        return TextWork(config, space, method, source)

    def batch(
        self, config: DictConfig, source: TextSource, where: Numerics, size: int, seed: int
    ) -> TextBatch:
        """A segment of usual length, words drawn uniformly."""
        return text_batch(where, config.dataset.bptt.steps, size, source.vocabulary_size, seed)

    def noise(self, config: DictConfig, source: TextSource, where: Numerics, size: int, seed: int) -> Tensor:
        """Words [T, B]."""
        generator = torch.Generator().manual_seed(seed)
        shape = (config.dataset.bptt.steps, size)
        return torch.randint(source.vocabulary_size, shape, generator=generator).to(where.device)

    def words(self, config: DictConfig) -> int:
        """Of a usual segment."""
        return config.dataset.bptt.steps

    def check_bench(self, settings: Mapping, space: Any, source: Any) -> None:
        """Refuses augmentation, loaders of images, and shares of connections."""
        check_text(settings, space)

    def reference(self, literal: nn.Module, space: Any) -> nn.Module:
        """With masks drawn as ours are."""
        return LiteralWithMasks(literal, space.dropouts)

    def reference_network(
        self, literal: Callable, genotype: Any, network: nn.Module, source: Any, sizes: Mapping[str, Any]
    ) -> nn.Module:
        """The literal network with our sizes and dropouts."""
        return literal_network(literal, genotype, network)


def data_arguments(config: DictConfig, source: TextSource) -> dict[str, Any]:
    """Arguments that searches and evaluations give their data alike."""
    return {
        "source": source,
        "batch_size": config.dataset.batch_size,
        "valid_batch_size": config.dataset.valid_batch_size,
        "test_batch_size": config.dataset.test_batch_size,
        "bptt": plain(config.dataset.bptt),
        "seed": config.seed,
        "overfit": config.overfit,
    }


class TextWork:
    """A search on text: see `Workload`."""

    unit = "word"
    items = "words"
    # A cell waits for one time step after another, whose seconds hardly depend on the number of columns.
    first = 32

    def __init__(self, config: Mapping, space: Any, method: Method, source: TextSource):
        self.config = config
        self.inputs = TextInputs(source.vocabulary_size)
        self.task = Language(space.ar, space.tar)
        given, processes = config["dataset"], processes_of(config)
        refuse_class_weights(given.get("class_weights"))
        self.lengths = SegmentLengths(**given["bptt"])
        self.step_items = self.lengths.steps * given["batch_size"] * processes
        text, self.size = _unread(source)
        self.rows = self.valid_rows = None
        if text is None:
            return
        parts = text_split(text, given["split"], given["split_ratio"], given["fraction"])
        parts = parts.joined() if method.one_level else parts
        self.rows = self._rows(parts.weight.tokens_N, "batch_size", processes)
        self._rows(parts.architecture.tokens_N, "batch_size", processes)
        # Every process validates on all of it.
        self.valid_rows = self._rows(parts.architecture.tokens_N, "valid_batch_size")

    def _rows(self, tokens_N: Tensor, key: str, processes: int = 1) -> int:
        """T of a stream in `dataset.<key>` columns a process; one segment if the search is to overfit."""
        count = self.config["dataset"][key]
        rows = len(columns(tokens_N, count, processes, 0, f"dataset.{key}"))
        return min(rows, self.lengths.steps + 1) if self.config["overfit"] else rows

    def memory_rows(self, space: Space, method: Method) -> list[tuple[str, str]]:
        """Nothing: the networks of texts are small beside any device's memory."""
        return []

    def epochs(self, number: int) -> list[int] | None:
        """Steps of every epoch: their segments are drawn anew, and so is their number."""
        if self.rows is None:
            return None
        lengths = self.lengths
        if self.config["overfit"]:
            lengths = SegmentLengths(**(self.config["dataset"]["bptt"] | {"half": 0.0, "deviation": 0.0}))
        segments = SegmentSampler(self.rows, lengths, self.config["seed"], WEIGHT)
        found = []
        for epoch in range(number):
            segments.set_epoch(epoch)
            found.append(limited(len(segments), self.config["trainer"]["limit_train_batches"]))
        return found

    def validation(self) -> int | None:
        """Segments of a validation."""
        if self.valid_rows is None:
            return None
        segments = len(InOrder(self.valid_rows, self.lengths.steps))
        return limited(segments, self.config["trainer"]["limit_val_batches"])

    def batches(self, where: Numerics, size: int) -> tuple[Any, Any, Any]:
        """Made-up segments of usual length for the weights, the architecture and the validation.

        They have `size` columns, those of the validation its own number of them.
        """
        sizes = (size, size, self.config["dataset"]["valid_batch_size"])
        steps = self.lengths.steps if self.rows is None else min(self.lengths.steps, self.rows - 1)
        words = self.inputs.vocabulary
        weight, architecture, valid = (
            text_batch(where, steps, size, words, seed) for seed, size in enumerate(sizes, start=1)
        )
        return weight, architecture, valid


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
