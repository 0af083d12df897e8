"""Small tools for gradient updates: freezing and trying out, both undone whatever happens."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn


@contextmanager
def frozen(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Keeps autograd from computing gradients of `parameters` inside the block."""
    changed = [p for p in parameters if p.requires_grad]
    for p in changed:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in changed:
            p.requires_grad_(True)


def twice_differentiable(network: nn.Module) -> AbstractContextManager:
    """A block in which all operators of the network have second derivatives, if it has others elsewhere."""
    execution = getattr(network, "execution", None)
    return nullcontext() if execution is None else execution.twice_differentiable()


def diagonal(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """The diagonal of the Hessian of `loss`, exact, by a product for each parameter; detached.

    Args:
        loss: a scalar that is differentiable twice.
        parameters: of any shapes; one on which the loss does not depend has zeros.
    """
    first = torch.autograd.grad(loss, list(parameters), create_graph=True, allow_unused=True)
    diagonals = []
    for parameter, gradient in zip(parameters, first, strict=True):
        second = torch.zeros_like(parameter).flatten()
        if gradient is not None and gradient.requires_grad:
            for index, entry in enumerate(gradient.flatten()):
                row = torch.autograd.grad(entry, parameter, retain_graph=True, allow_unused=True)[0]
                if row is not None:
                    second[index] = row.flatten()[index]
        diagonals.append(second.view_as(parameter).detach())
    return diagonals


class Trial:
    """Several forward passes, some at other weights, that leave behind what one ordinary pass would.

    Inside the block every pass that follows `rewind()` sees the same BN buffers and draws the same random
    numbers, so that a difference between two passes is no noise. At the end the weights are what they were,
    copied back rather than computed back; buffers and generators stand as they did when `keep()` was called,
    or as at the start.

    Args:
        network: whose buffers are meant.
        weights: the weights.
        generators: further generators that the passes draw from, beside torch's global ones.
    """

    def __init__(
        self, network: nn.Module, weights: Sequence[Tensor], generators: Sequence[torch.Generator] = ()
    ):
        self.weights = list(weights)
        self.generators = list(generators)
        self.buffers = list(network.buffers())
        self.device = self.weights[0].device

    def __enter__(self) -> "Trial":
        with torch.no_grad():
            self.saved = [w.detach().clone() for w in self.weights]
        self.start = self.kept = self._state()
        return self

    def __exit__(self, *error) -> None:
        self.restore_weights()
        self._set(self.start if error[0] is not None else self.kept)

    def rewind(self) -> None:
        """Puts buffers and generators back to the start."""
        self._set(self.start)

    def keep(self) -> None:
        """Chooses the present buffers and generators as those to leave behind."""
        self.kept = self._state()

    @torch.no_grad()
    def restore_weights(self) -> None:
        """Puts the weights back to the start, bit by bit."""
        torch._foreach_copy_(self.weights, self.saved)

    def _state(self) -> tuple[list[Tensor], Tensor, Tensor | None, list[Tensor]]:
        buffers = [b.detach().clone() for b in self.buffers]
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        return buffers, torch.get_rng_state(), cuda, [generator.get_state() for generator in self.generators]

    @torch.no_grad()
    def _set(self, state: tuple[list[Tensor], Tensor, Tensor | None, list[Tensor]]) -> None:
        buffers, cpu, cuda, others = state
        if buffers:
            torch._foreach_copy_(self.buffers, buffers)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, self.device)
        for generator, own in zip(self.generators, others, strict=True):
            generator.set_state(own)
