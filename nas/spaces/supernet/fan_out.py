"""Many candidates as one: the fan-out of a node.

All edges that leave one node at one stride are a `FanOut`. What they share is computed once: the ReLU in
front of every convolution, both poolings with their affine-free BN, the identity. The `none` operation is
never computed. Parameters of the same candidate over the m edges that hold it are stacked, `[m, ...]`, in one
tensor.

The weighted sum keeps no term that it need not: an op weight times an affine-free BN is a BN whose scale is
that op weight, so neither the product nor BN's own result is kept for the backward pass.

What a method does to the passes of a supernet beside its op weights are the rates of `FanOut`.

Shapes: B batch, C channels, H W space, M edges of a fan-out, m those of them that hold a candidate, P
candidates without parameters of their own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import require
from nas.spaces.native.library import Library
from nas.spaces.native.terms import Summand, TermsSum
from nas.spaces.space import SKIP, ZERO
from nas.spaces.supernet.stacked import StackedNorm

Sums = list[Tensor | None]
Growth = Iterator[tuple[str, tuple[Tensor | None, ...]]]
Draw = Callable[[int], Tensor]

# The rates that a fan-out knows. Probability that an edge is left out, for each image; of an entry of what an
# identity passes on; and the weight of a skip connection beside the candidates.
DROP_PATH, SKIP_DROPOUT, AUXILIARY_SKIP = "drop_path", "skip_dropout", "auxiliary_skip"
RATES = (DROP_PATH, SKIP_DROPOUT, AUXILIARY_SKIP)


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
        norm: of what is summed: the batch norm that follows; None if there is none.
    """

    twice_differentiable: bool = True
    widens: bool = True
    summed: bool = False
    own: bool = False
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


