"""The supernet of the DARTS space: cells whose nodes fan out over every candidate operation."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.op_weights import OpWeights
from nas.spaces.darts.layout import cell_places
from nas.spaces.modules import FactorizedReduce, relu_conv_bn
from nas.spaces.native.separable import DenseGradient
from nas.spaces.operations import DARTS
from nas.spaces.signals import fit_to
from nas.spaces.space import EdgeGroup, check_op_weights, kept_operations
from nas.spaces.stems import build_stem
from nas.spaces.supernet.candidate import Execution, Sums
from nas.spaces.supernet.partial import Past, join, part
from nas.spaces.supernet.paths import fan_out_of, leave
from nas.spaces.supernet.scales import Route, ScalePlan, Wide


class SearchCell(nn.Module):
    """A cell of the supernet: preprocessing, then nodes in order, each fanning out to the later ones.

    Args:
        group: its edges and candidates, one edge from every earlier node to every later one.
        operations: for each edge those of its candidates that the cell holds.
        c_prev_prev: channels of the cell before the last one.
        c_prev: channels of the last cell.
        channels: C of every node.
        reduction: whether the edges from the two inputs halve the resolution.
        reduction_prev: whether the last cell did.
        partial: K; the first C/K channels of a source go through the candidates, the others past them (2x2
            max pooling where an edge halves the resolution), and the node shuffles both (DrNAS, section 2.4).
        execution: how to compute.
        separate: whether the candidates of every edge stand by themselves.
    """

    fan_out: Any  # nn.ModuleDict of FanOut, or of Paths

    def __init__(
        self,
        group: EdgeGroup,
        operations: Sequence[Sequence[str]],
        c_prev_prev: int,
        c_prev: int,
        channels: int,
        reduction: bool,
        reduction_prev: bool,
        partial: int,
        execution: Execution,
        separate: bool,
    ):
        super().__init__()
        self.execution = execution
        self.partial = partial
        self.mixed_channels = channels // partial
        self.reduction = reduction
        self.num_nodes = max(target for _, target in group.edges) - 1
        self.preprocess0 = (
            FactorizedReduce(c_prev_prev, channels, affine=False)
            if reduction_prev
            else relu_conv_bn(c_prev_prev, channels, 1, 1, affine=False)
        )
        self.preprocess1 = relu_conv_bn(c_prev, channels, 1, 1, affine=False)
        fan_outs = {}
        for source in sorted({edge[0] for edge in group.edges}):
            rows = [row for row, edge in enumerate(group.edges) if edge[0] == source]
            fan_outs[str(source)] = fan_out_of(separate)(
                self.mixed_channels,
                stride=self._stride(source),
                targets=[group.edges[row][1] - 2 for row in rows],
                operations=[operations[row] for row in rows],
                execution=execution,
                build=DARTS.stacked,
            )
        self.fan_out = nn.ModuleDict(fan_outs)

    def _stride(self, source: int) -> int:
        return 2 if self.reduction and source < 2 else 1

    def forward(self, s0_BCHW: Tensor, s1_BCHW: Tensor, route: Route) -> Tensor:
        """Two cell inputs -> the concatenated nodes [B, nodes*C, H', W']."""
        states = [self.preprocess0(s0_BCHW), self.preprocess1(s1_BCHW)]
        sums: Sums = [None] * self.num_nodes
        past = Past()
        wide = route.wide(self.mixed_channels) if self.execution.wide else {}
        for source in range(self.num_nodes + 2):
            if source >= 2:
                mixed_BCHW = sums[source - 2]
                if mixed_BCHW is None:
                    mixed_BCHW = self._nothing(states[0])
                if source in route.carried:
                    mixed_BCHW = mixed_BCHW + route.carried[source].to(mixed_BCHW.dtype)
                if self.partial > 1:
                    mixed_BCHW = join(mixed_BCHW, past.to(source - 2), self.partial)
                states.append(DenseGradient.apply(mixed_BCHW) if self.execution.native else mixed_BCHW)
            if str(source) in self.fan_out:
                self._leave(source, states[source], route, sums, past, wide)
        return torch.cat(states[2:], dim=1)

    def _leave(
        self,
        source: int,
        x_BCHW: Tensor,
        route: Route,
        sums: Sums,
        past: Past,
        wide: Mapping[int, Wide],
    ) -> None:
        """Adds what leaves a node to the sums of the nodes after it."""
        fan_out = self.fan_out[str(source)]
        if self.partial > 1:
            x_BCHW, beside_BCHW = part(x_BCHW, self.mixed_channels)
            if self._stride(source) == 2:
                beside_BCHW = F.max_pool2d(beside_BCHW, 2, 2, ceil_mode=True)
            weights_M = None if route.beside is None else route.beside[source]
            past.add(beside_BCHW, fan_out.all_targets, weights_M)
        leave(fan_out, x_BCHW, route, source, sums, wide)

    def _nothing(self, like_BCHW: Tensor) -> Tensor:
        """The state of a node whose edges hold nothing but `none`."""
        batch, _, height, width = like_BCHW.shape
        stride = 2 if self.reduction else 1
        shape = (batch, self.mixed_channels, -(-height // stride), -(-width // stride))
        return like_BCHW.new_zeros(shape)


class DartsSupernet(nn.Module):
    """The over-parameterised network of the DARTS space (Liu et al. 2019, section 3.1).

    Owns no architecture parameter: `forward` applies the op weights it is given.

    Args:
        groups: edge groups `normal` and `reduce`.
        image_shape: (C, H, W) of an image.
        num_classes: outputs of the classifier.
        num_cells: cells, two of them reductions.
        init_channels: C of the first cells; doubles at each reduction.
        stem_multiplier: stem channels / C.
        stem: `cifar` or `imagenet`.
        partial: K of the partial channels, 1 for all.
        kept: {group: [E, O], true where the network holds a candidate}; None for all of them.
        separate: whether the candidates of every edge stand by themselves (`Paths`).
    """

    def __init__(
        self,
        groups: Mapping[str, EdgeGroup],
        image_shape: Sequence[int],
        num_classes: int,
        num_cells: int,
        init_channels: int,
        stem_multiplier: int,
        stem: str,
        partial: int = 1,
        kept: Mapping[str, Tensor] | None = None,
        separate: bool = False,
    ):
        super().__init__()
        self.groups = dict(groups)
        self.partial = partial
        held = {name: kept_operations(group, (kept or {}).get(name)) for name, group in groups.items()}
        self.execution = Execution()
        self.stem = build_stem(stem, image_shape[0], init_channels, stem_multiplier)
        self.cells = nn.ModuleList()
        self.kinds: list[str] = []
        c_prev_prev, c_prev = self.stem.channels
        reduction_prev = self.stem.reduced
        for place in cell_places(num_cells, init_channels):
            cell = SearchCell(
                self.groups[place.group],
                held[place.group],
                c_prev_prev,
                c_prev,
                place.channels,
                place.reduction,
                reduction_prev,
                partial,
                self.execution,
                separate,
            )
            self.cells.append(cell)
            self.kinds.append(place.group)
            reduction_prev = place.reduction
            c_prev_prev, c_prev = c_prev, cell.num_nodes * place.channels
        self.classifier = nn.Linear(c_prev, num_classes)
        fit_to(self, image_shape)
        self._plans = {kind: self._plan(kind) for kind in sorted(set(self.kinds))}

    def _plan(self, kind: str) -> ScalePlan:
        cell = self.cells[self.kinds.index(kind)]
        assert isinstance(cell, SearchCell)
        fan_outs = {int(source): fan_out for source, fan_out in cell.fan_out.items()}
        holders = {source: fan_out.holders for source, fan_out in fan_outs.items()}
        beside = {source: fan_out.beside for source, fan_out in fan_outs.items()}
        return ScalePlan(self.groups[kind], holders, beside)

    def forward(self, x_BCHW: Tensor, op_weights: Mapping[str, Tensor]) -> Tensor:
        """Images [B, C, H, W] and op weights {group: [E, O]} -> logits [B, classes]."""
        check_op_weights(self.groups, op_weights)
        routes = {kind: plan.route(OpWeights.of(op_weights), kind) for kind, plan in self._plans.items()}
        if self.execution.native is not None:
            x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
        s0_BCHW, s1_BCHW = self.stem(x_BCHW)
        for kind, cell in zip(self.kinds, self.cells, strict=True):
            s0_BCHW, s1_BCHW = s1_BCHW, cell(s0_BCHW, s1_BCHW, routes[kind])
        return self.classifier(s1_BCHW.mean(dim=(2, 3)))
