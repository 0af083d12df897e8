"""A search as a LightningModule: alternate steps of architecture and weights, by hand.

On text the state passes from one segment to the next.
"""

import copy
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nas.data.text_segments import SearchSegment, Segment
from nas.engine.averaging import scaled
from nas.engine.divergence import FiniteGuard
from nas.engine.measured import MOVED, Measured
from nas.engine.metrics import log_mean
from nas.engine.step import Frame, Step
from nas.engine.tasks import Language, Task, TextBatch
from nas.engine.watching import KEY, Watch
from nas.methods.method import Method
from nas.methods.monitors import Seen
from nas.methods.updates import Bilevel
from nas.op_weights import OpWeights

log = logging.getLogger(__name__)


class _Lightning(Frame):
    """Lightning's part in a step: precision, several processes, and the count of steps."""

    def __init__(self, module: "SearchModule"):
        self.module = module

    def backward(self, objective: Tensor) -> None:
        self.module.manual_backward(objective)

    def clip(self, optimizer: torch.optim.Optimizer, norm: float | None, value: float | None) -> None:
        for kind, limit in (("norm", norm), ("value", value)):
            if limit is not None:
                self.module.clip_gradients(optimizer, gradient_clip_val=limit, gradient_clip_algorithm=kind)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        plain = self.module.optimizers(use_pl_optimizer=False)
        counted = self.module.optimizers()
        assert isinstance(plain, list) and isinstance(counted, list)  # that of the weights and that of alpha
        next(wrapper for wrapper, raw in zip(counted, plain, strict=True) if raw is optimizer).step()

    def average(self) -> Callable[[Sequence[Tensor]], None] | None:
        return self.module.average if self.module.trainer.world_size > 1 else None

    def watch(self, name: str, loss: Tensor) -> None:
        self.module.watch(name, loss)


