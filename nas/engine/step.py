"""One step of a search without Lightning: the very object that is trained, timed, planned and weighed.

An architecture step moves alpha with the gradient that the method's update defines. A weight step is a
forward pass, a backward pass with alpha frozen, clipping, and the optimiser. A joint step moves both by one
backward pass (DSO-NAS without a split).
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from nas.engine.drawing import drawing_from
from nas.engine.freezing import Freezing
from nas.engine.graphs import Recorder
from nas.engine.tasks import Result, Task
from nas.methods.functional import Trial, diagonal, frozen, twice_differentiable
from nas.methods.method import Method
from nas.methods.updates import ArchitectureGradient, Bilevel, Update
from nas.op_weights import OpWeights
from nas.spaces.supernet.rates import share_rates


class Frame:
    """What a step leaves to whatever runs it; this one is a single process that computes plainly."""

    def backward(self, objective: Tensor) -> None:
        """Adds the gradients of what the weights are trained for."""
        objective.backward()

    def clip(self, optimizer: torch.optim.Optimizer, norm: float | None, value: float | None) -> None:
        """Clips an optimiser's gradients by their global norm, then one by one; None for neither."""
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        if norm is not None:
            nn.utils.clip_grad_norm_(weights, norm)
        if value is not None:
            nn.utils.clip_grad_value_(weights, value)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Steps an optimiser."""
        optimizer.step()

    def average(self) -> Callable[[Sequence[Tensor]], None] | None:
        """What averages tensors over processes in place; None where there is one."""
        return None

    def watch(self, name: str, loss: Tensor) -> None:
        """Sees the loss of a step before anything moves."""


class Step:
    """The steps of a search.

    Args:
        supernet: `forward(inputs, op_weights)`.
        method: owns alpha, and says how alpha moves.
        task: runs the supernet on a batch.
        frame: runs the steps; None for a plain one.

    Attributes:
        weight_optimizer, architecture_optimizer: of the method; there once `build_optimizers` was called.
        freezing: holds candidates whose weights rest; None where no monitor freezes any.
        recorder: repeats recorded passes in the place of new ones; None to run each.
        shared: where op weights are drawn from if all processes are to have the same draw; None for torch's
            global generator.
    """

    def __init__(self, supernet: nn.Module, method: Method, task: Task, frame: Frame | None = None):
        self.supernet = supernet
        self.method = method
        self.task = task
        self.frame = frame or Frame()
        self.weights: list[Tensor] = list(supernet.parameters())
        self.alphas = method.alphas()
        self.weight_optimizer: torch.optim.Optimizer
        self.architecture_optimizer: torch.optim.Optimizer
        self.shared: torch.Generator | None = None
        self.recorder: Recorder | None = None
        comparing = [monitor for monitor in method.monitors.values() if monitor.compares_gradients]
        self.freezing = Freezing(supernet, comparing) if comparing else None
        share_rates(supernet, method.rates)

    def build_optimizers(self) -> list[torch.optim.Optimizer]:
        """That of the weights and that of alpha, both new."""
        build, build_alpha = self.method.weight_optimizer, self.method.architecture_optimizer
        assert build is not None and build_alpha is not None  # a method that learns brings both
        self.weight_optimizer, self.architecture_optimizer = build(self.weights), build_alpha(self.alphas)
        return [self.weight_optimizer, self.architecture_optimizer]

    def op_weights(self, paths: str = "own") -> OpWeights:
        """The method's op weights, drawn anew where they are drawn; see `Parameters.op_weights`."""
        with drawing_from(self.shared):
            return self.method.op_weights(paths)

    def draw(self) -> OpWeights:
        """A random architecture by what alpha has learnt; see `Parameters.draw`."""
        with drawing_from(self.shared):
            return self.method.draw()

    def run(self, batch: Any, op_weights: dict[str, Tensor] | None = None, train: bool = True) -> Result:
        """A pass at the current weights and alpha, with a fresh draw of op weights or given ones."""
        op_weights = self.op_weights() if op_weights is None else op_weights
        return self.task.run(self.supernet, batch, op_weights, train=train)

    def loss(self, batch: Any, op_weights: dict[str, Tensor] | None = None) -> Tensor:
        """Loss of such a pass."""
        # Autocast keeps half-precision copies of weights, which an unrolled step changes between its passes.
        torch.clear_autocast_cache()
        return self.run(batch, op_weights).loss

    def bilevel(self) -> Bilevel:
        """The problem as the method's update sees it."""
        generators = () if self.shared is None else (self.shared,)
        optimizer = self.weight_optimizer
        average = self.frame.average()
        return Bilevel(
            self.loss, self.supernet, self.weights, self.alphas, optimizer, average, generators,
            self.op_weights, self.judge, self.method.log_probability, self.method.path_entropy,
        )  # fmt: skip

    @torch.no_grad()
    def judge(self, batch: Any, op_weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Loss and score of a batch in evaluation mode; the larger the score the better."""
        self.supernet.eval()
        try:
            result = self.run(batch, op_weights, train=False)
        finally:
            self.supernet.train()
        return result.loss, self.task.score(result)

    def curvature(self, batch: Any) -> list[Tensor]:
        """The second derivative of a batch's loss in each parameter of alpha: one tensor per alpha, detached.

        In evaluation mode, exact: a product with the Hessian for each parameter. 0 where the loss does not
        depend on it.
        """
        self.supernet.eval()
        try:
            # A validation has no graph, and its tensors can be none's part.
            with (
                torch.inference_mode(False),
                torch.enable_grad(),
                frozen(self.weights),
                twice_differentiable(self.supernet),
            ):
                diagonals = diagonal(self.run(_cloned(batch), train=False).loss, self.alphas)
        finally:
            self.supernet.train()
        average = self.frame.average()
        if average is not None:
            average(diagonals)
        return diagonals

    def architecture(
        self, weight_batch: Any, architecture_batch: Any, update: Update | None = None
    ) -> ArchitectureGradient:
        """Moves alpha by the gradient of the method's update, or of another one; weights stay."""
        result = self._gradient(weight_batch, architecture_batch, update)
        self.frame.watch("architecture", result.loss)
        self.move_alpha(result)
        if self.freezing is not None:
            self.freezing.note(self._gradients_beside(architecture_batch, self.freezing.weights))
        return result

    def _gradient(
        self, weight_batch: Any, architecture_batch: Any, update: Update | None
    ) -> ArchitectureGradient:
        # Another update than the method's is for who measures or compares.
        if self.recorder is None or update not in (None, self.method.update):
            return self.method.gradient(self.bilevel(), weight_batch, architecture_batch, update)

        def passes(*batches: Any) -> tuple[Tensor, list[Tensor]]:
            found = self.method.gradient(self.bilevel(), *batches)
            return found.loss, found.gradients

        loss, gradients = self.recorder.run("architecture", passes, weight_batch, architecture_batch)
        # The next replay writes where these are: the loss is looked at later, alpha moves at once.
        return ArchitectureGradient(loss.clone(), list(gradients))

    def _gradients_beside(self, batch: Any, weights: Sequence[Tensor]) -> list[Tensor]:
        """Gradients of a batch's loss that leave no trace: the weight step draws what they have drawn."""
        problem = self.bilevel()
        with Trial(self.supernet, self.weights[:1], problem.generators), frozen(self.alphas):
            return problem.gradients(self.loss(batch), weights)

    def weight(self, batch: Any, rests: bool = True) -> Result:
        """Moves the weights; alpha stays. If it does not rest it has its gradient from the same pass."""
        with frozen(self.alphas if rests else []):
            result = self._passes(batch) if self.recorder is None else self._repeated(batch, self.recorder)
        with nullcontext() if self.freezing is None else self.freezing.holding(self.weight_optimizer):
            self.frame.clip(self.weight_optimizer, self.method.clip, self.method.clip_value)
            self.frame.step(self.weight_optimizer)
        return result

    def _passes(self, batch: Any) -> Result:
        """Forward and backward: leaves the gradients with the weights."""
        result = self._trained(batch)
        self.frame.watch("weight", result.loss)
        self.weight_optimizer.zero_grad()
        self.frame.backward(result.objective)
        return result

    def _repeated(self, batch: Any, recorder: Recorder) -> Result:
        """The same by what was recorded, whose gradients lie in its own memory."""
        moved = [*self.weights, *(alpha for alpha in self.alphas if alpha.requires_grad)]

        def passes(batch: Any) -> tuple[Result, list[Tensor | None]]:
            self.weight_optimizer.zero_grad()
            result = self._trained(batch)
            self.frame.backward(result.objective)
            return result, [weight.grad for weight in moved]

        result, gradients = recorder.run("weight", passes, batch)
        for weight, gradient in zip(moved, gradients, strict=True):
            weight.grad = gradient
        result = tree_map(lambda leaf: leaf.detach().clone() if isinstance(leaf, Tensor) else leaf, result)
        self.frame.watch("weight", result.loss)
        return result

    def joint(self, batch: Any) -> Result:
        """Moves weights and alpha by one backward pass."""
        result = self.weight(batch, rests=False)
        for alpha_EO, anchor_EO in zip(self.alphas, self.method.anchor_gradients(), strict=True):
            alpha_EO.grad = anchor_EO if alpha_EO.grad is None else alpha_EO.grad + anchor_EO
        self.step_alpha()
        return result

    def forward(self, batch: Any) -> Tensor:
        """The forward pass of a weight step: what the weights are trained for."""
        with frozen(self.alphas):
            return self._trained(batch).objective

    def _trained(self, batch: Any) -> Result:
        """What the weights learn from: one pass, or several children as one."""
        update = self.method.update
        if update is None or update.num_children == 1:
            return self.run(batch, self._perturbed(batch))
        results = [self.run(batch, self._perturbed(batch)) for _ in range(update.num_children)]
        losses_K = self._of_all(torch.stack([result.loss for result in results]))
        penalties = [result.penalty for result in results if result.penalty is not None]
        penalty = torch.stack(penalties).mean() if penalties else None
        return results[0]._replace(loss=update.mixture(losses_K), penalty=penalty)

    def _of_all(self, losses_K: Tensor) -> Tensor:
        """The losses over the images of all processes, by which shares go; the gradient is this process's."""
        average = self.frame.average()
        if average is None:
            return losses_K
        whole_K = losses_K.detach().clone()
        average([whole_K])
        return losses_K + (whole_K - losses_K.detach())

    def _perturbed(self, batch: Any) -> dict[str, Tensor] | None:
        """The op weights of a weight step where the method perturbs its own; None for a draw of these."""
        perturbation = self.method.perturbation
        if perturbation is None:
            return None

        with drawing_from(self.shared):
            own = {group: value_EO.detach() for group, value_EO in self.method.candidate_weights().items()}
            edges = {group: value_E.detach() for group, value_E in self.method.edge_weights().items()}

        def weighed(op_weights: dict[str, Tensor]) -> OpWeights:
            return self.method.weighed(op_weights, edges=edges)

        def loss(op_weights: dict[str, Tensor]) -> Tensor:
            return self.run(batch, weighed(op_weights), train=False).loss

        self.supernet.eval()
        try:
            with drawing_from(self.shared), frozen(self.weights):
                return weighed(perturbation.perturbed(own, self.method.kept(), loss))
        finally:
            self.supernet.train()

    def move_alpha(self, gradient: ArchitectureGradient) -> None:
        """Steps alpha's optimiser with a gradient."""
        for alpha_EO, gradient_EO in zip(self.alphas, gradient.gradients, strict=True):
            alpha_EO.grad = gradient_EO.to(alpha_EO.dtype)
        self.step_alpha()

    def step_alpha(self) -> None:
        """Steps alpha's optimiser with the gradients that are there, as the method wraps it."""
        if self.method.tied_rate:
            for group in self.architecture_optimizer.param_groups:
                group["lr"] = self.weight_optimizer.param_groups[0]["lr"]
        with self.method.stepping(self.architecture_optimizer):
            self.frame.step(self.architecture_optimizer)
        self.architecture_optimizer.zero_grad()


def _cloned(batch: Any) -> Any:
    """A batch, whatever holds its tensors, of tensors of their own."""
    if isinstance(batch, Tensor):
        return batch.clone()
    if isinstance(batch, list | tuple):
        return type(batch)(_cloned(part) for part in batch)
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(batch, **{field.name: _cloned(getattr(batch, field.name)) for field in fields(batch)})
    return batch
