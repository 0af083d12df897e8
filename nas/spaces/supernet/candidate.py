"""What is common to candidate operations over the edges of one source: how they compute, and what they share.

Shapes: B batch, C channels, H W space, M edges of a source, m those of them that hold a candidate, Q
candidates.
"""

import functools
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import require
from nas.spaces.native.library import Library
from nas.spaces.supernet.stacked import StackedNorm

Sums = list[Tensor | None]
Growth = Iterator[tuple[str, tuple[Tensor | None, ...]]]
Draw = Callable[[int], Tensor]


@dataclass
class Execution:
    """How a network computes, the same mathematics every way; one object for all its parts.

    Supernets know all three options, evaluation networks `native` alone.

    Attributes:
        native: the compiled kernels for separable convolutions and weighted sums, in training mode and, of
            supernets, wherever no gradient is asked for; None for torch's operators, which alone can be
            differentiated twice.
        wide: a candidate's m edges side by side in one operator: fewer launches, for a GPU.
        recompute: with `wide`, keeps only what batch norm read for the backward pass and computes the rest
            again; not differentiable twice.
        once: operations of which nobody says that they can be differentiated twice.
    """

    native: Library | None = None
    wide: bool = False
    recompute: bool = False
    once: set[str] = field(default_factory=set)

    @contextmanager
    def twice_differentiable(self) -> Iterator[None]:
        """Inside the block every operator has second derivatives, at whatever cost in speed.

        Raises:
            ConfigError: an operation may have none.
        """
        require(
            not self.once,
            f"space.operations: {', '.join(sorted(self.once))}: nobody says that it has second derivatives, "
            "which are needed; say twice_differentiable = True in its class, or do without "
            "method.implicit=exact and analysis.hessian",
        )
        native, recompute = self.native, self.recompute
        self.native, self.recompute = None, False
        try:
            yield
        finally:
            self.native, self.recompute = native, recompute


class Shared:
    """What the candidates of one source have in common in one forward pass, computed on first use.

    Attributes:
        skip_dropout: probability with which an identity leaves out an entry.
    """

    def __init__(self, x_BCHW: Tensor, execution: Execution, skip_dropout: float = 0.0):
        self.x_BCHW = x_BCHW
        self.execution = execution
        self.skip_dropout = skip_dropout
        self._relu: Tensor | None = None
        self._repeated: dict[int, Tensor] = {}

    @property
    def relu(self) -> Tensor:
        """ReLU of the source, [B, C, H, W]."""
        if self._relu is None:
            self._relu = F.relu(self.x_BCHW)
        return self._relu

    @staticmethod
    def kernels(training: bool) -> bool:
        """Whether the compiled kernels have the pass: in training, or of a network that is only looked at."""
        return training or not torch.is_grad_enabled()

    def repeated(self, m: int) -> Tensor:
        """ReLU of the source, m times side by side, [B, m*C, H, W]."""
        if m not in self._repeated:
            self._repeated[m] = self.relu.repeat(1, m, 1, 1)
        return self._repeated[m]


