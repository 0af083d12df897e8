"""An evaluation of a recurrent cell as a LightningModule: plain descent, then averaged descent."""

import copy
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn

from nas.data.text_segments import Segment
from nas.engine.averaging import averaged_descent, averages, scaled, should_average, swapped
from nas.engine.checkpoints import save
from nas.engine.decay import optimizer_of
from nas.engine.divergence import Diverged
from nas.engine.measured import Measured
from nas.engine.tasks import Language, Result, TextBatch
from nas.errors import require_whole
from nas.files import subfolder

log = logging.getLogger(__name__)
# Nats a word. Guessing costs about 10; no training comes back from a perplexity of e^100.
EXPLODED = 100.0
STATE = "language_evaluation"


class LanguageEvaluation(Measured):
    """Trains a language model from scratch (Liu et al. 2019, appendix A.2.2; Merity et al. 2018, section 5).

    Plain descent until the validation loss has not improved for a while, then torch's ASGD, whose averaged
    weights are validated. The best weights on the validation text are kept and are what is tested. Where a
    loss is no number any more, weights and optimiser go back to the best ones, and the epoch goes on with the
    next segment: repeating it would end the same way, as its random numbers depend on its number alone. (The
    authors' code repeats epochs, with new numbers.)

    Logged: `train_loss` (of plain weights with dropout, without regularisers), `valid_loss`, `test_loss`, in
    nats a word, so that their exponentials are perplexities; `averaging`, 1 in epochs that begin with ASGD.

    Args:
        network: `forward(tokens [L, B], hidden [1, B, H] or None) -> (logits, hidden, extras)`.
        task: cross-entropy and regularisers of activations.
        optimizer: parameters -> optimiser; its rates and weight decay pass over to ASGD.
        scheduler: optimiser -> schedule, stepped once an epoch; it goes on where ASGD begins.
        nonmono: validations that are left out of the comparison with the present one, at least 1 (see
            `should_average`).
        max_rollbacks: how often a run may go back to its best weights.
        best_file: where the best weights are written whenever there are better ones: `weights` by name,
            `epoch` (from 0) and `valid_loss`; None for nowhere. What is resumed and tested comes from
            checkpoints, so that it is that of the epoch that is resumed.

    Attributes:
        columns: what the table of its epochs has besides.
        goes_back: a broken epoch is undone here.
        averaging: whether the optimiser is ASGD.
        valid_losses: those under plain descent, in order; the trigger looks at them.
        rollbacks: how often the run went back to its best weights.
        best: `weights`, `optimizer` (state), `averaging`, `epoch` and `valid_loss` of the best validation;
            None before the first.

    Raises:
        ConfigError: a number is out of range.
    """

    columns = ("averaging",)
    goes_back = True

    def __init__(
        self,
        network: nn.Module,
        task: Language,
        optimizer: Callable,
        scheduler: Callable,
        nonmono: int = 5,
        max_rollbacks: int = 10,
        best_file: Path | None = None,
    ):
        super().__init__(task)
        for key, value, least in (("nonmono", nonmono, 1), ("max_rollbacks", max_rollbacks, 0)):
            require_whole(f"recipe.{key}", value, least)
        self.network = network
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.nonmono = nonmono
        self.max_rollbacks = max_rollbacks
        self.best_file = best_file
        self.averaging = False
        self.valid_losses: list[float] = []
        self.rollbacks = 0
        self.best: dict[str, Any] | None = None
        self._broken = False
        self._rate = 1.0
        self._hidden_1BH: Tensor | None = None
        self._measured_1BH: Tensor | None = None
        self._swapped: dict[str, Tensor] | None = None

    def configure_optimizers(self) -> tuple[list, list]:
        """The optimiser that is in use and its schedule.

        Lightning calls this after `on_load_checkpoint`, so a resumed run has the kind it was stopped with.
        """
        optimizer = optimizer_of(self.optimizer, self.network)
        if self.averaging:
            optimizer = averaged_descent(optimizer)
        return [optimizer], [self.scheduler(optimizer)]

    def on_train_epoch_start(self) -> None:
        """Notes which optimiser this epoch begins with."""
        self.log("averaging", float(self.averaging), logger=False, on_step=False, on_epoch=True)

    def on_train_batch_start(self, batch: Segment, batch_idx: int) -> None:
        """Forgets the state where the text starts again."""
        self._rate = float(batch.rate)
        if batch.first:
            self._hidden_1BH = None

    def training_step(self, batch: Segment, batch_idx: int) -> Tensor:
        """Cross-entropy of a segment, regularisers included; the state is carried over to the next."""
        result, self._hidden_1BH = self._read(batch, self._hidden_1BH, train=True)
        objective = result.objective
        # Every step waits for the device here, which costs little: the loop over time has kept it waiting.
        broken = not float(objective.detach()) < EXPLODED
        self._broken = self.trainer.strategy.reduce_boolean_decision(broken, all=False)
        if not self._broken:
            self.record_result("train", result, batch)
            self.show(result, self.trainer.optimizers[0])
        return objective

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """A step with the learning rate in proportion to the length of the segment."""
        with scaled(self.trainer.optimizers[0], self._rate):
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def on_train_batch_end(self, outputs: Any, batch: Segment, batch_idx: int) -> None:
        """Undoes a step whose loss was no number; it has changed nothing that does not go back as well."""
        if self._broken:
            self._go_back(f"the training loss became nan or infinite, or exploded, in step {batch_idx + 1}")

    def on_validation_start(self) -> None:
        """With ASGD the averaged weights are measured."""
        self._measured_1BH = None
        self._swapped = None
        if self.averaging and self.trainer.state.fn == TrainerFn.FITTING:
            self._swapped = averages(self.trainer.optimizers[0], self._weights())

    def validation_step(self, batch: Segment, batch_idx: int) -> None:
        """Cross-entropy of the validation text."""
        self._measure("valid", batch)

    def on_validation_end(self) -> None:
        """Keeps the best weights, and changes to ASGD when plain descent has ceased to help."""
        self._swapped = None
        measured = self.trainer.callback_metrics.get("valid_loss")
        if self.trainer.state.fn != TrainerFn.FITTING or measured is None:
            return
        loss = float(measured)
        if not loss < EXPLODED:
            self._go_back("the validation loss became nan or infinite, or exploded, at the end")
            return
        if self.best is None or loss < self.best["valid_loss"]:
            self._keep(loss)
        if self.averaging:
            return
        if should_average(self.valid_losses, loss, self.nonmono):
            self._rebuild(True)
            if self.trainer.is_global_zero:
                log.info("epoch %d: averaged SGD begins", self.current_epoch)
        self.valid_losses.append(loss)

    def on_train_epoch_end(self) -> None:
        """Looks at the weights themselves: an epoch without validation may have ended in a spoilt step."""
        if not all(bool(parameter.isfinite().all()) for parameter in self._weights().values()):
            self._go_back("weights became nan or infinite at the end")

    def on_test_start(self) -> None:
        """The best weights on the validation text are tested; the last ones where nothing was validated."""
        self._measured_1BH = None
        self._swapped = None
        if self.best is not None:
            self._swapped = {name: value.to(self.device) for name, value in self.best["weights"].items()}

    def test_step(self, batch: Segment, batch_idx: int) -> None:
        """Cross-entropy of the test text."""
        self._measure("test", batch)

    def on_test_end(self) -> None:
        """Lets go of the best weights' copies."""
        self._swapped = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what weights and optimiser do not say."""
        checkpoint[STATE] = {
            "averaging": self.averaging,
            "valid_losses": list(self.valid_losses),
            "rollbacks": self.rollbacks,
            "best": self.best,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes it back."""
        state = checkpoint[STATE]
        self.averaging = state["averaging"]
        self.valid_losses = list(state["valid_losses"])
        self.rollbacks = state["rollbacks"]
        self.best = state["best"]

    def _weights(self) -> dict[str, nn.Parameter]:
        return dict(self.network.named_parameters())

    def _read(self, segment: Segment, hidden_1BH: Tensor | None, train: bool) -> tuple[Result, Tensor | None]:
        batch = TextBatch(segment.tokens_LB, segment.targets_LB, hidden_1BH, float(segment.rate))
        result = self.task.run(self.network, batch, train=train)
        return result, batch.next_1BH

    def _measure(self, part: str, segment: Segment) -> None:
        hidden_1BH = None if segment.first else self._measured_1BH
        with swapped(self._weights(), self._swapped):
            result, self._measured_1BH = self._read(segment, hidden_1BH, train=False)
        self.record_result(part, result, segment)

    def _keep(self, loss: float) -> None:
        optimizer = self.trainer.optimizers[0]
        found = averages(optimizer, self._weights())
        # Copied in one go: averaged weights, which the optimiser's state holds too, stay one tensor.
        self.best = copy.deepcopy(
            {
                "weights": found,
                "optimizer": optimizer.state_dict(),
                "averaging": self.averaging,
                "epoch": self.current_epoch,
                "valid_loss": loss,
            }
        )
        if self.best_file is not None and self.trainer.is_global_zero:
            subfolder(self.best_file.parent)
            save({key: self.best[key] for key in ("weights", "epoch", "valid_loss")}, self.best_file)

    def _go_back(self, what: str) -> None:
        """Weights and optimiser become those of the best validation.

        Raises:
            Diverged: there was none, or the run has gone back too often.
        """
        what = f"{what} of epoch {self.current_epoch}"
        if self.best is None:
            raise Diverged(f"{what}, before a first validation whose weights it could go back to")
        if self.rollbacks >= self.max_rollbacks:
            raise Diverged(
                f"{what}, after going back to the best weights {self.rollbacks} times "
                f"(recipe.max_rollbacks={self.max_rollbacks})"
            )
        self.rollbacks += 1
        self._broken = False
        self._hidden_1BH = None
        with torch.no_grad():
            for name, parameter in self._weights().items():
                parameter.copy_(self.best["weights"][name])
        # An optimiser works on in the tensors that it is given.
        self._rebuild(self.best["averaging"], copy.deepcopy(self.best["optimizer"]))
        if self.trainer.is_global_zero:
            log.warning(
                "warning: %s; back to the weights of epoch %d (valid perplexity %.2f), time %d of at most %d",
                what,
                self.best["epoch"],
                math.exp(self.best["valid_loss"]),
                self.rollbacks,
                self.max_rollbacks,
            )

    def _rebuild(self, averaging: bool, state: dict[str, Any] | None = None) -> None:
        """Another optimiser; learning rates and the schedule stay where they are."""
        strategy = self.trainer.strategy
        (before,), schedules = strategy.optimizers, strategy.lr_scheduler_configs
        rates: list[dict[str, Any]] = [
            {key: group[key] for key in ("lr", "initial_lr") if key in group} for group in before.param_groups
        ]
        self.averaging = averaging
        strategy.setup_optimizers(self.trainer)
        (optimizer,) = strategy.optimizers
        if state is not None:
            optimizer.load_state_dict(state)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group.update(rate)
        for new, old in zip(strategy.lr_scheduler_configs, schedules, strict=True):
            new.scheduler.load_state_dict(old.scheduler.state_dict())
