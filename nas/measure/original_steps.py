"""The steps of a search as the authors of DARTS released them: what `nas.bench` measures ours against."""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nas.measure.steps import SearchSteps
from nas.methods.updates import ArchitectureGradient, VirtualStep


class OriginalSteps(SearchSteps):
    """The steps as the authors' released code takes them, for a literal supernet to be measured with.

    The weight step is ours, alpha frozen, so that both do the same work. (The release also computes the
    gradient of alpha there and throws it away: `alpha_gradients=True` does so too.) The first-order step is
    `loss.backward()`, which computes the gradient of every weight as well and throws it away. The second-
    order step makes four passes with every parameter in the graph: the weights' gradient on the weight
    batch; a second network with the virtual step's weights, and `backward()` through all of it, on the
    architecture batch; and for the finite difference two passes at shifted weights, of which only alpha's
    gradient is asked.
    """

    def __init__(self, *args: Any, alpha_gradients: bool = False):
        super().__init__(*args)
        self.alpha_gradients = alpha_gradients

    def loss(self, batch: Any, network: nn.Module | None = None) -> Tensor:
        """Loss of a batch at the current alpha, of the supernet or of a copy."""
        with self.where.cast():
            return self.task.run(network or self.supernet, batch, self.method.op_weights()).loss

    def forward_weight(self) -> Tensor:
        """The forward pass of a weight step."""
        if not self.alpha_gradients:
            return super().forward_weight()
        with self.where.cast():
            return self.taken.run(self.weight_batch).objective

    def weight(self) -> None:
        """One weight step."""
        with self.where.cast():
            self.taken.weight(self.weight_batch, rests=not self.alpha_gradients)
        self.architecture_optimizer.zero_grad()

    def first_order(self) -> None:
        """One architecture step with gradients of everything."""
        self.architecture_optimizer.zero_grad()
        self.loss(self.architecture_batch).backward()
        self.taken.step_alpha()

    def step(self, name: str) -> Callable[[], None] | None:
        """The step of a name; the release knows second order by the finite difference only."""
        return None if name == "second_order_exact" else super().step(name)

    def second_order(self) -> None:
        """One architecture step through a virtual weight step, in a second network."""
        step = VirtualStep(self.optimizer, self.weights, None, momentum=True)
        train = torch.autograd.grad(self.loss(self.weight_batch), self.weights)
        virtual = self._virtual(step, train)
        self.architecture_optimizer.zero_grad()
        self.loss(self.architecture_batch, virtual).backward()
        direct, vector = _gradients(self.alphas), _gradients(virtual.parameters())
        radius = float(self.unrolled.epsilon / torch.cat([v.flatten() for v in vector]).norm())
        plus = self._gradient_after(vector, radius)
        minus = self._gradient_after(vector, -2 * radius)
        self._shift(vector, radius)
        implicit = [(p - m) / (2 * radius) for p, m in zip(plus, minus, strict=True)]
        gradients = [d - step.gain * i for d, i in zip(direct, implicit, strict=True)]
        self.taken.move_alpha(ArchitectureGradient(torch.zeros(()), gradients))

    @torch.no_grad()
    def _virtual(self, step: VirtualStep, gradients: Sequence[Tensor]) -> nn.Module:
        start = [weight.clone() for weight in self.weights]
        if self.unrolled.clip is not None:
            # As our second order has it. v is not clipped, which is a factor and no work to be measured.
            norm = nn.utils.get_total_norm(gradients)
            share = (self.unrolled.clip / (norm + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(list(gradients), share)
            step.gain *= float(share)
        step.apply(gradients)
        virtual = copy.deepcopy(self.supernet)
        virtual.zero_grad()
        torch._foreach_copy_(self.weights, start)
        return virtual

    def _gradient_after(self, vector: Sequence[Tensor], shift: float) -> Sequence[Tensor]:
        self._shift(vector, shift)
        return torch.autograd.grad(self.loss(self.weight_batch), self.alphas)

    @torch.no_grad()
    def _shift(self, vector: Sequence[Tensor], by: float) -> None:
        torch._foreach_add_(self.weights, list(vector), alpha=by)


def _gradients(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Those of a backward pass that every tensor has a part in."""
    gradients = []
    for tensor in tensors:
        assert tensor.grad is not None
        gradients.append(tensor.grad)
    return gradients
