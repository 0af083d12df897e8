"""An evaluation as a LightningModule: an ordinary training run with drop-path and an auxiliary head."""

from collections.abc import Callable

import pytorch_lightning as pl
from torch import Tensor, nn

from nas.engine.balanced import balanced_accuracy
from nas.engine.divergence import FiniteGuard
from nas.engine.tasks import Classification
from nas.errors import require

Batch = tuple[Tensor, Tensor]
# The papers on ImageNet give top-1 and top-5 error.
TOP = 5


class EvaluationModule(pl.LightningModule):
    """Trains an evaluation network from scratch (Liu et al. 2019, section 3.2).

    Args:
        network: `forward(images) -> (logits, auxiliary logits or None)`, with `set_drop_path(rate)`.
        task: loss and score.
        optimizer: parameters -> optimiser.
        scheduler: optimiser -> schedule, stepped once an epoch.
        drop_path: probability of dropping a path at the end; it rises linearly from 0 over the epochs.
        auxiliary_weight: weight of the auxiliary head's loss.
        drop_path_epochs: over how many epochs drop-path rises, after which it stays; None for all of the
            Trainer's.

    Attributes:
        goes_back: whether a broken epoch is undone by the module itself.
    """

    goes_back = False

    def __init__(
        self,
        network: nn.Module,
        task: Classification,
        optimizer: Callable,
        scheduler: Callable,
        drop_path: float = 0.0,
        auxiliary_weight: float = 0.0,
        drop_path_epochs: int | None = None,
    ):
        super().__init__()
        require(0 <= drop_path < 1, f"recipe.drop_path={drop_path}: must be at least 0 and below 1")
        require(auxiliary_weight >= 0, f"recipe.auxiliary_weight={auxiliary_weight}: must be at least 0")
        self.network = network
        self.task = task
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.drop_path = drop_path
        self.auxiliary_weight = auxiliary_weight
        self.drop_path_epochs = drop_path_epochs
        self.guard = FiniteGuard()
        self.valid_balanced = balanced_accuracy(task)
        self.test_balanced = balanced_accuracy(task)

    def configure_optimizers(self) -> tuple[list, list]:
        """One optimiser, one schedule an epoch."""
        optimizer = self.optimizer(self.network.parameters())
        return [optimizer], [self.scheduler(optimizer)]

    def on_train_epoch_start(self) -> None:
        """Raises the drop-path rate with the epoch."""
        self.network.set_drop_path(self.drop_path_rate())

    def drop_path_rate(self) -> float:
        """The probability in the present epoch, as in the authors' code (rate * epoch / epochs)."""
        epochs = self.drop_path_epochs or max(1, self.trainer.max_epochs)
        return self.drop_path * min(self.current_epoch, epochs) / epochs

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch, the auxiliary head's share included."""
        images_BCHW, labels_B = batch
        logits_BK, auxiliary_BK = self.network(images_BCHW)
        loss = self.task.loss(logits_BK, labels_B)
        total = loss
        if auxiliary_BK is not None:
            total = loss + self.auxiliary_weight * self.task.loss(auxiliary_BK, labels_B)
        self.guard.watch("training", total, self.current_epoch, self.global_step)
        score = self.task.score(logits_BK.detach(), labels_B)
        self._record("train_loss", loss.detach(), batch)
        self._record(f"train_{self.task.metric}", score, batch)
        bar = {"loss": loss.detach(), "acc": score, "lr": self.optimizers().param_groups[0]["lr"]}
        self.log_dict(bar, prog_bar=True, logger=False, on_step=True, on_epoch=False)
        return total

    def on_train_epoch_end(self) -> None:
        """A last look at the losses of the epoch."""
        self.guard.check(self.current_epoch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and score on the held-out part."""
        self._measure("valid", batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and score on the test set; top-5 accuracy where there are more classes."""
        logits_BK = self._measure("test", batch, batch_idx)
        if logits_BK.shape[1] > TOP:
            self._record(f"test_top{TOP}_accuracy", self.task.score(logits_BK, batch[1], TOP), batch)

    def _measure(self, part: str, batch: Batch, batch_idx: int) -> Tensor:
        logits_BK, _ = self.network(batch[0])
        loss = self.task.loss(logits_BK, batch[1], train=False)
        self.guard.watch(part, loss, self.current_epoch, batch_idx)
        self._record(f"{part}_loss", loss, batch)
        self._record(f"{part}_{self.task.metric}", self.task.score(logits_BK, batch[1]), batch)
        balanced = {"valid": self.valid_balanced, "test": self.test_balanced}[part]
        if balanced is not None:
            balanced.update(logits_BK.argmax(dim=1), batch[1])
            self.log(f"{part}_balanced_accuracy", balanced, on_step=False, on_epoch=True)
        return logits_BK

    def _record(self, name: str, value: Tensor, batch: Batch) -> None:
        # Times their number, because Lightning's mean of a whole number over processes is rounded down.
        size = len(batch[1]) * self.trainer.world_size
        self.log(name, value, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)
