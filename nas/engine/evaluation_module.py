"""An evaluation as a LightningModule: an ordinary training run with drop-path and an auxiliary head."""

from collections.abc import Callable

from torch import Tensor, nn

from nas.engine.confusion import Counted
from nas.engine.decay import optimizer_of
from nas.engine.divergence import FiniteGuard
from nas.engine.measured import Measured
from nas.engine.tasks import Classification
from nas.errors import require, require_one_of

Batch = tuple[Tensor, Tensor]
RAMPS = ("epoch", "step")
# Parts of the data, where a message has another word than columns.
WORDS = {"valid": "validation"}


class EvaluationModule(Measured):
    """Trains an evaluation network from scratch (Liu et al. 2019, section 3.2).

    Args:
        network: `forward(images) -> (logits, auxiliary logits or None)`, with `set_drop_path(rate)`.
        task: loss and score.
        optimizer: parameters -> optimiser.
        scheduler: optimiser -> schedule, stepped once an epoch.
        drop_path: probability of dropping a path at the end; it rises linearly from 0.
        auxiliary_weight: weight of the auxiliary head's loss.
        drop_path_epochs: over how many epochs drop-path rises, after which it stays; None for all of the
            Trainer's.
        drop_path_ramp: it rises once per `epoch` (DARTS's code: rate * epoch / epochs) or with every `step`
            (DSO-NAS's: rate * (steps so far + 1) / steps).
        counted: counts which classes are taken for which; None where nobody looks.

    Attributes:
        columns: what the table of its epochs has besides.
        goes_back: whether a broken epoch is undone by the module itself.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    task: Classification
    columns = ("drop_path",)
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
        drop_path_ramp: str = "epoch",
        counted: Counted | None = None,
    ):
        super().__init__(task, "valid", "test")
        require_one_of("recipe.drop_path_ramp", drop_path_ramp, RAMPS)
        require(0 <= drop_path < 1, f"recipe.drop_path={drop_path}: must be at least 0 and below 1")
        require(auxiliary_weight >= 0, f"recipe.auxiliary_weight={auxiliary_weight}: must be at least 0")
        self.network = network
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.drop_path = drop_path
        self.drop_path_ramp = drop_path_ramp
        self.auxiliary_weight = auxiliary_weight
        self.drop_path_epochs = drop_path_epochs
        self.counted = counted
        self.guard = FiniteGuard()

    def configure_optimizers(self) -> tuple[list, list]:
        """One optimiser, one schedule an epoch."""
        optimizer = optimizer_of(self.optimizer, self.network)
        return [optimizer], [self.scheduler(optimizer)]

    def drop_path_rate(self, batch: int = 0) -> float:
        """The drop-path rate before a batch of the present epoch, counted from 0."""
        epochs = self.drop_path_epochs or max(1, self.trainer.max_epochs or 0)
        if self.drop_path_ramp == "epoch":
            return self.drop_path * min(self.current_epoch, epochs) / epochs
        batches = max(1, int(self.trainer.num_training_batches))
        return self.drop_path * min(1.0, (self.current_epoch * batches + batch + 1) / (epochs * batches))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Raises the drop-path rate, where it is time."""
        if batch_idx == 0 or self.drop_path_ramp == "step":
            self.network.set_drop_path(self.drop_path_rate(batch_idx))  # type: ignore[operator]  # it has one

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch, the auxiliary head's share included."""
        result = self.task.train(self.network, batch, self.auxiliary_weight)
        self.guard.watch("training", result.objective, self.current_epoch, self.global_step)
        self.record_result("train", result, batch)
        self.show(result, self.trainer.optimizers[0])
        return result.objective

    def on_train_epoch_end(self) -> None:
        """A last look at the losses of the epoch."""
        self.guard.check(self.current_epoch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and metrics on the held-out part."""
        self._measure("valid", batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """All processes together sum up what they have counted."""
        self._end("valid")

    def on_test_epoch_end(self) -> None:
        """The same."""
        self._end("test")

    def _end(self, part: str) -> None:
        if self.counted is not None:
            self.counted.end(part)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and metrics on the test set."""
        self._measure("test", batch, batch_idx)

    def _measure(self, part: str, batch: Batch, batch_idx: int) -> None:
        result = self.task.measure(self.network, batch)
        self.guard.watch(WORDS.get(part, part), result.loss, self.current_epoch, batch_idx)
        self.record_result(part, result, batch)
        if self.counted is not None:
            self.counted.update(part, result.answers, batch[1])
