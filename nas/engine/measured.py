"""What modules log of an epoch: the means of the loss and of a task's metrics over all processes."""

from collections.abc import Collection
from typing import Any, cast

import pytorch_lightning as pl
import torch
import torchmetrics
from torch import nn

from nas.engine.metrics import log_mean
from nas.engine.tasks import Result, Task

# The column of the loss by which alpha moves.
MOVED = "architecture_step_loss"


class Measured(pl.LightningModule):
    """A module that trains for a task and logs what the task measures.

    Args:
        task: what is learnt.
        parts: those that are measured as a whole too, not batch by batch alone.

    Attributes:
        gives_up: whether the present epoch is to leave no checkpoint.
        unmeasured: columns of steps that the present epoch has had none of.
        num_optimizers: those whose states are in a checkpoint.
    """

    gives_up: bool = False
    unmeasured: tuple[str, ...] = ()
    num_optimizers: int = 1

    def __init__(self, task: Task, *parts: str):
        super().__init__()
        self.task = task
        gathered = {f"{part}_{name}": total for part in parts for name, total in task.totals(part).items()}
        self.totals = nn.ModuleDict(gathered)

    @property
    def rests(self) -> bool:
        """Whether later epochs do more than this one."""
        return False

    def needed_epochs(self) -> Collection[int]:
        """Epochs whose checkpoints are to be kept beside the newest."""
        return ()

    def record_result(self, part: str, result: Result, batch: Any) -> None:
        """Logs the loss of a batch and what the task measures on this part of the data."""
        log_mean(self, f"{part}_loss", result.loss.detach(), result.size)
        for metric in self.task.metrics:
            column = metric.column(part)
            if part in metric.parts and metric.name in result.scores:
                log_mean(self, column, result.scores[metric.name], result.size)
            elif column in self.totals:
                total = cast(torchmetrics.Metric, self.totals[column])
                total.update(self.task.predictions(metric.name, result), batch[1])
                self.log(column, total, logger=False, on_step=False, on_epoch=True)

    def show(self, result: Result, optimizer: torch.optim.Optimizer) -> None:
        """Tells the bar of a step, and the loggers now and then.

        What follows from the loss the bar works out itself.
        """
        bar = {"loss": result.loss.detach(), "lr": optimizer.param_groups[0]["lr"]}
        for metric in self.task.metrics:
            if metric.word and metric.name in result.scores:
                bar[metric.word] = result.scores[metric.name]
        self.log_dict(bar, prog_bar=True, on_step=True, on_epoch=False)
