"""A search as a LightningModule: alternate steps of architecture and weights, by hand."""

import logging
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from nas.data.text_pieces import Piece, SearchPiece
from nas.engine.averaging import scaled
from nas.engine.balanced import balanced_accuracy
from nas.engine.divergence import FiniteGuard
from nas.engine.seeding import lent
from nas.engine.tasks import Language, Result, Task, TextBatch
from nas.methods.functional import frozen
from nas.methods.method import Method
from nas.methods.updates import Bilevel

log = logging.getLogger(__name__)


class SearchModule(pl.LightningModule):
    """Every step: an architecture step on a batch of the architecture split, then a weight step (alg. 1).

    How often alpha steps, or whether both step on one batch, is the method's to say.

    Args:
        supernet: `forward(images, op_weights)`.
        method: owns alpha, and says how alpha moves.
        task: runs the supernet on a batch; its loss and score.

    Attributes:
        goes_back: whether a broken epoch is undone by the module itself.
        iteration: search steps so far. Lightning's `global_step` counts both optimisers.
        shared: where op weights are drawn from if all processes are to have the same draw; None for torch's
            global generator, which each process has of its own.
    """

    goes_back = False

    def __init__(self, supernet: nn.Module, method: Method, task: Task):
        super().__init__()
        self.automatic_optimization = False
        self.supernet = supernet
        self.method = method
        self.task = task
        self.guard = FiniteGuard()
        self.balanced = balanced_accuracy(task)
        self.weights: list[Tensor] = list(supernet.parameters())
        # A plain number: a tensor would make every step wait for a GPU.
        self.iteration = 0
        self.shared: torch.Generator | None = None
        self.recent_batches: list[tuple[Any, Any]] = []
        self.keep_batches = 0

    def configure_optimizers(self) -> tuple[list, list]:
        """The weight optimiser with its schedule, and the architecture optimiser."""
        weight = self.method.weight_optimizer(self.weights)
        return [weight, self.method.architecture_optimizer(self.method.alphas())], [
            self.method.weight_scheduler(weight)
        ]

    def loss(self, batch: Any, op_weights: dict[str, Tensor] | None = None) -> Tensor:
        """Loss of a batch at the current weights and alpha, with a fresh draw of op weights or given ones."""
        # Autocast keeps half-precision copies of weights, which an unrolled step changes between its passes.
        torch.clear_autocast_cache()
        op_weights = self.op_weights() if op_weights is None else op_weights
        return self.task.run(self.supernet, batch, op_weights).loss

    def op_weights(self) -> dict[str, Tensor]:
        """The method's op weights, drawn anew where they are drawn."""
        with lent(self.shared):
            return self.method.op_weights()

    def seed_shared(self, seed: int) -> None:
        """Seeds the generator that several processes share, if the method wants one."""
        if self.method.draws_alike:
            self.shared = torch.Generator(self.device).manual_seed(seed)

    def parts(self, batch: Any) -> tuple[Any, Any]:
        """The two batches of a step, of the weight and of the architecture split."""
        return batch["weight"], batch["architecture"]

    def bilevel(self) -> Bilevel:
        """The problem as the method's update sees it."""
        weight_optimizer, _ = self.optimizers(use_pl_optimizer=False)
        average = self._average if self.trainer.world_size > 1 else None
        generators = () if self.shared is None else (self.shared,)
        return Bilevel(
            self.loss,
            self.supernet,
            self.weights,
            self.method.alphas(),
            weight_optimizer,
            average,
            generators,
        )

    @torch.no_grad()
    def _average(self, tensors: Sequence[Tensor]) -> None:
        """Averages over processes, in place, what is of one type in one operation."""
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            alike = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat_N = torch.cat([tensor.reshape(-1) for tensor in alike])
            flat_N = self.trainer.strategy.reduce(flat_N, reduce_op="mean")
            for tensor, part_N in zip(alike, flat_N.split([one.numel() for one in alike]), strict=True):
                tensor.copy_(part_N.view(tensor.shape))

    def _average_statistics(self) -> None:
        """Gives all processes the same running statistics of batch norm, the mean of theirs.

        Each normalises with the statistics of its own batches. DDP's own copying of buffers does not happen
        where a module optimises by hand.
        """
        if self.trainer.world_size > 1:
            buffers = [buffer for buffer in self.supernet.buffers() if buffer.is_floating_point()]
            self._average(buffers)

    def on_validation_start(self) -> None:
        """Validates one network, whatever the number of processes."""
        self._average_statistics()

    def on_train_epoch_start(self) -> None:
        """Forgets the last epoch's batches, which a resumed run would not have."""
        self.recent_batches = []

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One architecture step where the schedule has one, one weight step."""
        self._step(*self.parts(batch))

    def _step(self, weight_batch: Any, architecture_batch: Any) -> None:
        if self.keep_batches and architecture_batch is not None:
            self.recent_batches = [*self.recent_batches, (weight_batch, architecture_batch)][
                -self.keep_batches :
            ]
        moves = self.method.moves(self.current_epoch, self.iteration)
        if moves and not self.method.joint:
            self._architecture_step(weight_batch, architecture_batch)
        self._weight_step(weight_batch, moves and self.method.joint)
        self.iteration += 1

    def _architecture_step(self, weight_batch: Any, architecture_batch: Any) -> None:
        found = self.method.gradient(self.bilevel(), weight_batch, architecture_batch)
        self._watch("architecture", found.loss)
        for alpha_EO, gradient_EO in zip(self.method.alphas(), found.gradients, strict=True):
            alpha_EO.grad = gradient_EO.to(alpha_EO.dtype)
        self._step_architecture()
        self._record("architecture_step_loss", found.loss, _size(architecture_batch))

    def _step_architecture(self) -> None:
        weight_optimizer, optimizer = self.optimizers()
        if self.method.tied_rate:
            for group in optimizer.param_groups:
                group["lr"] = weight_optimizer.param_groups[0]["lr"]
        _, plain = self.optimizers(use_pl_optimizer=False)
        with self.method.stepping(plain):
            optimizer.step()
        optimizer.zero_grad()

    def _weight_step(self, batch: Any, joint: bool = False) -> None:
        """One step of the weights; with `joint` of alpha too, by the same backward pass."""
        optimizer, _ = self.optimizers()
        alphas = self.method.alphas()
        with frozen([] if joint else alphas):
            result = self.task.run(self.supernet, batch, self.op_weights())
            self._watch("weight", result.loss)
            optimizer.zero_grad()
            self.manual_backward(result.objective)
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
            self._record("architecture_step_loss", result.loss.detach(), result.size)
        self._record_result("weight", result)
        bar = {"loss": result.loss.detach(), "lr": optimizer.param_groups[0]["lr"]}
        if result.score is not None:
            bar["acc"] = result.score
        else:
            bar["ppl"] = result.loss.detach().exp()
        self.log_dict(bar, prog_bar=True, logger=False, on_step=True, on_epoch=False)

    def _watch(self, name: str, loss: Tensor) -> None:
        self.guard.watch(name, loss, self.current_epoch, self.iteration)

    def _record(self, name: str, value: Tensor, size: int) -> None:
        # Times their number, because Lightning's mean of a whole number over processes is rounded down.
        size *= self.trainer.world_size
        self.log(name, value, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)

    def _record_result(self, part: str, result: Result) -> None:
        self._record(f"{part}_loss", result.loss.detach(), result.size)
        if result.score is not None:
            self._record(f"{part}_{self.task.metric}", result.score, result.size)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Loss and score on the architecture split, with BN's running statistics."""
        result = self.task.run(self.supernet, batch, self.op_weights(), train=False)
        self.guard.watch("architecture validation", result.loss, self.current_epoch, batch_idx)
        self._record_result("architecture", result)
        if self.balanced is not None:
            self.balanced.update(result.answers, batch[1])
            self.log("architecture_balanced_accuracy", self.balanced, on_step=False, on_epoch=True)

    def on_train_epoch_end(self) -> None:
        """Steps the learning rate, after the epoch has been recorded."""
        self._average_statistics()
        self.guard.check(self.current_epoch)
        self.lr_schedulers().step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leaves out what cannot be read back as plain containers, and adds the count of steps."""
        checkpoint.pop("hyper_parameters", None)
        checkpoint["iteration"] = self.iteration

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on counting."""
        self.iteration = checkpoint["iteration"]


