"""Candidate operations over the m edges of a source that hold them: those of the DARTS space, and others.

Shapes: B batch, C channels, H W space, m edges.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.spaces.modules import one_further
from nas.spaces.native.average import average
from nas.spaces.native.separable import SeparableSpec, SeparableSum
from nas.spaces.supernet.candidate import Candidate, Draw, Growth, Shared, Sums, Term, add, add_wide
from nas.spaces.supernet.stacked import StackedConv, StackedNorm
from nas.spaces.supernet.wide import WideSeparables, WideSpec


class SeparableCandidate(Candidate):
    """ReLU, depthwise, pointwise, BN; twice for `sep_conv`, once with dilation 2 for `dil_conv`."""

    side_by_side = True
    # Lists of StackedConv and StackedNorm, one per step.
    depthwise: Any
    pointwise: Any
    norm: Any

    def __init__(self, m: int, channels: int, kernel: int, stride: int, dilation: int, repeats: int):
        super().__init__()
        self.stride = stride
        self.dilation = dilation
        self.depthwise = nn.ModuleList(
            StackedConv(m, channels, channels, kernel, channels) for _ in range(repeats)
        )
        self.pointwise = nn.ModuleList(StackedConv(m, channels, channels) for _ in range(repeats))
        self.norm = nn.ModuleList(StackedNorm(m, channels) for _ in range(repeats))

    def forward(self, shared: Shared, scales_M: Tensor, sums: Sums, targets: Sequence[int]) -> None:
        """Adds the scaled result of every edge: by the compiled kernel, in wide operators, or one by one."""
        execution = shared.execution
        # The kernel is of square convolutions.
        native = None if self.depthwise[0].flat else execution.native
        kernel = self.depthwise[0].kernel
        if native is not None and shared.kernels(self.training) and native.supports(shared.x_BCHW, kernel):
            self._forward_native(native, shared.x_BCHW, scales_M, sums, targets)
        elif execution.wide:
            add_wide(sums, targets, self.together([self], shared, self.norm[-1].repeated(scales_M)[None]))
        else:
            self._forward_narrow(shared, scales_M, sums, targets)

    def growth(self, draw: Draw) -> Growth:
        """A pointwise convolution reads copies of a feature by copies of that feature's column.

        So the new outputs of a depthwise convolution and the new inputs of the pointwise one behind it are
        one draw; a pointwise convolution's new outputs and their batch norm are another.
        """
        for step in range(len(self.norm)):
            features, outputs = draw(1), draw(1)
            yield f"depthwise.{step}.weight", (features, None, None, None)
            yield f"pointwise.{step}.weight", (outputs, features, None, None)
            yield f"norm.{step}.running_mean", (outputs,)
            yield f"norm.{step}.running_var", (outputs,)

    def _forward_narrow(self, shared, scales_M, sums, targets):
        depthwise = [conv.weight.unbind(0) for conv in self.depthwise]
        pointwise = [conv.weight.unbind(0) for conv in self.pointwise]
        scales = scales_M.unbind()
        last = len(self.norm) - 1
        for i, target in enumerate(targets):
            h_BCHW = shared.relu
            for step, norm in enumerate(self.norm):
                stride = self.stride if step == 0 else 1
                h_BCHW = self.depthwise[step](h_BCHW, depthwise[step][i], stride, self.dilation)
                h_BCHW = self.pointwise[step](h_BCHW, pointwise[step][i])
                # BN keeps its input, not its result, so the ReLU may overwrite that.
                h_BCHW = norm(h_BCHW, i, scales[i]) if step == last else F.relu_(norm(h_BCHW, i))
            add(sums, target, h_BCHW)

    @classmethod
    def together(cls, modules: Sequence["SeparableCandidate"], shared: Shared, scales_QX: Tensor) -> Tensor:
        """Several of them, added up; with `recompute` as one function, in training."""
        if not (shared.execution.recompute and modules[0].training):
            return super().together(modules, shared, scales_QX)
        specs = [module._spec() for module in modules]
        running = [
            [(norm.running_mean.flatten(), norm.running_var.flatten()) for norm in module.norm]
            for module in modules
        ]
        weights = [
            conv.weight.flatten(0, 1) for module in modules for conv in (*module.depthwise, *module.pointwise)
        ]
        repeated_BCHW = shared.repeated(modules[0]._edges()).detach()
        scales_QX = scales_QX.to(running[0][0][0].dtype)
        return WideSeparables.apply(specs, running, repeated_BCHW, shared.relu, scales_QX, *weights)

    def wide(self, shared: Shared, scale_X: Tensor) -> Tensor:
        """The scaled results of all its edges, in one operator a layer."""
        h_BCHW = shared.repeated(self._edges())
        last = len(self.norm) - 1
        for step, norm in enumerate(self.norm):
            stride = self.stride if step == 0 else 1
            h_BCHW = self.depthwise[step].wide(h_BCHW, stride, self.dilation)
            h_BCHW = self.pointwise[step].wide(h_BCHW)
            h_BCHW = norm.wide(h_BCHW, scale_X) if step == last else F.relu_(norm.wide(h_BCHW))
        return h_BCHW

    def _edges(self) -> int:
        return len(self.pointwise[0].weight)

    def _spec(self) -> WideSpec:
        first = self.depthwise[0]
        return WideSpec(self.stride, self.dilation, first.kernel, len(self.norm), first.flat)

    def _forward_native(self, native, x_BCHW, scales_M, sums, targets):
        kernel = self.depthwise[0].kernel
        spec = SeparableSpec(
            native, kernel, self.stride, self.dilation, len(self.norm), fixed=not self.training
        )
        running = [(norm.running_mean, norm.running_var) for norm in self.norm]
        results = SeparableSum.apply(
            spec,
            running,
            x_BCHW,
            scales_M,
            *(conv.weight for conv in self.depthwise),
            *(conv.weight for conv in self.pointwise),
            *(sums[target] for target in targets),
        )
        for target, total in zip(targets, results, strict=True):
            sums[target] = total


class PoolCandidate(Term):
    """3x3 pooling and BN, the same for all edges of the source: computed once."""

    norm: StackedNorm

    def __init__(self, channels: int, kind: str, stride: int):
        super().__init__()
        self.kind = kind
        self.stride = stride
        self.norm = StackedNorm(1, channels)

    def result(self, shared: Shared) -> Tensor:
        """Pooled, not yet normalised, [B, C, H', W']."""
        if self.kind == "max":
            return F.max_pool2d(shared.x_BCHW, 3, self.stride, 1)
        return average(shared.execution.native, self.stride, shared.x_BCHW)

    def growth(self, draw: Draw) -> Growth:
        """The statistics of new channels are those of old ones."""
        channels = draw(1)
        yield "norm.running_mean", (channels,)
        yield "norm.running_var", (channels,)


class IdentityCandidate(Term):
    """`skip_connect` at stride 1."""

    def result(self, shared: Shared) -> Tensor:
        """The source itself."""
        return shared.x_BCHW

    def forward(self, shared: Shared, scales_M: Tensor, sums: Sums, targets: Sequence[int]) -> None:
        """Adds the source to every target, times its scale; with a dropout of each edge's own."""
        if not shared.skip_dropout:
            super().forward(shared, scales_M, sums, targets)
            return
        for scale, target in zip(scales_M.unbind(), targets, strict=True):
            h_BCHW = F.dropout(shared.x_BCHW, shared.skip_dropout)
            self.add_scaled(shared, h_BCHW, scale.to(h_BCHW.dtype), sums, target)


