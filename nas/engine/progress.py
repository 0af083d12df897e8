"""What a person sees while a run goes on: a bar at a terminal, a line per epoch elsewhere."""

import logging
import os
import sys
import time
from collections.abc import Iterable, Sequence

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

from nas.analysis.metrics import OF_TASKS, all_metrics, metric_of
from nas.engine.measured import Measured

log = logging.getLogger(__name__)


def wants_bar() -> bool:
    """Whether someone watches: a terminal, and no CI."""
    return sys.stdout.isatty() and not os.environ.get("CI")


class Clock(pl.Callback):
    """Measures epochs and says how long the rest will take.

    Args:
        epochs: of the whole run, which may be cut into several trainings.
    """

    def __init__(self, epochs: int):
        self.epochs = epochs
        self.epoch_seconds: list[float] = []
        self._start = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the watch."""
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes how long the epoch took, its validation included."""
        self.epoch_seconds.append(time.monotonic() - self._start)

    def left(self, trainer: pl.Trainer) -> str:
        """Time to the end of the run at the pace of the last epochs, as text; empty before it is known."""
        recent = self.epoch_seconds[-5:]
        if not recent:
            return ""
        return duration(sum(recent) / len(recent) * max(0, self.epochs - trainer.current_epoch - 1))


def duration(seconds: float) -> str:
    """Seconds as people write them: 45s, 12m05s, 3h20m."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"


# A number, a text, or what Lightning has for several loggers.
Shown = int | str | float | dict[str, float]


class Bar(RichProgressBar):
    """Lightning's rich bar with short numbers and the time left of the whole run."""

    def __init__(self, clock: Clock):
        super().__init__(leave=False)
        self.clock = clock

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Shown]:
        """Loss, the task's metric, learning rate and time left."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        assert isinstance(pl_module, Measured)
        for metric in OF_TASKS[pl_module.task.domain]:
            if metric.of_loss is not None and isinstance(loss := metrics.get("loss"), float):
                metrics[metric.word] = metric.of_loss(loss)
        briefs = {metric.word: metric.brief for metric in all_metrics()}
        shown: dict[str, Shown] = {
            name: briefs.get(name, "{:.4g}".format)(value) if isinstance(value, float) else value
            for name, value in metrics.items()
        }
        left = self.clock.left(trainer)
        return shown | ({"left": left} if left else {})


def epoch_line(row: dict, epochs: int, left: str) -> str:
    """One line for an epoch: the numbers of its row that people read."""
    parts = [f"epoch {int(row['epoch']) + 1}/{epochs}"]
    for key, value in row.items():
        _, metric = metric_of(key)
        if value not in (None, "") and metric is not None and metric.word and key.endswith(metric.name):
            part = key.removesuffix(metric.name)[:-1]
            parts.append(f"{part} {metric.word} {metric.brief(value)}".lstrip())
    return "  ".join([*parts, f"left {left}"] if left else parts)


def watch(what: str, items: Sequence) -> Iterable:
    """The items, with a bar where someone watches."""
    from rich.progress import track

    return track(items, what, transient=True) if wants_bar() else items