class Candidate(nn.Module, ABC):
    """A candidate operation over the m edges that hold it.

    Attributes:
        twice_differentiable: whether torch's operators give its second derivatives.
        widens: whether `growth` says how it gets new channels.
        summed: whether it is `result` and then `norm`, no more, so that the compiled kernel can add it up.
        own: whether `result` is one for each edge, and not one for all of them.
        side_by_side: whether it has `wide`, the results of all its edges in one tensor.
        norm: of what is summed: the batch norm that follows; None if there is none.
    """

    twice_differentiable: bool = True
    widens: bool = True
    summed: bool = False
    own: bool = False
    side_by_side: bool = False
    norm: StackedNorm | None

    def place(self, edges: Sequence[int]) -> None:
        """Hears which of the source's edges hold it, [m]."""

    def weights(self, m: int) -> Iterator[tuple[range, list[nn.Parameter]]]:
        """Its parameters by the edges that they belong to.

        Args:
            m: edges that hold it.

        Yields:
            The positions of one edge or several among the m, and what they have: tensors [positions, ...] of
            several, of one any.
        """
        yield range(m), list(self.parameters())

    def growth(self, draw: Draw) -> Growth:
        """How its tensors follow from those of the same candidate over fewer channels; see `growth.py`.

        Yields the name of a tensor [m, ...] and, for each of its dimensions after the first, `draw(n)` (a map
        [m, C] of new channels to the old ones, in n equal parts) or None for a dimension that stays.
        """
        return iter(())

    def result(self, shared: Shared) -> Tensor:
        """What is summed, before its batch norm: [B, C, H', W'], or [B, m*C, H', W'] where it is `own`.

        Raises:
            NotImplementedError: it is not `summed`.
        """
        raise NotImplementedError(f"{type(self).__name__} is not summed, or must say what its result is")

    def wide(self, shared: Shared, scale_X: Tensor) -> Tensor:
        """The scaled results of all its edges side by side, [B, m*C, H', W'], where it is `side_by_side`.

        Args:
            shared: the source.
            scale_X: op weights, one for each channel of each edge, [m*C].
        """
        assert self.norm is not None
        return self.norm.wide(self.result(shared), scale_X)

    @classmethod
    def together(cls, modules: "Sequence[Any]", shared: Shared, scales_QX: Tensor) -> Tensor:
        """What Q candidates of this kind give on the same m edges, added up: [B, m*C, H', W'].

        Args:
            modules: the candidates.
            shared: their source.
            scales_QX: op weights, [Q, m*C].
        """
        parts = [
            module.wide(shared, scale) for module, scale in zip(modules, scales_QX.unbind(), strict=True)
        ]
        return functools.reduce(operator.add, parts)

    @abstractmethod
    def forward(self, shared: Shared, scales_M: Tensor, sums: Sums, targets: Sequence[int]) -> None:
        """Adds `scales_M[i] * operation_i(x)` to `sums[targets[i]]`."""


class Term(Candidate):
    """A candidate without parameters of its own: one result for all edges of a source."""

    summed = True

    def __init__(self):
        super().__init__()
        self.norm: StackedNorm | None = None

    @abstractmethod
    def result(self, shared: Shared) -> Tensor:
        """The operation on the source, before its batch norm, [B, C, H', W']."""

    def normalised(self, shared: Shared) -> Tensor:
        """The operation on the source, after its batch norm, [B, C, H', W']."""
        h_BCHW = self.result(shared)
        return h_BCHW if self.norm is None else self.norm(h_BCHW, 0)

    def forward(self, shared: Shared, scales_M: Tensor, sums: Sums, targets: Sequence[int]) -> None:
        """Adds the one result to every target, times its scale."""
        h_BCHW = self.normalised(shared)
        for scale, target in zip(scales_M.unbind(), targets, strict=True):
            self.add_scaled(shared, h_BCHW, scale.to(h_BCHW.dtype), sums, target)

    def add_scaled(self, shared: Shared, h_BCHW: Tensor, scale: Tensor, sums: Sums, target: int) -> None:
        """Adds one result to one target; not in place where sums may be views that are cut together."""
        total = sums[target]
        if total is None:
            sums[target] = h_BCHW * scale
        elif shared.execution.wide:
            sums[target] = total + h_BCHW * scale
        else:
            sums[target] = total.addcmul_(h_BCHW, scale)


def add(sums: Sums, target: int, term_BCHW: Tensor) -> None:
    """Adds to a sum, in place: whoever made it has not kept it for its backward pass."""
    total = sums[target]
    sums[target] = term_BCHW if total is None else total.add_(term_BCHW)


def add_wide(sums: Sums, targets: Sequence[int], terms_BCHW: Tensor) -> None:
    """Adds [B, m*C, H, W] to m sums. Not in place: autograd forbids it on views that are cut together."""
    for target, term_BCHW in zip(targets, terms_BCHW.chunk(len(targets), dim=1), strict=True):
        total = sums[target]
        sums[target] = term_BCHW if total is None else total + term_BCHW


def key(name: str) -> str:
    """An operation's name as that of a module, which may hold no dot."""
    return name.replace(".", "/")
