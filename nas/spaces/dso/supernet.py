"""The supernet of DSO-NAS: fully connected blocks whose connections are weighted by scaling factors.

All connections from one level into another are one matrix product on stacked feature maps, added in place to
the running sums; the scaling factors of a block's output are folded into its 1x1 convolutions. What has been
pruned is not built.

Shapes: B batch, C channels, H W space, G groups of one layout, E connections, T operations of a level, S
those of an earlier one, P = B*H*W*C.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.spaces.dso.layout import BlockLayout
from nas.spaces.dso.parts import (
    FIXED_SCALES,
    REDUCTIONS,
    Head,
    Norm,
    Operation,
    Place,
    build_operation,
    build_reduction,
    build_shortcut,
    build_stem,
    executed,
    initialise,
)
from nas.spaces.signals import fit_to
from nas.spaces.space import EdgeGroup, check_op_weights


@dataclass(frozen=True)
class Level:
    """What is alive of one level.

    Attributes:
        nodes: its operations, those that the output takes first.
        sources: for each earlier level that feeds it (0: the block's input) the nodes of that level; the
            matrix of its factors is [nodes, sources].
        outputs: how many of the nodes the output takes.
    """

    nodes: tuple[int, ...]
    sources: tuple[tuple[int, tuple[int, ...]], ...]
    outputs: int


@dataclass(frozen=True)
class Factors:
    """The scaling factors of one group as its blocks apply them.

    Attributes:
        inputs: for each level, for each of its source levels, [T, S].
        outputs: for each level that the output takes something of, [operations taken].
        gate: 1 if the output takes anything at all, otherwise 0; no dimension.
    """

    inputs: list[list[Tensor]]
    outputs: list[Tensor]
    gate: Tensor


class BlockPlan:
    """What a group's blocks hold, and where their factors lie among the group's rows.

    Args:
        layout: of the block.
        alive_E: bool, cleaned: the connections that are held.
    """

    def __init__(self, layout: BlockLayout, alive_E: Tensor):
        rows = dict(zip(layout.edges, alive_E.tolist(), strict=True))
        held = layout.alive_operations(alive_E).tolist()
        self.levels: list[Level] = []
        by_level: dict[int, tuple[int, ...]] = {0: (0,)}
        order: list[int] = []
        self.shapes: list[tuple[int, ...]] = []
        for number in range(1, layout.levels + 1):
            nodes = [node for node in layout.nodes(number) if held[node - 1]]
            # Those that the output takes come first, so that they are one slice of the level's stack.
            nodes.sort(key=lambda node: not rows[node, layout.output])
            outputs = sum(rows[node, layout.output] for node in nodes)
            sources = []
            for below in range(number if number in layout.factored_levels else 0):
                pairs = [(source, node) for node in nodes for source in by_level[below]]
                if any(rows[pair] for pair in pairs):
                    sources.append((below, by_level[below]))
                    order += [layout.row(*pair) for pair in pairs]
                    self.shapes.append((len(nodes), len(by_level[below])))
            by_level[number] = tuple(nodes)
            self.levels.append(Level(tuple(nodes), tuple(sources), outputs))
        for level in self.levels:
            order += [layout.row(node, layout.output) for node in level.nodes[: level.outputs]]
            self.shapes.append((level.outputs,))
        self.order = torch.tensor(order, dtype=torch.long)
        self.sizes = [torch.Size(shape).numel() for shape in self.shapes]

    def __call__(self, factors_E: Tensor, gate: Tensor) -> Factors:
        """Cuts the factors of the group into the matrices of its levels: one gather for all its blocks."""
        self.order = self.order.to(factors_E.device)
        pieces = iter(
            piece.view(shape)
            for piece, shape in zip(factors_E[self.order].split(self.sizes), self.shapes, strict=True)
        )
        inputs = [[next(pieces) for _ in level.sources] for level in self.levels]
        return Factors(inputs, list(pieces), gate)


class SearchBlock(nn.Module):
    """One block: M levels, the output, the shortcut. Holds what its plan says and is its shortcut without it.

    Parameters are named by the node that they belong to, `operations.<node>` and `outputs.<node>`, so that
    those of a pruned block are some of the whole one's.

    Args:
        layout: of the block.
        plan: what it holds.
        channels: C.
        first: whether the shortcut is a convolution.
        scale: whether that convolution's BN has a learnable scale.
    """

    outputs: Any  # nn.ModuleDict of nn.Conv2d

    def __init__(self, layout: BlockLayout, plan: BlockPlan, channels: int, first: bool, scale: bool):
        super().__init__()
        self.levels = plan.levels
        self.operations = nn.ModuleDict()
        self.outputs = nn.ModuleDict()
        for level in self.levels:
            for node in level.nodes:
                self.operations[str(node)] = build_operation(layout.operation(node), channels, scale=False)
            for node in level.nodes[: level.outputs]:
                self.outputs[str(node)] = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = Norm(channels) if len(self.outputs) > 0 else None
        self.shortcut = build_shortcut(channels, first, scale)

    def forward(self, x_BCHW: Tensor, factors: Factors) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        shortcut_BCHW = self.shortcut(x_BCHW)
        if self.norm is None:
            return shortcut_BCHW
        # In the order of memory, so that neither a stack nor a product moves channels.
        nhwc = x_BCHW.is_contiguous(memory_format=torch.channels_last)
        stacks: dict[int, Tensor] = {0: (x_BCHW.permute(0, 2, 3, 1) if nhwc else x_BCHW).unsqueeze(0)}
        total: Tensor | None = None
        outputs = iter(factors.outputs)
        for number, (level, matrices) in enumerate(zip(self.levels, factors.inputs, strict=True), start=1):
            weights = next(outputs)
            if not level.nodes:
                continue
            stack = self._run(level, self._inputs(x_BCHW, level, matrices, stacks, nhwc), nhwc)
            stacks[number] = stack
            if level.outputs > 0:
                total = self._add_outputs(level, stack, weights, total, nhwc)
        assert total is not None  # a norm is there where some level has outputs
        total_BCHW = total.view(stacks[0].shape[1:]).permute(0, 3, 1, 2) if nhwc else total
        return F.relu(self.norm(total_BCHW, factors.gate), inplace=True) + shortcut_BCHW

    def _inputs(
        self,
        x_BCHW: Tensor,
        level: Level,
        matrices: Sequence[Tensor],
        stacks: Mapping[int, Tensor],
        nhwc: bool,
    ) -> list[Tensor]:
        """The inputs of a level's operations, [B, C, H, W] each."""
        if not level.sources:
            return [x_BCHW] * len(level.nodes)  # the first level, unscaled
        sums_TP: Tensor | None = None
        for (below, _), matrix_TS in zip(level.sources, matrices, strict=True):
            stack_SP = stacks[below].flatten(1)
            matrix_TS = matrix_TS.to(stack_SP.dtype)
            sums_TP = matrix_TS @ stack_SP if sums_TP is None else sums_TP.addmm_(matrix_TS, stack_SP)
        assert sums_TP is not None
        inputs = sums_TP.view(-1, *stacks[0].shape[1:]).unbind()
        return [x.permute(0, 3, 1, 2) if nhwc else x for x in inputs]

    def _run(self, level: Level, inputs: Sequence[Tensor], nhwc: bool) -> Tensor:
        """A level's operations, stacked: [T, B, H, W, C] or, without `nhwc`, [T, B, C, H, W]."""
        results = []
        for node, input_BCHW in zip(level.nodes, inputs, strict=True):
            operation = self.operations[str(node)]
            assert isinstance(operation, Operation)
            h_BCHW = operation.before_relu(input_BCHW)
            results.append(h_BCHW.permute(0, 2, 3, 1) if nhwc else h_BCHW)
        # BN keeps its input alone, so its results can go once they are stacked; one ReLU for the level.
        return torch.stack(results).relu_()

    def _add_outputs(
        self, level: Level, stack: Tensor, factors_T: Tensor, total: Tensor | None, nhwc: bool
    ) -> Tensor:
        """Adds the 1x1 convolutions of the scaled branches of a level: [B*H*W, C] or [B, C, H, W]."""
        convs = [self.outputs[str(node)].weight for node in level.nodes[: level.outputs]]
        branches = stack[: level.outputs]
        weights_TOI = torch.stack(convs).flatten(2) * factors_T.view(-1, 1, 1)
        weights_TOI = weights_TOI.to(stack.dtype)
        if nhwc:
            branches_TPI, weights_TIO = branches.flatten(1, 3), weights_TOI.transpose(1, 2)
            if total is None:
                return torch.addbmm(stack.new_zeros(()), branches_TPI, weights_TIO, beta=0)
            return total.addbmm_(branches_TPI, weights_TIO)
        for branch_BCHW, weight_OI in zip(branches.unbind(), weights_TOI.unbind(), strict=True):
            h_BCHW = F.conv2d(branch_BCHW, weight_OI[:, :, None, None])
            total = h_BCHW if total is None else total.add_(h_BCHW)
        assert total is not None
        return total


class SearchReduction(nn.Module):
    """Two strided convolutions, each times its scaling factor, summed; there is no shortcut."""

    def __init__(self, channels: int, held: Sequence[bool], scale: bool):
        super().__init__()
        self.rows = [row for row, is_held in enumerate(held) if is_held]
        names = list(REDUCTIONS)
        self.branches = nn.ModuleDict(
            {names[row]: build_reduction(names[row], channels, scale) for row in self.rows}
        )

    def forward(self, x_BCHW: Tensor, factors_E: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, 2*C, H/2, W/2], sides rounded up."""
        total: Tensor | None = None
        for row, branch in zip(self.rows, self.branches.values(), strict=True):
            h_BCHW = branch(x_BCHW)
            factor = factors_E[row].to(h_BCHW.dtype)
            total = h_BCHW * factor if total is None else total.addcmul_(h_BCHW, factor)
        assert total is not None
        return total


class DsoSupernet(nn.Module):
    """The fully connected network of DSO-NAS (section 3.2); owns no scaling factor.

    A connection counts only if a chain of non-zero factors leads from the block's input to its source; an
    operation without any input contributes nothing, and a block whose output takes nothing is its shortcut.
    The forward pass follows this from the factors themselves, on their device, so pruning what cannot count
    leaves the logits as they were.

    With a kernel `execution` runs the separable convolutions in training by it. There is nothing to lay wide,
    for no two operations of a level are alike, nor to recompute.

    Args:
        groups: edge groups of the space.
        layout: of every block.
        places: the blocks in order.
        alive: {group: bool [E, 1], cleaned}: what the network holds.
        image_shape: (C, H, W) of an image.
        num_classes: outputs of the classifier.
        stem: `cifar` or `imagenet`.
        fixed_scales: which scales are fixed to 1 beside those of a block's operations, see `DsoSpace`.
    """

    alive_GE: Tensor

    def __init__(
        self,
        groups: Mapping[str, EdgeGroup],
        layout: BlockLayout,
        places: Sequence[Place],
        alive: Mapping[str, Tensor],
        image_shape: Sequence[int],
        num_classes: int,
        stem: str,
        fixed_scales: str = "code",
    ):
        super().__init__()
        branches, stems = FIXED_SCALES[fixed_scales]
        self.groups = dict(groups)
        self.layout = layout
        self.places = tuple(places)
        self.block_groups = list(dict.fromkeys(p.group for p in self.places if not p.reduction))
        alive_GE = torch.stack([alive[name][:, 0] for name in self.block_groups]).cpu()
        self.register_buffer("alive_GE", alive_GE, persistent=False)
        self._plans = [BlockPlan(layout, alive_E) for alive_E in alive_GE]
        plans = dict(zip(self.block_groups, self._plans, strict=True))
        self.stem = build_stem(stem, image_shape[0], self.places[0].channels, scale=stems)
        self.blocks = nn.ModuleList(
            SearchReduction(place.channels, alive[place.group][:, 0].tolist(), branches)
            if place.reduction
            else SearchBlock(layout, plans[place.group], place.channels, place.first, branches)
            for place in self.places
        )
        self.head = Head(self.places[-1].channels, num_classes)
        self.execution = executed(self)
        fit_to(self, image_shape)
        initialise(self)

    def forward(self, x_BCHW: Tensor, op_weights: Mapping[str, Tensor]) -> Tensor:
        """Images [B, C, H, W] and scaling factors {group: [E, 1]} -> logits [B, classes]."""
        check_op_weights(self.groups, op_weights)
        factors = self._factors(op_weights)
        x_BCHW = self.stem(x_BCHW)
        for place, module in zip(self.places, self.blocks, strict=True):
            own = op_weights[place.group][:, 0] if place.reduction else factors[place.group]
            x_BCHW = module(x_BCHW, own)
        return self.head(x_BCHW)

    def _factors(self, op_weights: Mapping[str, Tensor]) -> dict[str, Factors]:
        """The factors that count, of all groups of blocks at once."""
        given_GE = torch.stack([op_weights[name][:, 0] for name in self.block_groups])
        held_GE = self.alive_GE.to(given_GE.device)
        alive_GE = (given_GE != 0) & held_GE
        connected_GE = self.layout.connected(alive_GE)
        # A zero whose source is connected keeps its gradient: it may come back until it has been pruned.
        factors_GE = torch.where(connected_GE & held_GE, given_GE, 0.0)
        gates_G = self.layout.into_output(alive_GE & connected_GE).any(dim=-1)
        return {
            name: plan(factors_E, gate)
            for name, plan, factors_E, gate in zip(
                self.block_groups, self._plans, factors_GE.unbind(), gates_G.unbind(), strict=True
            )
        }
