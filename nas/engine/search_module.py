"""A search as a LightningModule: alternate steps of architecture and weights, by hand."""

import logging
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from nas.engine.divergence import FiniteGuard
from nas.engine.tasks import Classification
from nas.methods.functional import frozen
from nas.methods.method import Method
from nas.methods.updates import Bilevel

log = logging.getLogger(__name__)
Batch = tuple[Tensor, Tensor]


class SearchModule(pl.LightningModule):
    """Every step: an architecture step on a batch of the architecture split, then a weight step (alg. 1).

    How often alpha steps, or whether both step on one batch, is the method's to say.

    Args:
        supernet: `forward(images, op_weights)`.
        method: owns alpha, and says how alpha moves.
        task: loss and score.

    Attributes:
        iteration: search steps so far. Lightning's `global_step` counts both optimisers.
    """

    def __init__(self, supernet: nn.Module, method: Method, task: Classification):
        super().__init__()
        self.automatic_optimization = False
        self.supernet = supernet
        self.method = method
        self.task = task
        self.guard = FiniteGuard()
        self.weights: list[Tensor] = list(supernet.parameters())
        # A plain number: a tensor would make every step wait for a GPU.
        self.iteration = 0
        self.recent_batches: list[tuple[Batch, Batch]] = []
        self.keep_batches = 0

    def configure_optimizers(self) -> tuple[list, list]:
        """The weight optimiser with its schedule, and the architecture optimiser."""
        weight = self.method.weight_optimizer(self.weights)
        return [weight, self.method.architecture_optimizer(self.method.alphas())], [
            self.method.weight_scheduler(weight)
        ]

    def loss(self, batch: Batch, op_weights: dict[str, Tensor] | None = None) -> Tensor:
        """Loss of a batch at the current weights and alpha, with a fresh draw of op weights or given ones."""
        # Autocast keeps half-precision copies of weights, which an unrolled step changes between its passes.
        torch.clear_autocast_cache()
        op_weights = self.method.op_weights() if op_weights is None else op_weights
        return self.task.loss(self.supernet(batch[0], op_weights), batch[1])

    def bilevel(self) -> Bilevel:
        """The problem as the method's update sees it."""
        weight_optimizer, _ = self.optimizers(use_pl_optimizer=False)
        average = self._average if self.trainer.world_size > 1 else None
        return Bilevel(
            self.loss, self.supernet, self.weights, self.method.alphas(), weight_optimizer, average
        )

    def _average(self, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            tensor.copy_(self.trainer.strategy.reduce(tensor, reduce_op="mean"))

    def on_train_epoch_start(self) -> None:
        """Forgets the last epoch's batches, which a resumed run would not have."""
        self.recent_batches = []

    def training_step(self, batch: dict[str, Batch], batch_idx: int) -> None:
        """One architecture step where the schedule has one, one weight step."""
        weight_batch, architecture_batch = batch["weight"], batch["architecture"]
        if self.keep_batches:
            self.recent_batches = [*self.recent_batches, (weight_batch, architecture_batch)][
                -self.keep_batches :
            ]
        moves = self.method.moves(self.current_epoch, self.iteration)
        if moves and not self.method.joint:
            self._architecture_step(weight_batch, architecture_batch)
        self._weight_step(weight_batch, moves and self.method.joint)
        self.iteration += 1

    def _architecture_step(self, weight_batch: Batch, architecture_batch: Batch) -> None:
        found = self.method.gradient(self.bilevel(), weight_batch, architecture_batch)
        self._watch("architecture", found.loss)
        for alpha_EO, gradient_EO in zip(self.method.alphas(), found.gradients, strict=True):
            alpha_EO.grad = gradient_EO.to(alpha_EO.dtype)
        self._step_architecture()
        self._record("architecture_step_loss", found.loss, architecture_batch)

    def _step_architecture(self) -> None:
        weight_optimizer, optimizer = self.optimizers()
        if self.method.tied_rate:
            for group in optimizer.param_groups:
                group["lr"] = weight_optimizer.param_groups[0]["lr"]
        _, plain = self.optimizers(use_pl_optimizer=False)
        with self.method.stepping(plain):
            optimizer.step()
        optimizer.zero_grad()

    def _weight_step(self, batch: Batch, joint: bool = False) -> None:
        """One step of the weights; with `joint` of alpha too, by the same backward pass."""
        optimizer, _ = self.optimizers()
        images_BCHW, labels_B = batch
        alphas = self.method.alphas()
        with frozen([] if joint else alphas):
            logits_BK = self.supernet(images_BCHW, self.method.op_weights())
            loss = self.task.loss(logits_BK, labels_B)
            self._watch("weight", loss)
            optimizer.zero_grad()
            self.manual_backward(loss)
        if self.method.clip is not None:
            self.clip_gradients(optimizer, gradient_clip_val=self.method.clip, gradient_clip_algorithm="norm")
        if self.method.clip_value is not None:
            value = self.method.clip_value
            self.clip_gradients(optimizer, gradient_clip_val=value, gradient_clip_algorithm="value")
        optimizer.step()
        if joint:
            for alpha_EO, anchor_EO in zip(alphas, self.method.anchor_gradients(), strict=True):
                alpha_EO.grad = anchor_EO if alpha_EO.grad is None else alpha_EO.grad + anchor_EO
            self._step_architecture()
            self._record("architecture_step_loss", loss.detach(), batch)
        score = self.task.score(logits_BK.detach(), labels_B)
        self._record("weight_loss", loss.detach(), batch)
        self._record(f"weight_{self.task.metric}", score, batch)
        bar = {"loss": loss.detach(), "acc": score, "lr": optimizer.param_groups[0]["lr"]}
        self.log_dict(bar, prog_bar=True, logger=False, on_step=True, on_epoch=False)

    def _watch(self, name: str, loss: Tensor) -> None:
        self.guard.watch(name, loss, self.current_epoch, self.iteration)

    def _record(self, name: str, value: Tensor, batch: Batch) -> None:
        self.log(name, value, on_step=False, on_epoch=True, batch_size=len(batch[1]), sync_dist=True)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and score on the architecture split, with BN's running statistics."""
        logits_BK = self.supernet(batch[0], self.method.op_weights())
        self._record("architecture_loss", self.task.loss(logits_BK, batch[1], train=False), batch)
        self._record(f"architecture_{self.task.metric}", self.task.score(logits_BK, batch[1]), batch)

    def on_train_epoch_end(self) -> None:
        """Steps the learning rate, after the epoch has been recorded."""
        self.guard.check(self.current_epoch)
        self.lr_schedulers().step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leaves out what cannot be read back as plain containers, and adds the count of steps."""
        checkpoint.pop("hyper_parameters", None)
        checkpoint["iteration"] = self.iteration

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on counting."""
        self.iteration = checkpoint["iteration"]
