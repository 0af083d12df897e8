"""The two-level problem, and what an update makes of it: the gradient that alpha steps with."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nas.errors import require
from nas.methods.relaxations import Relaxation
from nas.op_weights import OpWeights


def _nothing(*args: Any) -> Any:
    raise NotImplementedError("this problem has no op weights to draw")


@dataclass
class Bilevel:
    """The two-level problem as an update sees it.

    Attributes:
        loss: batch -> scalar loss at the current weights and alpha, with a fresh draw of the op weights, or
            with those given after the batch.
        network: the module whose parameters are the weights and whose buffers are BN statistics.
        weights: the weights.
        alphas: the architecture parameters.
        optimizer: the weight optimiser; read for learning rate, momentum and weight decay, never stepped.
        average: averages tensors over processes, in place; None in a single process.
        generators: what the loss draws from, beside torch's global generators.
        draw: a fresh draw of op weights, of which `own`, `all` or `two` paths per edge are run.
        judge: batch, op weights -> loss and score of a pass in evaluation mode, without a gradient; the score
            is the larger the better.
        log_probability: of one-hot op weights, a scalar that is differentiable in alpha.
        entropy: of the choices on the way to one-hot op weights, summed, in nats; a scalar.
    """

    loss: Callable[..., Tensor]
    network: nn.Module
    weights: Sequence[Tensor]
    alphas: Sequence[Tensor]
    optimizer: torch.optim.Optimizer
    average: Callable[[Sequence[Tensor]], None] | None = None
    generators: Sequence[torch.Generator] = ()
    draw: Callable[[str], OpWeights] = _nothing
    judge: Callable[[Any, OpWeights], tuple[Tensor, Tensor]] = _nothing
    log_probability: Callable[[OpWeights], Tensor] = _nothing
    entropy: Callable[[OpWeights], Tensor] = _nothing

    def gradients(self, loss: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Gradients of `loss`, zero where it does not depend on an input, averaged over processes."""
        raw = torch.autograd.grad(loss, list(inputs), allow_unused=True)
        gradients = [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, raw, strict=True)]
        if self.average is not None:
            self.average(gradients)
        return gradients


def _name(relaxation: Relaxation) -> str:
    return str(getattr(relaxation, "name", type(relaxation).__name__))


@dataclass
class ArchitectureGradient:
    """What an update returns.

    Attributes:
        loss: the architecture loss that was differentiated, detached.
        gradients: one tensor per alpha.
        vector: v, the gradient at the virtual weights; empty for first order.
        implicit: the product d^2 L_train . v, one tensor per alpha, before the factor -xi; empty for first
            order.
    """

    loss: Tensor
    gradients: list[Tensor]
    vector: list[Tensor] = field(default_factory=list)
    implicit: list[Tensor] = field(default_factory=list)


class Update:
    """How the architecture gradient is computed.

    Attributes:
        name: as in messages.
        joint: whether alpha steps with the weights, by one pass on one batch.
        one_level: whether alpha and the weights learn on the whole training set, and not on a part each.
        moves: whether alpha steps at all.
        by_probability: whether it goes by the probability of what was drawn, and not through the op weights.
        alike: whether several processes must have the same draws for it.
        rewinds: whether it puts random generators back between its passes.
        num_children: draws that a step of the weights learns from, by their `mixture`.
    """

    name: str = "another"
    joint: bool = False
    one_level: bool = False
    moves: bool = True
    by_probability: bool = False
    alike: bool = False
    num_children: int = 1
    rewinds: bool = False

    def mixture(self, losses_K: Tensor) -> Tensor:
        """What the weights are trained for, of the losses [K] of several children: their mean."""
        return losses_K.mean()

    def check(self, relaxation: Relaxation) -> None:
        """Raises `ConfigError` where it finds no gradient in such op weights."""
        through = self.moves and not self.by_probability
        require(
            relaxation.differentiable or not through,
            f"method.update={self.name}: goes through the op weights, which have no gradient with "
            f"method.relaxation={_name(relaxation)} as it is set; take one that has",
        )
        require(
            not self.by_probability or (relaxation.one_path and not relaxation.whole),
            f"method.update={self.name}: goes by the probability of candidates that are drawn edge by edge, "
            f"and method.relaxation={_name(relaxation)} draws none; take nas.methods.relaxations.OneHot",
        )

    @contextmanager
    def stepping(self, alphas: Sequence[Tensor]) -> Iterator[None]:
        """The block in which alpha's optimiser steps."""
        yield

    def gradient(self, problem: Bilevel, weight_batch: Any, architecture_batch: Any) -> ArchitectureGradient:
        """The gradient that the architecture optimiser steps with.

        Leaves the weights as they were, and BN buffers and random generators where its passes on the
        architecture batch leave them: one, but for several children.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what its gradient is")
