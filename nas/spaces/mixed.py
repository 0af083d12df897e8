"""Many candidates as one: the fan-out of a node.

All edges that leave one node at one stride are a `FanOut`. What they share is computed once: the ReLU in
front of every convolution, both poolings with their affine-free BN, the identity. The `none` operation is
never computed. Parameters of the same candidate over the m edges that hold it are stacked, `[m, ...]`, in one
tensor.

The weighted sum keeps no term that it need not: an op weight times an affine-free BN is a BN whose scale is
that op weight, so neither the product nor BN's own result is kept for the backward pass, and the sums of the
target nodes grow in place.

Shapes: B batch, C channels, H W space, M edges of a fan-out, m those of them that hold a candidate, O
operations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import ConfigError
from nas.spaces.native.library import Library
from nas.spaces.native.separable import SeparableSpec, SeparableSum
from nas.spaces.operations import BN_EPS, BN_MOMENTUM
from nas.spaces.space import SKIP, ZERO


class StackedConv(nn.Module):
    """The weights of m equal convolutions, `[m, C_out, C_in/groups, k, k]`, initialised as torch does."""

    def __init__(self, m: int, c_in: int, c_out: int, kernel: int = 1, groups: int = 1):
        super().__init__()
        fan_in = c_in // groups * kernel * kernel
        bound = fan_in**-0.5
        self.groups = groups
        self.kernel = kernel
        self.weight = nn.Parameter(
            torch.empty(m, c_out, c_in // groups, kernel, kernel).uniform_(-bound, bound)
        )

    def forward(self, x_BCHW: Tensor, weight: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
        """Applies one of the stacked convolutions, `weight` being its slice."""
        padding = dilation * (self.kernel - 1) // 2
        return F.conv2d(x_BCHW, weight, None, stride, padding, dilation, self.groups)

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, groups={self.groups}"


class StackedNorm(nn.Module):
    """m affine-free batch norms over C channels, whose scale is an op weight (or 1)."""

    def __init__(self, m: int, channels: int):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(m, channels))
        self.register_buffer("running_var", torch.ones(m, channels))

    def forward(self, x_BCHW: Tensor, index: int, scale: Tensor | None = None) -> Tensor:
        """Normalises `x_BCHW` with the statistics of edge `index`, times the 0-dimensional `scale`."""
        # Dense, because torch reads an expanded weight wrongly in the channels-last backward pass on a CPU.
        weight_C = None if scale is None else scale.to(self.running_mean.dtype).repeat(x_BCHW.shape[1])
        return F.batch_norm(
            x_BCHW,
            self.running_mean[index],
            self.running_var[index],
            weight_C,
            None,
            self.training,
            BN_MOMENTUM,
            BN_EPS,
        )


def _add(total: Tensor | None, term: Tensor) -> Tensor:
    """Total + term, in place: whoever made `total` has not kept it for its backward pass."""
    return term if total is None else total.add_(term)


def _add_scaled(total: Tensor | None, term: Tensor, scale: Tensor) -> Tensor:
    scale = scale.to(term.dtype)
    return term * scale if total is None else total.addcmul_(term, scale)


@dataclass
class Execution:
    """How a supernet computes, the same mathematics every way; one object for all its fan-outs.

    Attributes:
        native: the compiled kernel for separable convolutions in training mode; None for torch's operators,
            which alone can be differentiated twice.
    """

    native: Library | None = None


class Shared:
    """What the candidates of one source have in common in one forward pass, computed on first use.

    A candidate is a module over the m edges that hold it; its `forward(shared, scales, sums, targets)` adds
    `scales[i] * operation_i(x)` to `sums[targets[i]]`.
    """

    def __init__(self, x_BCHW: Tensor, execution: "Execution"):
        self.x_BCHW = x_BCHW
        self.execution = execution
        self._relu: Tensor | None = None

    @property
    def relu(self) -> Tensor:
        """ReLU of the source, [B, C, H, W]."""
        if self._relu is None:
            self._relu = F.relu(self.x_BCHW)
        return self._relu


class SeparableCandidate(nn.Module):
    """ReLU, depthwise, pointwise, BN; twice for `sep_conv`, once with dilation 2 for `dil_conv`."""

    def __init__(self, m: int, channels: int, kernel: int, stride: int, dilation: int, repeats: int):
        super().__init__()
        self.stride = stride
        self.dilation = dilation
        self.depthwise = nn.ModuleList(
            StackedConv(m, channels, channels, kernel, channels) for _ in range(repeats)
        )
        self.pointwise = nn.ModuleList(StackedConv(m, channels, channels) for _ in range(repeats))
        self.norm = nn.ModuleList(StackedNorm(m, channels) for _ in range(repeats))

    def forward(self, shared, scales, sums, targets):
        native = shared.execution.native
        if native is not None and self.training and native.supports(shared.x_BCHW, self.depthwise[0].kernel):
            self._forward_native(native, shared.x_BCHW, scales, sums, targets)
            return
        depthwise = [conv.weight.unbind(0) for conv in self.depthwise]
        pointwise = [conv.weight.unbind(0) for conv in self.pointwise]
        last = len(self.norm) - 1
        for i, target in enumerate(targets):
            h_BCHW = shared.relu
            for step, norm in enumerate(self.norm):
                stride = self.stride if step == 0 else 1
                h_BCHW = self.depthwise[step](h_BCHW, depthwise[step][i], stride, self.dilation)
                h_BCHW = self.pointwise[step](h_BCHW, pointwise[step][i])
                # BN keeps its input, not its result, so the ReLU may overwrite that.
                h_BCHW = norm(h_BCHW, i, scales[i]) if step == last else F.relu_(norm(h_BCHW, i))
            sums[target] = _add(sums[target], h_BCHW)

    def _forward_native(self, native, x_BCHW, scales, sums, targets):
        kernel = self.depthwise[0].kernel
        spec = SeparableSpec(native, kernel, self.stride, self.dilation, len(self.norm))
        running = [(norm.running_mean, norm.running_var) for norm in self.norm]
        results = SeparableSum.apply(
            spec,
            running,
            x_BCHW,
            torch.stack(list(scales)),
            *(conv.weight for conv in self.depthwise),
            *(conv.weight for conv in self.pointwise),
            *(sums[target] for target in targets),
        )
        for target, total in zip(targets, results, strict=True):
            sums[target] = total


class PoolCandidate(nn.Module):
    """3x3 pooling and BN, the same for all edges of the source: computed once."""

    def __init__(self, m: int, channels: int, kind: str, stride: int):
        super().__init__()
        self.kind = kind
        self.stride = stride
        self.norm = StackedNorm(1, channels)

    def forward(self, shared, scales, sums, targets):
        if self.kind == "max":
            h_BCHW = F.max_pool2d(shared.x_BCHW, 3, self.stride, 1)
        else:
            h_BCHW = F.avg_pool2d(shared.x_BCHW, 3, self.stride, 1, count_include_pad=False)
        h_BCHW = self.norm(h_BCHW, 0)
        for scale, target in zip(scales, targets, strict=True):
            sums[target] = _add_scaled(sums[target], h_BCHW, scale)


class IdentityCandidate(nn.Module):
    """`skip_connect` at stride 1."""

    def forward(self, shared, scales, sums, targets):
        for scale, target in zip(scales, targets, strict=True):
            sums[target] = _add_scaled(sums[target], shared.x_BCHW, scale)


class ReduceCandidate(nn.Module):
    """`skip_connect` at stride 2: a factorised reduction an edge."""

    def __init__(self, m: int, channels: int):
        super().__init__()
        self.conv_1 = StackedConv(m, channels, channels // 2)
        self.conv_2 = StackedConv(m, channels, channels // 2)
        self.norm = StackedNorm(m, channels)

    def forward(self, shared, scales, sums, targets):
        even_BCHW = shared.relu[:, :, ::2, ::2]
        odd_BCHW = shared.relu[:, :, 1::2, 1::2]
        for i, (weight_1, weight_2) in enumerate(
            zip(self.conv_1.weight.unbind(0), self.conv_2.weight.unbind(0), strict=True)
        ):
            h_BCHW = torch.cat([self.conv_1(even_BCHW, weight_1), self.conv_2(odd_BCHW, weight_2)], dim=1)
            sums[targets[i]] = _add(sums[targets[i]], self.norm(h_BCHW, i, scales[i]))


class NoiseCandidate(nn.Module):
    """Fresh N(0, 1) noise on every edge (space S4)."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, shared, scales, sums, targets):
        like_BCHW = shared.x_BCHW[:, :, :: self.stride, :: self.stride]
        for scale, target in zip(scales, targets, strict=True):
            sums[target] = _add_scaled(sums[target], torch.randn_like(like_BCHW), scale)


