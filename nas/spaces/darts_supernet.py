"""The supernet of the DARTS space: cells whose nodes fan out over every candidate operation."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nas.spaces.mixed import Execution, FanOut
from nas.spaces.native.separable import DenseGradient
from nas.spaces.operations import FactorizedReduce, relu_conv_bn
from nas.spaces.space import EdgeGroup, check_op_weights
from nas.spaces.stems import build_stem


def reduction_positions(num_cells: int) -> tuple[int, ...]:
    """Indices of the reduction cells: a third and two thirds down the network."""
    return tuple(sorted({num_cells // 3, 2 * num_cells // 3}))


class ScalePlan:
    """Cuts the op weights [E, O] of a group into one vector a candidate and source, once for all its cells.

    The gather and the split are one operator each, whatever the number of cells and edges.
    """

    def __init__(
        self, group: EdgeGroup, sources: Sequence[int], holders: Mapping[int, Mapping[str, Sequence[int]]]
    ):
        num_operations = group.shape[1]
        self.keys: list[tuple[int, str]] = []
        self.sizes: list[int] = []
        order: list[int] = []
        for source in sources:
            rows = [row for row, edge in enumerate(group.edges) if edge[0] == source]
            for name, positions in holders[source].items():
                self.keys.append((source, name))
                self.sizes.append(len(positions))
                order += [rows[p] * num_operations + group.operations[rows[p]].index(name) for p in positions]
        self.order = torch.tensor(order)

    def __call__(self, weights_EO: Tensor) -> dict[int, dict[str, tuple[Tensor, ...]]]:
        """Source -> candidate -> the 0-dimensional op weights of the edges that hold it."""
        self.order = self.order.to(weights_EO.device)
        scales: dict[int, dict[str, tuple[Tensor, ...]]] = {}
        values = weights_EO.flatten()[self.order].split(self.sizes)
        for (source, name), value in zip(self.keys, values, strict=True):
            scales.setdefault(source, {})[name] = value.unbind()
        return scales


class SearchCell(nn.Module):
    """A cell of the supernet: preprocessing, then nodes in order, each fanning out to the later ones."""

    def __init__(
        self,
        group: EdgeGroup,
        c_prev_prev: int,
        c_prev: int,
        channels: int,
        reduction: bool,
        reduction_prev: bool,
        execution: Execution,
    ):
        super().__init__()
        self.execution = execution
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
            fan_outs[str(source)] = FanOut(
                channels,
                stride=2 if reduction and source < 2 else 1,
                targets=[group.edges[row][1] - 2 for row in rows],
                operations=[group.operations[row] for row in rows],
                execution=execution,
            )
        self.fan_out = nn.ModuleDict(fan_outs)

    def forward(
        self, s0_BCHW: Tensor, s1_BCHW: Tensor, scales: dict[int, dict[str, Sequence[Tensor]]]
    ) -> Tensor:
        """Two cell inputs -> the concatenated nodes [B, nodes*C, H', W']."""
        states = [self.preprocess0(s0_BCHW), self.preprocess1(s1_BCHW)]
        sums: list[Tensor | None] = [None] * self.num_nodes
        for source in range(self.num_nodes + 2):
            if source >= 2:
                node_BCHW = sums[source - 2]
                states.append(DenseGradient.apply(node_BCHW) if self.execution.native else node_BCHW)
            if str(source) in self.fan_out:
                self.fan_out[str(source)](states[source], scales[source], sums)
        return torch.cat(states[2:], dim=1)


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
    ):
        super().__init__()
        self.groups = dict(groups)
        self.execution = Execution()
        self.stem = build_stem(stem, image_shape[0], init_channels, stem_multiplier)
        self.cells = nn.ModuleList()
        self.kinds: list[str] = []
        c_prev_prev, c_prev = self.stem.channels
        channels, reduction_prev = init_channels, self.stem.reduced
        for index in range(num_cells):
            reduction = index in reduction_positions(num_cells)
            if reduction:
                channels *= 2
            kind = "reduce" if reduction else "normal"
            cell = SearchCell(
                self.groups[kind], c_prev_prev, c_prev, channels, reduction, reduction_prev, self.execution
            )
            self.cells.append(cell)
            self.kinds.append(kind)
            reduction_prev = reduction
            c_prev_prev, c_prev = c_prev, cell.num_nodes * channels
        self.classifier = nn.Linear(c_prev, num_classes)
        self._plans = {kind: self._plan(kind) for kind in sorted(set(self.kinds))}

    def _plan(self, kind: str) -> ScalePlan:
        cell = self.cells[self.kinds.index(kind)]
        sources = [int(source) for source in cell.fan_out]
        return ScalePlan(self.groups[kind], sources, {s: cell.fan_out[str(s)].holders for s in sources})

    @contextmanager
    def twice_differentiable(self) -> Iterator[None]:
        """Inside the block every operator has second derivatives, at whatever cost in speed."""
        native, self.execution.native = self.execution.native, None
        try:
            yield
        finally:
            self.execution.native = native

    def forward(self, x_BCHW: Tensor, op_weights: Mapping[str, Tensor]) -> Tensor:
        """Images [B, C, H, W] and op weights {group: [E, O]} -> logits [B, classes]."""
        check_op_weights(self.groups, op_weights)
        scales = {kind: plan(op_weights[kind]) for kind, plan in self._plans.items()}
        if self.execution.native is not None:
            x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
        s0_BCHW, s1_BCHW = self.stem(x_BCHW)
        for kind, cell in zip(self.kinds, self.cells, strict=True):
            s0_BCHW, s1_BCHW = s1_BCHW, cell(s0_BCHW, s1_BCHW, scales[kind])
        return self.classifier(s1_BCHW.mean(dim=(2, 3)))
