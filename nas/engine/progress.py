"""What a person sees while a run goes on: a bar at a terminal, a line an epoch elsewhere."""

import logging
import os
import sys
import time
from collections.abc import Iterable, Sequence

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

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
        """Loss, accuracy or perplexity, learning rate and time left."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        shown: dict[str, Shown] = {
            name.replace("perplexity", "ppl"): _short(name, value) for name, value in metrics.items()
        }
        left = self.clock.left(trainer)
        return shown | ({"left": left} if left else {})


def _short(name: str, value: Shown) -> Shown:
    if not isinstance(value, float):
        return value
    return perplexity(value) if name.endswith(("perplexity", "ppl")) else f"{value:.4g}"


def perplexity(value: float) -> str:
    """A perplexity as people write it, 123.4; from 100,000 on, where a network is lost, in powers of ten."""
    return f"{value:.1f}" if value < 1e5 else f"{value:.2g}"


def epoch_line(row: dict, epochs: int, left: str) -> str:
    """One line for an epoch: the numbers of its row that people read."""
    parts = [f"epoch {int(row['epoch']) + 1}/{epochs}"]
    for key, value in row.items():
        if value is None or value == "" or key == "epoch":
            continue
        if key.endswith("_balanced_accuracy"):
            continue  # in the table; beside the plain one it would say little more
        if key.endswith("_accuracy"):
            parts.append(f"{key[: -len('_accuracy')]} acc {100 * value:.1f}%")
        elif key.endswith("_perplexity"):
            parts.append(f"{key[: -len('_perplexity')]} ppl {perplexity(value)}")
        elif key.endswith("_loss") and key != "architecture_step_loss":
            parts.append(f"{key[: -len('_loss')]} loss {value:.3f}")
        elif key == "learning_rate":
            parts.append(f"lr {value:.3g}")
        elif key == "num_skip":
            parts.append(f"skips {int(value)}")
        elif key == "hessian_eigenvalue":
            parts.append(f"eigenvalue {value:.3g}")
    return "  ".join([*parts, f"left {left}"] if left else parts)


def watch(what: str, items: Sequence) -> Iterable:
    """The items, with a bar where someone watches."""
    from rich.progress import track

    return track(items, what, transient=True) if wants_bar() else items