def candidate(name: str, m: int, channels: int, stride: int) -> nn.Module:
    """Builds the stacked form of operation `name` for m edges.

    Raises:
        ConfigError: there is no such candidate operation.
    """
    builders = {
        "noise": lambda: NoiseCandidate(stride),
        SKIP: lambda: IdentityCandidate() if stride == 1 else ReduceCandidate(m, channels),
        "max_pool_3x3": lambda: PoolCandidate(m, channels, "max", stride),
        "avg_pool_3x3": lambda: PoolCandidate(m, channels, "avg", stride),
        "sep_conv_3x3": lambda: SeparableCandidate(m, channels, 3, stride, 1, 2),
        "sep_conv_5x5": lambda: SeparableCandidate(m, channels, 5, stride, 1, 2),
        "sep_conv_7x7": lambda: SeparableCandidate(m, channels, 7, stride, 1, 2),
        "dil_conv_3x3": lambda: SeparableCandidate(m, channels, 3, stride, 2, 1),
        "dil_conv_5x5": lambda: SeparableCandidate(m, channels, 5, stride, 2, 1),
    }
    if name not in builders:
        known = ", ".join(sorted([ZERO, *builders]))
        raise ConfigError(f"space.operations: unknown candidate operation {name!r}; known are {known}")
    return builders[name]()


