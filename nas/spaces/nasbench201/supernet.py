"""The supernet of NAS-Bench-201: the macro network with cells whose nodes fan out over every candidate."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nas.op_weights import OpWeights
from nas.spaces.nasbench201.network import MacroNetwork
from nas.spaces.nasbench201.operations import NASBENCH201
from nas.spaces.space import EdgeGroup, check_op_weights, kept_operations
from nas.spaces.supernet.candidate import Execution, Sums
from nas.spaces.supernet.partial import Past, join, part
from nas.spaces.supernet.paths import fan_out_of, leave
from nas.spaces.supernet.scales import Route, ScalePlan

CELL = "cell"


class SearchCell(nn.Module):
    """A cell of the supernet: nodes in order, each fanning out to the later ones; the last is the output.

    Args:
        group: its edges, one from every node to every later one.
        operations: for each edge the candidates that the cell holds.
        channels: C of every node.
        partial: K; the first C/K channels of a source go through the candidates, the others past them.
        execution: how to compute.
        separate: whether the candidates of every edge stand by themselves.
    """

    fan_out: Any  # nn.ModuleList of FanOut, or of Paths

    def __init__(
        self,
        group: EdgeGroup,
        operations: Sequence[Sequence[str]],
        channels: int,
        partial: int,
        execution: Execution,
        separate: bool,
    ):
        super().__init__()
        self.execution = execution
        self.partial = partial
        self.mixed_channels = channels // partial
        self.num_sums = max(target for _, target in group.edges)
        self.fan_out = nn.ModuleList()
        for source in range(self.num_sums):
            rows = [row for row, edge in enumerate(group.edges) if edge[0] == source]
            self.fan_out.append(
                fan_out_of(separate)(
                    self.mixed_channels,
                    stride=1,
                    targets=[group.edges[row][1] - 1 for row in rows],
                    operations=[operations[row] for row in rows],
                    execution=execution,
                    build=NASBENCH201.stacked,
                )
            )

    def forward(self, x_BCHW: Tensor, route: Route) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]; a node that no candidate but `none` leads to is zero."""
        state_BCHW = x_BCHW
        sums: Sums = [None] * self.num_sums
        past = Past()
        wide = route.wide(self.mixed_channels) if self.execution.wide else {}
        for source, fan_out in enumerate(self.fan_out):
            if self.partial > 1:
                state_BCHW, beside_BCHW = part(state_BCHW, self.mixed_channels)
                weights_M = None if route.beside is None else route.beside[source]
                past.add(beside_BCHW, fan_out.all_targets, weights_M)
            leave(fan_out, state_BCHW, route, source, sums, wide)
            total_BCHW = sums[source]
            state_BCHW = torch.zeros_like(state_BCHW) if total_BCHW is None else total_BCHW
            if source + 1 in route.carried:
                state_BCHW = state_BCHW + route.carried[source + 1].to(state_BCHW.dtype)
            if self.partial > 1:
                state_BCHW = join(state_BCHW, past.to(source), self.partial)
        return state_BCHW


class NasBench201Supernet(MacroNetwork):
    """The over-parameterised network of NAS-Bench-201 (Dong and Yang 2020; section 2.1).

    Owns no architecture parameter: `forward` applies the op weights it is given. Convolutions are torch's,
    one for all edges of a source, with nothing to recompute; the compiled kernel normalises and adds up.

    Args:
        groups: the edge group `cell`.
        image_shape: (C, H, W) of an image.
        num_classes: outputs of the classifier.
        cells_per_stage: N, cells of each of the three stages.
        init_channels: C of the first stage.
        partial: K of the partial channels, 1 for all.
        kept: {"cell": [E, O], true where the network holds a candidate}; None for all of them.
        separate: whether the candidates of every edge stand by themselves (`Paths`).
    """

    def __init__(
        self,
        groups: Mapping[str, EdgeGroup],
        image_shape: Sequence[int],
        num_classes: int,
        cells_per_stage: int,
        init_channels: int,
        partial: int = 1,
        kept: Mapping[str, Tensor] | None = None,
        separate: bool = False,
    ):
        execution = Execution()
        held = kept_operations(groups[CELL], (kept or {}).get(CELL))
        super().__init__(
            image_shape,
            num_classes,
            cells_per_stage,
            init_channels,
            lambda channels: SearchCell(groups[CELL], held, channels, partial, execution, separate),
        )
        self.groups = dict(groups)
        self.partial = partial
        self.execution = execution
        self.separate = separate
        cell = next(module for module in self.cells if isinstance(module, SearchCell))
        holders = {source: fan_out.holders for source, fan_out in enumerate(cell.fan_out)}
        beside = {source: fan_out.beside for source, fan_out in enumerate(cell.fan_out)}
        self._plan = ScalePlan(self.groups[CELL], holders, beside)

    def forward(self, x_BCHW: Tensor, op_weights: Mapping[str, Tensor]) -> Tensor:
        """Images [B, C, H, W] and op weights {"cell": [E, O]} -> logits [B, classes]."""
        check_op_weights(self.groups, op_weights)
        route = self._plan.route(OpWeights.of(op_weights), CELL)
        if x_BCHW.device.type == "cpu":
            # Torch's convolutions are a third faster so. On a GPU the hardware profile decides.
            x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
        x_BCHW = self.stem(x_BCHW)
        for module in self.cells:
            x_BCHW = module(x_BCHW, route) if isinstance(module, SearchCell) else module(x_BCHW)
        return self._classify(x_BCHW)
