"""What an evaluation leaves of its mistakes: which classes were taken for which, in `confusion.csv`."""

import logging
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from nas.analysis.confusion import FILE, MOST, confusion
from nas.engine.run_folder import RunFolder
from nas.files import write_text

log = logging.getLogger(__name__)


class Counted(torch.nn.Module):
    """Counts, over batches and processes, which classes are taken for which on a part of the data.

    Args:
        part: `test` or `valid`.
        num_classes: K.
    """

    def __init__(self, part: str, num_classes: int):
        super().__init__()
        self.part = part
        self.matrix = MulticlassConfusionMatrix(num_classes, validate_args=False)
        self.counts: Tensor | None = None

    def update(self, part: str, answers_B: Tensor | None, labels_B: Tensor) -> None:
        """Counts a batch; of other parts nothing."""
        if part == self.part and answers_B is not None:
            self.matrix.update(answers_B, labels_B)

    def end(self, part: str) -> None:
        """Sums up what all processes have counted, int64 [K, K] in `counts`, and begins anew."""
        if part == self.part:
            self.counts = self.matrix.compute().cpu()
            self.matrix.reset()


def counted(part: str | None, num_classes: int) -> Counted | None:
    """What counts on a part of the data; None where there is no part, or of how many classes nobody looks.

    Args:
        part: `test` or `valid`; None for neither.
        num_classes: K.
    """
    if num_classes > MOST:
        log.info("no %s: %d classes are more than the %d of which pairs are counted", FILE, num_classes, MOST)
    return None if part is None or not 2 <= num_classes <= MOST else Counted(part, num_classes)


class ConfusionWriter(pl.Callback):
    """Writes `confusion.csv`: after the test, or after each validation where the test set is left alone.

    Args:
        folder: of the run.
        names: of the classes; None where they are not known.
    """

    def __init__(self, folder: RunFolder, names: Sequence[str] | None):
        self.folder, self.names = folder, names

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Before the epoch's checkpoint, so that a run that is killed after it lacks nothing."""
        self._write(trainer, pl_module, "valid")

    def on_test_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Once, at the end."""
        self._write(trainer, pl_module, "test")

    def _write(self, trainer: pl.Trainer, pl_module: Any, part: str) -> None:
        found = pl_module.counted
        if not trainer.is_global_zero or found is None or found.part != part or found.counts is None:
            return
        write_text(self.folder / FILE, confusion(part, self.names, found.counts.tolist()).text())