class SearchModule(Measured):
    """Every step: an architecture step on a batch of the architecture split, then a weight step (alg. 1).

    How often alpha steps, or whether both step on one batch, is the method's to say.

    Args:
        supernet: `forward(images, op_weights)`.
        method: owns alpha, and says how alpha moves.
        task: runs the supernet on a batch; its loss and score.

    Attributes:
        goes_back: whether a broken epoch is undone by the module itself.
        iteration: search steps so far. Lightning's `global_step` counts both optimisers.
        search_step: what is done in a step.
        monitoring: the method's monitors.
    """

    goes_back = False
    num_optimizers = 2

    def __init__(self, supernet: nn.Module, method: Method, task: Task):
        super().__init__(task, "architecture")
        self.automatic_optimization = False
        self.supernet = supernet
        self.method = method
        self.guard = FiniteGuard()
        self.search_step = Step(supernet, method, task, _Lightning(self))
        self.weights: list[Tensor] = self.search_step.weights
        # A plain number: a tensor would make every step wait for a GPU.
        self.iteration = 0
        self.recent_batches: list[tuple[Any, Any]] = []
        self.keep_batches = 0
        self.monitoring = Watch(method.monitors)

    def configure_optimizers(self) -> tuple[list, list]:
        """The weight optimiser with its schedule, and the architecture optimiser."""
        optimizers = self.search_step.build_optimizers()
        assert self.method.weight_scheduler is not None  # it comes with the optimisers
        return optimizers, [self.method.weight_scheduler(optimizers[0])]

    @property
    def rests(self) -> bool:
        """Whether alpha rests in this epoch, and moves in later ones."""
        return self.method.learns and not self.method.active(self.current_epoch)

    def loss(self, batch: Any, op_weights: dict[str, Tensor] | None = None) -> Tensor:
        """Loss of a batch at the current weights and alpha, with a fresh draw of op weights or given ones."""
        return self.search_step.loss(batch, op_weights)

    def seed_shared(self, seed: int) -> None:
        """Seeds the generator that several processes share, if the method wants one."""
        if self.method.draws_alike:
            self.search_step.shared = torch.Generator(self.device).manual_seed(seed)

    def parts(self, batch: Any) -> tuple[Any, Any]:
        """The two batches of a step, of the weight and of the architecture split."""
        return batch["weight"], batch["architecture"]

    def bilevel(self) -> Bilevel:
        """The problem as the method's update sees it."""
        return self.search_step.bilevel()

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """Averages over processes, in place, what is of one type in one operation."""
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            alike = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat_N = torch.cat([tensor.reshape(-1) for tensor in alike])
            flat_N = self.trainer.strategy.reduce(flat_N, reduce_op="mean")
            for tensor, part_N in zip(alike, flat_N.split([t.numel() for t in alike]), strict=True):
                tensor.copy_(part_N.view(tensor.shape))

    def _average_statistics(self) -> None:
        """Gives all processes the same running statistics of batch norm, the mean of theirs.

        Each normalises with the statistics of its own batches. DDP's own copying of buffers does not happen
        where a module optimises by hand.
        """
        if self.trainer.world_size > 1:
            buffers = [buffer for buffer in self.supernet.buffers() if buffer.is_floating_point()]
            self.average(buffers)

    def on_validation_start(self) -> None:
        """Validates one network, whatever the number of processes."""
        self._average_statistics()

    def on_train_epoch_start(self) -> None:
        """Forgets the last epoch's batches, which a resumed run would not have."""
        self.recent_batches = []
        self.unmeasured = (MOVED,)
        assert self.trainer.max_epochs is not None
        self.method.begin_epoch(self.current_epoch, self.trainer.max_epochs)
        if self.search_step.recorder is not None:
            self.search_step.recorder.forget()

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
        result = self.search_step.architecture(weight_batch, architecture_batch)
        text = isinstance(architecture_batch, TextBatch)
        size = architecture_batch.tokens_LB.numel() if text else len(architecture_batch[1])
        self._record_move(result.loss, size)

    def _weight_step(self, batch: Any, joint: bool = False) -> None:
        """One step of the weights; with `joint` of alpha too, by the same backward pass."""
        result = self.search_step.joint(batch) if joint else self.search_step.weight(batch)
        if joint:
            self._record_move(result.loss.detach(), result.size)
        self.record_result("weight", result, batch)
        self.show(result, self.search_step.weight_optimizer)

    def _record_move(self, loss: Tensor, size: int) -> None:
        log_mean(self, MOVED, loss, size)
        self.unmeasured = ()

    def watch(self, name: str, loss: Tensor) -> None:
        """Notes a loss that is not finite, by which a diverged epoch is known."""
        self.guard.watch(name, loss, self.current_epoch, self.iteration)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Loss and score on the architecture split, with BN's running statistics."""
        result = self.search_step.run(batch, train=False)
        self.guard.watch("architecture validation", result.loss, self.current_epoch, batch_idx)
        self.record_result("architecture", result, batch)
        if self.selects:
            # A copy: a text's batch notes the state that the pass leaves.
            self._compare(copy.copy(batch), batch_idx, result.size)

    @property
    def selects(self) -> bool:
        """Whether this is an epoch after which the method compares architectures."""
        selection, epochs = self.method.selection, self.method.epochs
        return selection is not None and epochs is not None and selection.due(self.current_epoch, epochs)

    def on_validation_epoch_start(self) -> None:
        """Draws what is compared."""
        if self.selects:
            assert self.method.selection is not None
            self.method.selection.begin(self.search_step.draw)

    def _compare(self, batch: Any, batch_idx: int, size: int) -> None:
        selection = self.method.selection
        assert selection is not None

        def score(op_weights: OpWeights) -> tuple[float, int]:
            result = self.search_step.run(batch, op_weights, train=False)
            worth = self.task.score(result).double().reshape(1)
            if self.trainer.world_size > 1:
                self.average([worth])
            return float(worth), result.size

        buffers = [buffer.clone() for buffer in self.supernet.buffers()]
        if selection.statistics == "batch":
            train_norms(self.supernet)
        try:
            selection.observe(batch_idx, score)
            if selection.curved:
                selection.observe_curvature(batch_idx, lambda: (self.search_step.curvature(batch), size))
        finally:
            self.supernet.eval()
            for buffer, before in zip(self.supernet.buffers(), buffers, strict=True):
                buffer.copy_(before)

    def on_validation_epoch_end(self) -> None:
        """Decides for the best of what was compared."""
        if self.selects:
            assert self.method.selection is not None
            last = self.current_epoch + 1 == self.method.epochs
            self.method.selection.decide(self.method, self.search_step.op_weights, last)

    def on_train_epoch_end(self) -> None:
        """Steps the learning rate, after the epoch has been recorded, and asks the monitors."""
        self._average_statistics()
        self.guard.check(self.current_epoch)
        scheduler = self.lr_schedulers()
        assert scheduler is not None and not isinstance(scheduler, list)  # one, of the weights
        scheduler.step()
        if self.monitoring.monitors and not self._unmoved:
            self._ask_monitors()

    @property
    def _unmoved(self) -> bool:
        """Whether alpha is to move and has not yet: there is nothing found that a monitor could judge."""
        method, first = self.method, 0
        if method.stages is not None:
            stage, within = method.stages.at(self.current_epoch)
            # A stage that begins anew draws alpha anew.
            first = self.current_epoch - within if method.stages[stage].fresh else 0
        return method.learns and not any(map(method.active, range(first, self.current_epoch + 1)))

    def _ask_monitors(self) -> None:
        groups = self.search_step.weight_optimizer.param_groups
        own = {name: float(value) for name, value in self.monitoring.values.items() if value is not None}
        own["weight_decay"] = float(max(group.get("weight_decay", 0.0) for group in groups))
        # Curvature is that of one process's batches: all go by what the first has measured.
        values = self.trainer.strategy.broadcast(own)
        epochs = self.method.epochs or self.trainer.max_epochs
        self.monitoring.end_epoch(Seen(self.current_epoch, self.current_epoch + 1 == epochs, values))
        self.gives_up = self.monitoring.back is not None
        self.trainer.should_stop |= self.monitoring.stops

    def needed_epochs(self) -> Collection[int]:
        """Those that a monitor may name yet."""
        return self.monitoring.keeps()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leaves out what cannot be read back as plain containers, and adds the count of steps."""
        checkpoint.pop("hyper_parameters", None)
        checkpoint["iteration"] = self.iteration
        if self.monitoring.monitors:
            checkpoint[KEY] = self.monitoring.state()
        if self.search_step.freezing is not None:
            checkpoint["frozen"] = self.search_step.freezing.frozen()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on counting, watching and holding."""
        self.iteration = checkpoint["iteration"]
        if self.monitoring.monitors and KEY in checkpoint:
            self.monitoring.restore(checkpoint[KEY])
        if self.search_step.freezing is not None:
            self.search_step.freezing.restore(checkpoint.get("frozen", ()))


