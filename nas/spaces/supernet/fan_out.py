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

import functools
import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nas.spaces.native.library import Library
from nas.spaces.native.terms import Summand, TermsSum
from nas.spaces.space import SKIP, ZERO
from nas.spaces.supernet.candidate import Candidate, Execution, Shared, Sums, Term, add_wide, key
from nas.spaces.supernet.scales import Wide

# The rates that a fan-out knows. Probability that an edge is left out, for each image; of an entry of what an
# identity passes on; and the weight of a skip connection beside the candidates.
DROP_PATH, SKIP_DROPOUT, AUXILIARY_SKIP = "drop_path", "skip_dropout", "auxiliary_skip"
RATES = (DROP_PATH, SKIP_DROPOUT, AUXILIARY_SKIP)


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
        kinds: those that all edges hold and that have `wide`, those of one kind together.
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
        beside = [
            n for n in holders if len(holders[n]) == len(targets) and self.candidates[key(n)].side_by_side
        ]
        self.kinds = [
            list(names) for _, names in itertools.groupby(sorted(beside, key=self._kind), self._kind)
        ]
        places, summed = self._places(self.terms), self._places(self.summed)
        held = torch.zeros(len(targets), sum(map(self._parts, self.summed)), dtype=torch.long)
        held[tuple(summed)] = 1
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("summed_places", summed, persistent=False)
        self.register_buffer("held_places", held, persistent=False)

    @property
    def beside(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The candidates that `Wide` has op weights of: its terms, and those with parameters."""
        edges = len(self.all_targets)
        whole = all(len(self.holders[name]) == edges for name in self.terms)
        return tuple(self.terms) if whole else (), tuple(itertools.chain.from_iterable(self.kinds))

    def forward(
        self, x_BCHW: Tensor, scales: dict[str, Tensor], sums: Sums, wide: Wide | None = None
    ) -> None:
        """Adds every edge's weighted candidates to the sum of its target node.

        Args:
            x_BCHW: state of the source node.
            scales: for each candidate the op weights [m] of the edges that hold it.
            sums: the running sums of the target nodes; None where nothing has been added yet.
            wide: the same op weights as wide operators read them, where they are laid out so already.
        """
        drop = self.rates.get(DROP_PATH, 0.0) if self.training else 0.0
        if not drop:
            self._mix(x_BCHW, scales, sums, self.all_targets, wide)
            return
        # A mask lies on what an edge gives, all of its candidates together.
        edges: Sums = [None] * len(self.all_targets)
        self._mix(x_BCHW, scales, edges, range(len(edges)), wide)
        for mixed_BCHW, target in zip(edges, self.all_targets, strict=True):
            if mixed_BCHW is not None:
                mask_B111 = mixed_BCHW.new_empty(len(mixed_BCHW), 1, 1, 1).bernoulli_(1 - drop)
                total, kept_BCHW = sums[target], mixed_BCHW * mask_B111.div_(1 - drop)
                sums[target] = kept_BCHW if total is None else total + kept_BCHW

    def _mix(
        self,
        x_BCHW: Tensor,
        scales: dict[str, Tensor],
        sums: Sums,
        targets: Sequence[int],
        wide: Wide | None,
    ) -> None:
        """Adds every edge's weighted candidates to the sums at these positions, one per edge."""
        dropout = self.rates.get(SKIP_DROPOUT, 0.0) if self.training else 0.0
        shared = Shared(x_BCHW, self.execution, dropout)
        beta = self.rates.get(AUXILIARY_SKIP, 0.0)
        if beta and SKIP in scales:
            scales, wide = scales | {SKIP: scales[SKIP] + beta}, None
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
        elif native is None and self.execution.wide and not dropout:
            done = self._add_side_by_side(shared, scales, sums, targets, wide)
        for name, module in zip(self.holders, self.candidates.values(), strict=True):
            if name not in done:
                module(shared, scales[name], sums, [targets[edge] for edge in self.holders[name]])
        if beta:
            for edge in set(range(len(targets))) - set(self.holders.get(SKIP, ())):
                total, term_BCHW = sums[targets[edge]], beta * x_BCHW
                sums[targets[edge]] = term_BCHW if total is None else total + term_BCHW

    def _kind(self, name: str) -> tuple[str, str]:
        kind = type(self.candidates[key(name)])
        return kind.__module__, kind.__qualname__

    def _add_side_by_side(
        self,
        shared: Shared,
        scales: dict[str, Tensor],
        sums: Sums,
        targets: Sequence[int],
        wide: Wide | None,
    ) -> Sequence[str]:
        """The terms and what all edges hold as one tensor [B, M*C, H', W'], cut once; says what was added."""
        edges, own = len(targets), list(itertools.chain.from_iterable(self.kinds))
        parts = []
        if own:
            own_QX = self._spread(scales, own) if wide is None else wide.own_QX
            cut = own_QX.split([len(names) for names in self.kinds])
            for names, scales_QX in zip(self.kinds, cut, strict=True):
                modules = [self.candidates[key(name)] for name in names]
                parts.append(type(modules[0]).together(modules, shared, scales_QX))
        if self.terms:
            laid_MP = None if wide is None else wide.terms_MP
            terms_MP = self._matrix(scales, self.terms, self.places) if laid_MP is None else laid_MP
            mixed_MBCHW = self._mixed(shared, terms_MP)
            if not parts:
                for target, mixed_BCHW in zip(targets, mixed_MBCHW.unbind(), strict=True):
                    total = sums[target]
                    sums[target] = mixed_BCHW if total is None else total + mixed_BCHW
                return self.terms
            beside = functools.reduce(operator.add, parts).unflatten(1, (edges, -1))
            parts = [(beside + mixed_MBCHW.transpose(0, 1)).flatten(1, 2)]
        if parts:
            add_wide(sums, targets, functools.reduce(operator.add, parts))
        return [*self.terms, *own]

    def _spread(self, scales: dict[str, Tensor], names: Sequence[str]) -> Tensor:
        """Op weights of candidates that all edges hold, one for each channel, [Q, M*C]."""
        columns = [scales[name][:, None].expand(-1, self.channels) for name in names]
        return torch.stack(columns).flatten(1)

    def _mixed(self, shared: Shared, scales_MP: Tensor) -> Tensor:
        """Candidates without parameters as one matrix product: scales times results [P, B*C*H*W]."""
        results = [self.candidates[key(name)].normalised(shared) for name in self.terms]
        first = results[0]
        # In the order of memory, so that neither the stack nor the product moves channels.
        nhwc = first.is_contiguous(memory_format=torch.channels_last)
        stacked = torch.stack([r.permute(0, 2, 3, 1) if nhwc else r for r in results])
        mixed = (scales_MP.to(first.dtype) @ stacked.flatten(1)).view(-1, *stacked.shape[1:])
        return mixed.permute(0, 1, 4, 2, 3) if nhwc else mixed

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
