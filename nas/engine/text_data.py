"""Lightning's view of a text: columns that are read segment by segment."""

import logging
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader

from nas.data.checks import read_tokens
from nas.data.class_weights import refuse_class_weights
from nas.data.text import TextSource
from nas.data.text_segments import (
    SegmentLengths,
    columns,
    search_segments,
    segments_in_order,
    training_segments,
)
from nas.data.text_split import TextPart, TextSplit

log = logging.getLogger(__name__)
WEIGHT, ARCHITECTURE, TRAIN = range(3)


class TextData(pl.LightningDataModule):
    """Common part: the number of segments changes from epoch to epoch, so a loader is made for each.

    The Trainer has to ask for it (`reload_dataloaders_every_n_epochs=1`).

    Args:
        source: the text.
        batch_size: columns of training of one process.
        valid_batch_size: columns of validation.
        test_batch_size: columns of the test.
        bptt: keyword arguments of `SegmentLengths`.
        seed: of the lengths.
        overfit: keep to one segment of usual length.
    """

    def __init__(
        self,
        source: TextSource,
        batch_size: int,
        valid_batch_size: int,
        test_batch_size: int,
        bptt: Mapping,
        seed: int,
        overfit: bool = False,
    ):
        super().__init__()
        self.source = source
        self.batch_size = batch_size
        self.valid_batch_size = valid_batch_size
        self.test_batch_size = test_batch_size
        self.lengths = SegmentLengths(**(dict(bptt) | ({"half": 0.0, "deviation": 0.0} if overfit else {})))
        self.seed = seed
        self.overfit = overfit

    def _columns(self, stream_N: Tensor, count: int, key: str, whole: bool = False) -> Tensor:
        """Columns [T, B] of this process; with `whole` every process reads all of them."""
        trainer = None if whole else self.trainer
        world_size, rank = (trainer.world_size, trainer.global_rank) if trainer else (1, 0)
        columns_TB = columns(stream_N, count, world_size, rank, f"dataset.{key}")
        return columns_TB[: self.lengths.steps + 1] if self.overfit else columns_TB

    def _in_order(self, stream_N: Tensor, count: int, key: str) -> DataLoader:
        """Every process reads all of the stream."""
        return segments_in_order(self._columns(stream_N, count, key, whole=True), self.lengths.steps)

    def _note_short(self, stream_N: Tensor) -> None:
        """Says so where a training stream does not fill one segment of usual length in every column."""
        window = self.batch_size * self.lengths.steps
        if len(stream_N) <= window:
            log.warning(
                "warning: the training text has %s tokens, no more than one batch of dataset.batch_size=%d "
                "columns x %d steps (%s), so that every segment is shorter; use more text or fewer columns",
                f"{len(stream_N):,}", self.batch_size, self.lengths.steps, f"{window:,}",
            )  # fmt: skip

    def class_weights(self, setting: object) -> None:
        """None: words have no weights.

        Raises:
            ConfigError: some are asked for.
        """
        refuse_class_weights(setting)

    def _at_epoch(self, loader: DataLoader) -> DataLoader:
        sampler: Any = loader.sampler
        sampler.set_epoch(self.trainer.current_epoch if self.trainer else 0)
        return loader


class TextSearchData(TextData):
    """The streams of a search; an epoch is one pass down the columns of the weights.

    Validation reads the architecture stream in order, in columns of its own number.
    """

    def __init__(self, *args, split: TextSplit, **kwargs):
        super().__init__(*args, **kwargs)
        self.split = split

    def prepare(self) -> None:
        """Builds the loaders once: a text that is too short is found before a run.

        Raises:
            ConfigError: too few tokens for the columns.
        """
        self.train_dataloader()
        self.val_dataloader()
        self._note_short(self.split.weight.tokens_N)

    def told(self) -> str:
        """Both streams in words."""
        weight, architecture = self.split.weight, self.split.architecture
        return f"{weight.told()} for the weights, {architecture.told()} for the architecture"

    def train_dataloader(self) -> DataLoader:
        """Segments of both streams."""
        weight_TB, architecture_TB = (
            self._columns(part.tokens_N, self.batch_size, "batch_size")
            for part in (self.split.weight, self.split.architecture)
        )
        return self._at_epoch(search_segments(weight_TB, architecture_TB, self.lengths, self.seed, WEIGHT))

    def val_dataloader(self) -> DataLoader:
        """The architecture stream in order."""
        return self._in_order(self.split.architecture.tokens_N, self.valid_batch_size, "valid_batch_size")


class TextEvaluationData(TextData):
    """The training stream, the validation stream and the test stream.

    Args:
        parts: of training and validation.
        tests: whether the test stream will be looked at; else it is not read.
    """

    def __init__(self, *args, parts: tuple[TextPart, TextPart], tests: bool = True, **kwargs):
        super().__init__(*args, **kwargs)
        self.train_part, self.valid_part = parts
        self.tests = tests

    def prepare(self) -> None:
        """Builds the loaders once: a text that is too short is found before a run.

        Raises:
            ConfigError: too few tokens for the columns.
        """
        self.train_dataloader()
        self.val_dataloader()
        if self.tests:
            self.test_dataloader()
        self._note_short(self.train_part.tokens_N)

    def told(self) -> str:
        """The streams in words."""
        return f"{self.train_part.told()} to train on, {self.valid_part.told()} held out"

    def train_dataloader(self) -> DataLoader:
        """Segments of the training stream."""
        columns_TB = self._columns(self.train_part.tokens_N, self.batch_size, "batch_size")
        return self._at_epoch(training_segments(columns_TB, self.lengths, self.seed, TRAIN))

    def val_dataloader(self) -> DataLoader:
        """The validation stream in order."""
        return self._in_order(self.valid_part.tokens_N, self.valid_batch_size, "valid_batch_size")

    def test_dataloader(self) -> DataLoader:
        """The test stream in order."""
        return self._in_order(read_tokens(self.source, "test"), self.test_batch_size, "test_batch_size")