class LanguageSearch(SearchModule):
    """A search on text: the state of either stream passes from one piece to the next, without a gradient.

    The stream of the weights and that of the architecture are read side by side, each with a state of its
    own, and both start anew with the epoch (the authors' code for language models).
    """

    def __init__(self, supernet: nn.Module, method: Method, task: Language):
        super().__init__(supernet, method, task)
        self._hidden: dict[str, Tensor | None] = {}

    def parts(self, batch: SearchPiece) -> tuple[TextBatch, TextBatch]:
        """The two pieces of a step, with their states."""
        return self._batch("weight", batch.weight), self._batch("architecture", batch.architecture)

    def _batch(self, stream: str, piece: Piece) -> TextBatch:
        hidden_1BH = None if piece.first else self._hidden.get(stream)
        return TextBatch(piece.tokens_LB, piece.targets_LB, hidden_1BH, piece.rate)

    def _step(self, weight_batch: TextBatch, architecture_batch: TextBatch) -> None:
        # The virtual step of second order takes this step's rate too.
        with scaled(self.optimizers()[0], weight_batch.rate):
            super()._step(weight_batch, architecture_batch)
        self._hidden["weight"] = weight_batch.next_1BH
        # None where the architecture rests: its stream has not been read.
        self._hidden["architecture"] = architecture_batch.next_1BH

    def validation_step(self, batch: Piece, batch_idx: int) -> None:
        """Loss on a piece of the validation stream, from the state that the one before left."""
        piece = self._batch("validation", batch)
        super().validation_step(piece, batch_idx)
        self._hidden["validation"] = piece.next_1BH


def search_module(supernet: nn.Module, method: Method, task: Task) -> SearchModule:
    """The search of a task."""
    return (LanguageSearch if isinstance(task, Language) else SearchModule)(supernet, method, task)


def _size(batch: Any) -> int:
    return batch.tokens_LB.numel() if isinstance(batch, TextBatch) else len(batch[1])