class FanOut(nn.Module):
    """All edges that leave one node at one stride.

    Args:
        channels: C of the source and of the targets.
        stride: 1 or 2.
        targets: for each of the M edges the position of its target's sum.
        operations: for each of the M edges its candidates.
        execution: how to compute; shared with the rest of the supernet.
        build: (name, m, channels, stride) -> the stacked form of a candidate.

    Attributes:
        holders: for each candidate the positions of the edges that hold it; `none` is not among them.
        rates: what a method has set, by the names in `RATES`; see `nas.spaces.supernet.rates`.
        terms: the candidates that have no parameters of their own.
        summed: those that the compiled kernel adds up.
    """

    candidates: Any  # nn.ModuleDict of Candidate
    places: Tensor
    summed_places: Tensor
    held_places: Tensor

    def __init__(
        self,
        channels: int,
        stride: int,
        targets: Sequence[int],
        operations: Sequence[Sequence[str]],
        execution: Execution,
        build: Callable[[str, int, int, int], Candidate],
    ):
        super().__init__()
        self.channels = channels
        self.stride = stride
        self.execution = execution
        self.rates: Mapping[str, float] = {}
        holders: dict[str, list[int]] = {}
        for edge, names in enumerate(operations):
            for name in names:
                holders.setdefault(name, []).append(edge)
        holders.pop(ZERO, None)
        self.all_targets = tuple(targets)
        self.holders = {name: tuple(edges) for name, edges in holders.items()}
        self.candidates = nn.ModuleDict()
        for name, edges in holders.items():
            module = self.candidates[key(name)] = build(name, len(edges), channels, stride)
            module.place(edges)
            if not module.twice_differentiable:
                execution.once.add(name)
        self.terms = [name for name in holders if isinstance(self.candidates[key(name)], Term)]
        self.summed = [name for name in holders if self.candidates[key(name)].summed]
        places, summed = self._places(self.terms), self._places(self.summed)
        held = torch.zeros(len(targets), sum(map(self._parts, self.summed)), dtype=torch.long)
        held[tuple(summed)] = 1
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("summed_places", summed, persistent=False)
        self.register_buffer("held_places", held, persistent=False)

    def forward(self, x_BCHW: Tensor, scales: dict[str, Tensor], sums: Sums) -> None:
        """Adds every edge's weighted candidates to the sum of its target node.

        Args:
            x_BCHW: state of the source node.
            scales: for each candidate the op weights [m] of the edges that hold it.
            sums: the running sums of the target nodes; None where nothing has been added yet.
        """
        drop = self.rates.get(DROP_PATH, 0.0) if self.training else 0.0
        if not drop:
            self._mix(x_BCHW, scales, sums, self.all_targets)
            return
        # A mask lies on what an edge gives, all of its candidates together.
        edges: Sums = [None] * len(self.all_targets)
        self._mix(x_BCHW, scales, edges, range(len(edges)))
        for mixed_BCHW, target in zip(edges, self.all_targets, strict=True):
            if mixed_BCHW is not None:
                mask_B111 = mixed_BCHW.new_empty(len(mixed_BCHW), 1, 1, 1).bernoulli_(1 - drop)
                total, kept_BCHW = sums[target], mixed_BCHW * mask_B111.div_(1 - drop)
                sums[target] = kept_BCHW if total is None else total + kept_BCHW

    def _mix(self, x_BCHW: Tensor, scales: dict[str, Tensor], sums: Sums, targets: Sequence[int]) -> None:
        """Adds every edge's weighted candidates to the sums at these positions, one per edge."""
        dropout = self.rates.get(SKIP_DROPOUT, 0.0) if self.training else 0.0
        shared = Shared(x_BCHW, self.execution, dropout)
        beta = self.rates.get(AUXILIARY_SKIP, 0.0)
        if beta and SKIP in scales:
            scales = scales | {SKIP: scales[SKIP] + beta}
        native = self.execution.native
        # A single value per channel cannot be normalised: torch says so in its own words.
        several = len(x_BCHW) > 1 or max(x_BCHW.shape[2:]) > self.stride
        if native is not None and not (shared.kernels(self.training) and several and native.supports(x_BCHW)):
            native = None
        # With dropout every edge has an identity of its own.
        done: Sequence[str] = ()
        if native is not None and self.summed and not dropout:
            self._add_native(native, shared, scales, sums, targets)
            done = self.summed
        elif native is None and self.execution.wide and self.terms and not dropout:
            self._add_terms(shared, scales, sums, targets)
            done = self.terms
        for name, module in zip(self.holders, self.candidates.values(), strict=True):
            if name not in done:
                module(shared, scales[name], sums, [targets[edge] for edge in self.holders[name]])
        if beta:
            for edge in set(range(len(targets))) - set(self.holders.get(SKIP, ())):
                total, term_BCHW = sums[targets[edge]], beta * x_BCHW
                sums[targets[edge]] = term_BCHW if total is None else total + term_BCHW

    def _add_terms(
        self, shared: Shared, scales: dict[str, Tensor], sums: Sums, targets: Sequence[int]
    ) -> None:
        """Candidates without parameters as one matrix product: scales [M, P] times results [P, B*C*H*W]."""
        results = [self.candidates[key(name)].normalised(shared) for name in self.terms]
        first = results[0]
        # In the order of memory, so that neither the stack nor the product moves channels.
        nhwc = first.is_contiguous(memory_format=torch.channels_last)
        stacked = torch.stack([r.permute(0, 2, 3, 1) if nhwc else r for r in results])
        mixed = self._matrix(scales, self.terms, self.places).to(first.dtype) @ stacked.flatten(1)
        for target, total in zip(targets, mixed.view(-1, *stacked.shape[1:]).unbind(), strict=True):
            total, before = total.permute(0, 3, 1, 2) if nhwc else total, sums[target]
            sums[target] = total if before is None else before + total

    def _add_native(
        self,
        native: Library,
        shared: Shared,
        scales: dict[str, Tensor],
        sums: Sums,
        targets: Sequence[int],
    ) -> None:
        """What is summed in one pass of the compiled kernel, which also normalises it."""
        modules = [self.candidates[key(name)] for name in self.summed]
        summands = [
            Summand(
                self._parts(name),
                None if module.norm is None else (module.norm.running_mean, module.norm.running_var),
            )
            for name, module in zip(self.summed, modules, strict=True)
        ]
        results = TermsSum.apply(
            native,
            not self.training,
            summands,
            self.held_places,
            self._matrix(scales, self.summed, self.summed_places),
            # Of one type, whatever a convolution makes of it in lower precision.
            *(module.result(shared).to(shared.x_BCHW.dtype) for module in modules),
            *(sums[target] for target in targets),
        )
        for target, total in zip(targets, results, strict=True):
            sums[target] = total

    def _parts(self, name: str) -> int:
        """How many results a candidate has: one for each edge that holds it, or one for all."""
        return len(self.holders[name]) if self.candidates[key(name)].own else 1

    def _places(self, names: Sequence[str]) -> Tensor:
        """Rows and columns of the scales of candidates among [M, P], in their order."""
        rows: list[int] = []
        columns: list[int] = []
        width = 0
        for name in names:
            edges, parts = self.holders[name], self._parts(name)
            rows += edges
            columns += range(width, width + parts) if self.candidates[key(name)].own else [width] * len(edges)
            width += parts
        return torch.tensor([rows, columns], dtype=torch.long)

    def _matrix(self, scales: dict[str, Tensor], names: Sequence[str], places: Tensor) -> Tensor:
        """The scales of candidates, [M, P]; zero where an edge has no such result."""
        edges = len(self.all_targets)
        columns = [scales[name] for name in names]
        if all(len(scales[name]) == edges and not self.candidates[key(name)].own for name in names):
            return torch.stack(columns, dim=1)
        empty = columns[0].new_zeros(edges, sum(map(self._parts, names)))
        return empty.index_put(tuple(places), torch.cat(columns))
