"""What a person sees while a run goes on: a line per epoch, and a bar at a terminal."""

import importlib.util
import logging
import math
import os
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from rich.console import Console

from nas.analysis.metrics import OF_TASKS, all_metrics, metric_of
from nas.engine.measured import Measured

log = logging.getLogger(__name__)
# Steps after the first, or seconds, whichever comes first, before a run is estimated; of a short epoch half.
ESTIMATE_STEPS, ESTIMATE_SECONDS = 20, 60.0


def wants_bar() -> bool:
    """Whether someone watches: a terminal or a notebook that can show a bar, and no CI."""
    # A program without a terminal may have no stream, or one of its own that does not say.
    seen = getattr(sys.stdout, "isatty", bool)() or _in_notebook()
    return seen and not os.environ.get("CI")


def _in_notebook() -> bool:
    """Whether what is printed appears in a notebook with widgets, in which a bar changes in its place."""
    return _to_a_kernel() and importlib.util.find_spec("ipywidgets") is not None


def _to_a_kernel() -> bool:
    """Whether what is printed goes to a notebook's own stream, and to none that stands in its place."""
    return type(sys.stdout).__module__.startswith("ipykernel.")


def console() -> Console:
    """What prints tables: as HTML in a notebook, and nowhere but to the stream that is there for it."""
    # In a kernel rich would display them beside whatever stream mutes or collects what is printed.
    return Console(force_jupyter=None if _to_a_kernel() else False)


class Clock(pl.Callback):
    """Measures epochs, says how long the rest will take, and ends a run whose time is up.

    Args:
        epochs: of the whole run, which may be cut into several trainings.
        deadline: when the run has to be over, as `time.monotonic` counts; None for never. It is stopped after
            the last epoch that fits, where the longest one so far is what an epoch takes.
        lines: whether to log what is ahead, and a line per epoch.
        expected: seconds from the first epoch to the end, where they have been foreseen.
        again: the command that continues the run.

    Attributes:
        out_of_time: whether it has asked the trainer to stop, as callbacks may for reasons of their own.
    """

    def __init__(
        self,
        epochs: int,
        deadline: float | None = None,
        lines: bool = True,
        expected: float | None = None,
        again: str = "",
    ):
        self.epochs = epochs
        self.deadline = deadline
        self.lines = lines
        self.expected = expected
        self.again = again
        self.epoch_seconds: list[float] = []
        self.out_of_time = False
        self._start = 0.0
        self._begun = False
        # The end of the first step, which pays for what is built on the way.
        self._first_step: float | None = None
        # What was foreseen counts validations too, which the first steps do not.
        self._estimated = expected is not None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the watch; the first time it says what is ahead."""
        self._start = time.monotonic()
        if self.lines and not self._begun:
            self._begun = True
            first, last = trainer.current_epoch, self.epochs - 1
            ahead = f"epoch {last}" if first == last else f"epochs {first} to {last}"
            steps = trainer.num_training_batches
            log.info("%s, %s step%s in the first", ahead, steps, "s" * (steps != 1))
            left = _epochs(self.epochs - first)
            if self.expected is None:
                log.info("expected end: not known before steps have been timed (%s)", left)
            else:
                log.info("%s", self._end(self.expected, f"{left}, as foreseen by size=auto"))
            if self.again:
                log.info("stop:       Ctrl-C at any time; go on with: %s", self.again)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Says once, in the first epoch, how long all of them will take."""
        if self._estimated or self.epoch_seconds or not self.lines:
            return
        now = time.monotonic()
        if self._first_step is None:
            self._first_step = now
            return
        spent = now - self._first_step
        steps = trainer.num_training_batches
        if not math.isfinite(steps):
            return
        if batch_idx >= min(ESTIMATE_STEPS, max(1, steps // 2)) or spent >= ESTIMATE_SECONDS:
            self._estimated = True
            log.info("%s", self._estimate(trainer, pl_module, spent / batch_idx))

    def _estimate(self, trainer: pl.Trainer, pl_module: Any, pace: float) -> str:
        left = self.epochs - trainer.current_epoch
        rests = "; alpha rests in this epoch, steps in which it moves take longer" if pl_module.rests else ""
        stages = (
            "; later stages have steps of their own"
            if (trainer.max_epochs or self.epochs) < self.epochs
            else ""
        )
        how = f"{_epochs(left)} at {pace:.3g} s per step, without validation{rests}{stages}"
        return self._end(left * trainer.num_training_batches * pace, how)

    def _end(self, seconds: float, how: str) -> str:
        """When a run is over that takes so many more seconds, or that its time limit ends before."""
        told = f"expected end: {clock_time(seconds)} (about {duration(seconds)}; {how})"
        left = None if self.deadline is None else self.deadline - time.monotonic()
        if left is None or seconds <= left:
            return told
        return f"{told}; time_limit ends it by {clock_time(max(0.0, left))}"

    def end_epoch(self, trainer: pl.Trainer) -> None:
        """Notes how long the epoch took, with its validation and analyses, and whether another one fits.

        All processes call it: they stop together.
        """
        now = time.monotonic()
        self.epoch_seconds.append(now - self._start)
        last = trainer.should_stop or trainer.current_epoch + 1 >= self.epochs
        if self.lines and not self._estimated and not last:
            # Epochs of a single step, or of a number that nobody knows.
            self._estimated = True
            left = self.epochs - trainer.current_epoch - 1
            log.info("%s", self._end(left * self.epoch_seconds[-1], f"{_epochs(left)} like the first"))
        if self.deadline is None or last:
            return
        longest = max(self.epoch_seconds)
        over = now + longest > self.deadline
        if trainer.strategy.reduce_boolean_decision(over, all=False):
            log.info("time_limit: no time for another epoch, which takes up to %s", duration(longest))
            self.out_of_time = trainer.should_stop = True

    def left(self, trainer: pl.Trainer) -> str:
        """Time to the end of the run at the pace of the last epochs, as text; empty before it is known."""
        recent = self.epoch_seconds[-5:]
        if not recent:
            return ""
        return duration(sum(recent) / len(recent) * max(0, self.epochs - trainer.current_epoch - 1))


def _epochs(number: int) -> str:
    return f"{number} epoch{'s' * (number != 1)}"


def clock_time(seconds: float) -> str:
    """What the clock will show in so many seconds: 14:32, with the day where it is another one."""
    now = datetime.now()
    then = now + timedelta(seconds=seconds)
    return f"{then:%H:%M}" if then.date() == now.date() else f"{then:%a %d %b %H:%M}"


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
        # Lines above the bar stay whole: a command that is broken in two runs as another one.
        super().__init__(leave=False, console_kwargs={"soft_wrap": True})
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
    """One line for an epoch, which counts from 0: how many are done, and what people read of its row."""
    parts = [f"epoch {int(row['epoch'])} ({int(row['epoch']) + 1}/{epochs})"]
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