class FanOut(nn.Module):
    """All edges that leave one node at one stride.

    Args:
        channels: C of the source and of the targets.
        stride: 1 or 2.
        targets: for each of the M edges the position of its target's sum.
        operations: for each of the M edges its candidates.
        execution: how to compute; shared with the rest of the supernet.
    """

    def __init__(
        self,
        channels: int,
        stride: int,
        targets: Sequence[int],
        operations: Sequence[Sequence[str]],
        execution: Execution,
    ):
        super().__init__()
        self.execution = execution
        holders: dict[str, list[int]] = {}
        for edge, names in enumerate(operations):
            for name in names:
                holders.setdefault(name, []).append(edge)
        holders.pop(ZERO, None)
        self.targets = {name: tuple(targets[edge] for edge in edges) for name, edges in holders.items()}
        self.holders = {name: tuple(edges) for name, edges in holders.items()}
        self.candidates = nn.ModuleDict(
            {name: candidate(name, len(edges), channels, stride) for name, edges in holders.items()}
        )

    def forward(self, x_BCHW: Tensor, scales: dict[str, Sequence[Tensor]], sums: list[Tensor | None]) -> None:
        """Adds every edge's weighted candidates to the sum of its target node, in place.

        Args:
            x_BCHW: state of the source node.
            scales: for each candidate the op weights (0-dimensional) of the edges that hold it.
            sums: the running sums of the target nodes; None where nothing has been added yet.
        """
        shared = Shared(x_BCHW, self.execution)
        for name, module in self.candidates.items():
            module(shared, scales[name], sums, self.targets[name])