class ReduceCandidate(Candidate):
    """`skip_connect` at stride 2: a factorised reduction per edge."""

    summed = True
    own = True
    side_by_side = True
    norm: StackedNorm

    def __init__(self, m: int, channels: int):
        super().__init__()
        self.conv_1 = StackedConv(m, channels, channels // 2)
        self.conv_2 = StackedConv(m, channels, channels // 2)
        self.norm = StackedNorm(m, channels)

    def result(self, shared: Shared) -> Tensor:
        """The reductions of all edges before their batch norms, [B, m*C, H/2, W/2]."""
        # One source for all edges: a dense convolution C -> m*C/2, no repetition.
        halves = [
            F.conv2d(x_BCHW, conv.weight.flatten(0, 1)).unflatten(1, (len(conv.weight), -1))
            for x_BCHW, conv in zip(_parities(shared.relu), (self.conv_1, self.conv_2), strict=True)
        ]
        return torch.cat(halves, dim=2).flatten(1, 2)

    def forward(self, shared: Shared, scales_M: Tensor, sums: Sums, targets: Sequence[int]) -> None:
        """Adds the scaled reduction of every edge."""
        if shared.execution.wide:
            scale_X = self.norm.repeated(scales_M)
            add_wide(sums, targets, self.wide(shared, scale_X))
            return
        even_BCHW, odd_BCHW = _parities(shared.relu)
        weights = zip(self.conv_1.weight.unbind(0), self.conv_2.weight.unbind(0), strict=True)
        for i, ((weight_1, weight_2), scale) in enumerate(zip(weights, scales_M.unbind(), strict=True)):
            h_BCHW = torch.cat([self.conv_1(even_BCHW, weight_1), self.conv_2(odd_BCHW, weight_2)], dim=1)
            add(sums, targets[i], self.norm(h_BCHW, i, scale))

    def growth(self, draw: Draw) -> Growth:
        """Each half of the outputs grows by itself; batch norm follows both."""
        outputs = draw(2)
        first, second = outputs.chunk(2, dim=1)
        yield "conv_1.weight", (first, draw(1), None, None)
        yield "conv_2.weight", (second - second[:, :1], draw(1), None, None)
        yield "norm.running_mean", (outputs,)
        yield "norm.running_var", (outputs,)


def _parities(x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Every second pixel in both directions, [B, C, H/2, W/2], from the first and from the second one on."""
    return x_BCHW[:, :, ::2, ::2], one_further(x_BCHW)[:, :, ::2, ::2]


class Copies(Candidate):
    """Any operation: a module per edge, one after the other.

    Args:
        modules: of the m edges, [B, C, H, W] -> [B, C, H/stride, W/stride].
        twice_differentiable: whether they have second derivatives.
    """

    widens = False
    modules_E: nn.ModuleDict

    def __init__(self, modules: Sequence[nn.Module], twice_differentiable: bool):
        super().__init__()
        self.twice_differentiable = twice_differentiable
        self.place(range(len(modules)), modules)

    def place(self, edges: Sequence[int], modules: Iterable[nn.Module] | None = None) -> None:
        """Names the modules by their edges, so that a pruned supernet's are some of the whole one's."""
        modules = self.modules_E.values() if modules is None else modules
        self.modules_E = nn.ModuleDict(dict(zip(map(str, edges), modules, strict=True)))

    def weights(self, m: int) -> Iterator[tuple[range, list[nn.Parameter]]]:
        """Those of each edge's own module."""
        for position, module in enumerate(self.modules_E.values()):
            yield range(position, position + 1), list(module.parameters())

    def forward(self, shared: Shared, scales_M: Tensor, sums: Sums, targets: Sequence[int]) -> None:
        """Adds the scaled result of every edge."""
        for module, scale, target in zip(self.modules_E.values(), scales_M.unbind(), targets, strict=True):
            h_BCHW = module(shared.x_BCHW)
            total, term_BCHW = sums[target], h_BCHW * scale.to(h_BCHW.dtype)
            sums[target] = term_BCHW if total is None else total + term_BCHW