class LanguageSearch(SearchModule):
    """A search on text: the state of either stream passes from one segment to the next, without a gradient.

    The stream of the weights and that of the architecture are read side by side, each with a state of its
    own, and both start anew with the epoch (the authors' code for language models).
    """

    def __init__(self, supernet: nn.Module, method: Method, task: Language):
        super().__init__(supernet, method, task)
        self._hidden: dict[str, Tensor | None] = {}

    def parts(self, batch: SearchSegment) -> tuple[TextBatch, TextBatch]:
        """The two segments of a step, with their states."""
        return self._batch("weight", batch.weight), self._batch("architecture", batch.architecture)

    def _batch(self, stream: str, segment: Segment) -> TextBatch:
        hidden_1BH = None if segment.first else self._hidden.get(stream)
        return TextBatch(segment.tokens_LB, segment.targets_LB, hidden_1BH, segment.rate)

    def _step(self, weight_batch: TextBatch, architecture_batch: TextBatch) -> None:
        # The virtual step of second order takes this step's rate too.
        with scaled(self.search_step.weight_optimizer, weight_batch.rate):
            super()._step(weight_batch, architecture_batch)
        self._hidden["weight"] = weight_batch.next_1BH
        # None where the architecture rests: its stream has not been read.
        self._hidden["architecture"] = architecture_batch.next_1BH

    def validation_step(self, batch: Segment, batch_idx: int) -> None:
        """Loss on a segment of the validation stream, from the state that the one before left."""
        segment = self._batch("validation", batch)
        super().validation_step(segment, batch_idx)
        self._hidden["validation"] = segment.next_1BH


def train_norms(network: nn.Module) -> None:
    """Lets batch norms use the statistics of their batch, and leaves dropout and drop-path off."""
    for module in network.modules():
        if hasattr(module, "running_mean"):
            module.train()


def search_module(supernet: nn.Module, method: Method, task: Task) -> SearchModule:
    """The search of a task."""
    if isinstance(task, Language):
        return LanguageSearch(supernet, method, task)
    return SearchModule(supernet, method, task)
