"""The evaluation network of DSO-NAS: what was found, without scaling factors, trained from scratch.

Zhang et al., "Single Shot NAS via Direct Sparse Optimization", sections 3.2 and 4.1, and the release.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import require
from nas.genotype import Cell, Genotype
from nas.genotype_text import REDUCTION
from nas.spaces.dso.parts import (
    OPERATIONS,
    ConvNormRelu,
    Head,
    Norm,
    build_operation,
    build_reduction,
    build_shortcut,
    build_stem,
    check_blocks,
    executed,
    initialise,
    places,
    stage_sizes,
)
from nas.spaces.modules import DropPath, set_drop_path
from nas.spaces.signals import fit_to, is_signal

BLOCK = "block"
AUTHORS_LEVELS = 4  # levels of their blocks, by which their drop-path counts depth


class EvaluationBlock(nn.Module):
    """A pruned block: R(concatenation of the branches) + shortcut, where R is 1x1 conv, BN, ReLU.

    An operation sums what feeds it, every connection with weight 1. A block without a branch is its shortcut.
    Operations that lead to no branch are not built.

    Args:
        name: of the cell, for errors.
        cell: of one input; a node has one operation, or no edge if it is dead.
        channels: C.
        first: whether it is the first of its stage, which has a 1x1 convolution for a shortcut.

    Raises:
        ConfigError: the cell is no block.
    """

    input_paths: Any  # nn.ModuleDict of lists of DropPath

    def __init__(self, name: str, cell: Cell, channels: int, first: bool):
        super().__init__()
        _check_block(name, cell)
        self.branches = [node for node in cell.output if node > 0]
        self.sources = needed(cell)
        self.operations = nn.ModuleDict()
        self.input_paths = nn.ModuleDict()
        for node, sources in self.sources.items():
            operation = cell.nodes[node - 1][0].operation
            self.operations[str(node)] = build_operation(operation, channels, scale=True)
            if len(sources) > 1:
                self.input_paths[str(node)] = nn.ModuleList(DropPath(0.0) for _ in sources)
        self.branch_paths = nn.ModuleList(DropPath(0.0) for _ in self.branches)
        width = len(self.branches) * channels
        self.output = ConvNormRelu(width, channels, 1) if self.branches else None
        self.shortcut = build_shortcut(channels, first)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        shortcut_BCHW = self.shortcut(x_BCHW)
        if self.output is None:
            return shortcut_BCHW
        states = {0: x_BCHW}
        for node, sources in self.sources.items():
            inputs = [states[source] for source in sources]
            if len(inputs) > 1:
                paths = self.input_paths[str(node)]
                inputs = [path(h_BCHW) for path, h_BCHW in zip(paths, inputs, strict=True)]
            states[node] = self.operations[str(node)](_sum(inputs))
        branches = [path(states[node]) for path, node in zip(self.branch_paths, self.branches, strict=True)]
        joined_BCHW = torch.cat(branches, dim=1) if len(branches) > 1 else branches[0]
        return self.output(joined_BCHW) + shortcut_BCHW


class EvaluationReduction(nn.Module):
    """The live branches of a reduction block, summed: halves the resolution, doubles the width, no shortcut.

    Raises:
        ConfigError: the cell is no reduction, or both of its branches are dead.
    """

    def __init__(self, name: str, cell: Cell, channels: int):
        super().__init__()
        _check_reduction(name, cell)
        names = [cell.nodes[node - 1][0].operation for node in cell.output]
        self.branches = nn.ModuleList(build_reduction(operation, channels) for operation in names)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, 2C, ceil(H/2), ceil(W/2)]."""
        return _sum([branch(x_BCHW) for branch in self.branches])


class AuxiliaryHead(nn.Module):
    """A second classifier after the last reduction, used in training only.

    BN-ReLU, average pooling of 5x5, 1x1 convolution to 128 and 2x2 to 768 channels, each with BN-ReLU as
    every convolution of these networks has it, global average, linear layer.

    Raises:
        ConfigError: the feature maps are too small.
    """

    def __init__(
        self, channels: int, num_classes: int, stem: str, feature_size: Sequence[int], signal: bool = False
    ):
        super().__init__()
        stride = 2 if stem == "imagenet" else 3
        require(
            feature_size[1] >= 5 + stride and (signal or feature_size[0] >= 5 + stride),
            f"recipe.auxiliary_weight: the auxiliary head needs feature maps of at least {5 + stride} pixels "
            f"a side, these are {feature_size[0]}x{feature_size[1]}; set recipe.auxiliary_weight=0",
        )
        self.norm = Norm(channels)
        self.features = nn.Sequential(
            nn.AvgPool2d(5, stride),
            nn.Conv2d(channels, 128, 1, bias=False),
            Norm(128),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, 768, 2, bias=False),
            Norm(768),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Linear(768, num_classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> logits [B, classes]."""
        h_BCHW = self.features(F.relu(self.norm(x_BCHW), inplace=True))
        return self.classifier(h_BCHW.mean(dim=(2, 3)))


class DsoNetwork(nn.Module):
    """The network that a DSO-NAS genotype stands for.

    A cell `block` is used for every block. With cells `block_01`, `block_02`, ... each block has its own, and
    there must be as many as blocks. A genotype of one `block` may be used with another number of stages than
    it was found with, as when CIFAR-10's is transferred to ImageNet: further reductions are as its last one.

    Args:
        genotype: cells `block` or `block_01`, ..., and `reduce_1`, ... between stages.
        image_shape: (C, H, W) of an image.
        num_classes: outputs of the classifier.
        blocks_per_stage: blocks of every stage; a reduction ends every stage but the last.
        init_channels: C of the first stage, doubled by each reduction.
        stem: `cifar` or `imagenet`.
        auxiliary: whether to build the auxiliary head, after the last reduction.
        dropout: probability of dropping a feature before the classifier.
        drop_path_depth: how drop-path depends on depth, see `set_drop_path`.

    Raises:
        ConfigError: the genotype does not fit the blocks, a size cannot be built, or the feature maps are too
            small for the auxiliary head.
    """

    def __init__(
        self,
        genotype: Genotype,
        image_shape: Sequence[int],
        num_classes: int,
        blocks_per_stage: Sequence[int],
        init_channels: int,
        stem: str,
        auxiliary: bool,
        dropout: float = 0.0,
        drop_path_depth: str = "blocks",
    ):
        super().__init__()
        require(
            drop_path_depth in ("blocks", "code"),
            f"recipe.drop_path_depth={drop_path_depth}: unknown; known are blocks, code",
        )
        blocks_per_stage = check_blocks(blocks_per_stage, init_channels, "recipe")
        require(0 <= dropout < 1, f"recipe.dropout={dropout}: must be at least 0 and below 1")
        share = check_cells(genotype, blocks_per_stage)
        self.stem = build_stem(stem, image_shape[0], init_channels, "recipe")
        self.drop_path_depth = drop_path_depth
        self.blocks = nn.ModuleList()
        self.auxiliary: AuxiliaryHead | None = None
        self.auxiliary_position: int | None = None
        for place in places(blocks_per_stage, init_channels, share):
            cell = cell_at(genotype, place.group)
            if place.reduction:
                self.auxiliary_position = len(self.blocks) if auxiliary else None
                self.blocks.append(EvaluationReduction(place.group, cell, place.channels))
            else:
                self.blocks.append(EvaluationBlock(place.group, cell, place.channels, place.first))
        channels = init_channels * 2 ** (len(blocks_per_stage) - 1)
        if auxiliary:
            require(
                self.auxiliary_position is not None,
                f"recipe.auxiliary_weight: the auxiliary head follows a reduction, and blocks_per_stage="
                f"{list(blocks_per_stage)} has a single stage; set recipe.auxiliary_weight=0",
            )
            size = stage_sizes(image_shape, stem, len(blocks_per_stage))[-1]
            self.auxiliary = AuxiliaryHead(channels, num_classes, stem, size, is_signal(image_shape))
        self.head = Head(channels, num_classes)
        self.head.dropout = dropout
        self.execution = executed(self)
        fit_to(self, image_shape)
        initialise(self)

    def set_drop_path(self, rate: float) -> None:
        """Sets the probability of dropping a path, which grows linearly with the depth of its block.

        With `blocks`, block b of n has rate * b / n. With `code` (the authors'), a block with u of n units,
        blocks and reductions, before it has rate * (4 u + 1) / (4 n + 8): of 24 blocks in 3 stages 1/112 to
        101/112 of the rate. Paths are the connections into operations that have several, and all branches
        into a block's output.
        """
        blocks = [(index, b) for index, b in enumerate(self.blocks) if isinstance(b, EvaluationBlock)]
        units = len(self.blocks) + 1  # as if the last stage, too, ended in a reduction
        for number, (index, block) in enumerate(blocks, start=1):
            depth = number / len(blocks)
            if self.drop_path_depth == "code":
                depth = (AUTHORS_LEVELS * index + 1) / (AUTHORS_LEVELS * (units + 1))
            set_drop_path(block, rate * depth)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images [B, C, H, W] -> logits [B, classes] and, in training, the auxiliary head's (else None)."""
        x_BCHW = self.stem(x_BCHW)
        auxiliary_BK = None
        for index, block in enumerate(self.blocks):
            x_BCHW = block(x_BCHW)
            if self.auxiliary is not None and index == self.auxiliary_position and self.training:
                auxiliary_BK = self.auxiliary(x_BCHW)
        return self.head(x_BCHW), auxiliary_BK


def _sum(values: list[Tensor]) -> Tensor:
    if len(values) == 1:
        return values[0]
    # The first sum is a tensor of its own, which the others may be added to in place.
    total = values[0] + values[1]
    for value in values[2:]:
        total += value
    return total


def needed(cell: Cell) -> dict[int, list[int]]:
    """The sources of every operation that leads to the output, in order of computation."""
    needed = {node for node in cell.output if node > 0}
    for node in range(len(cell.nodes), 0, -1):
        if node in needed:
            needed |= {edge.source for edge in cell.nodes[node - 1] if edge.source > 0}
    return {node: [edge.source for edge in cell.nodes[node - 1]] for node in sorted(needed)}


def _check_block(name: str, cell: Cell) -> None:
    require(cell.inputs == 1, f"genotype: {name} has {cell.inputs} inputs, but a block has one")
    for node, edges in enumerate(cell.nodes, start=1):
        operations = sorted({edge.operation for edge in edges})
        require(
            len(operations) <= 1,
            f"genotype: node {node} of {name} is one operation, not {operations} at once",
        )
        require(
            not operations or operations[0] in OPERATIONS,
            f"genotype: unknown operation {operations} in node {node} of {name}; known are "
            f"{', '.join(OPERATIONS)}",
        )
        sources = [edge.source for edge in edges]
        require(len(set(sources)) == len(sources), f"genotype: node {node} of {name} takes an input twice")
        for source in sources:
            require(
                source == 0 or cell.nodes[source - 1] != (),
                f"genotype: node {node} of {name} takes input from node {source}, which is dead",
            )
    require(
        cell.output == (0,) or all(node > 0 and cell.nodes[node - 1] != () for node in cell.output),
        f"genotype: output {list(cell.output)} of {name}: it names living operations, or 0 alone where there "
        "are none",
    )


def _check_reduction(name: str, cell: Cell) -> None:
    live = tuple(node for node, edges in enumerate(cell.nodes, start=1) if edges)
    single = all(len(edges) <= 1 and all(edge.source == 0 for edge in edges) for edges in cell.nodes)
    require(
        cell.inputs == 1 and single and cell.output == live,
        f"genotype: {name} is no reduction: branches from input to output, at least one of them alive",
    )


def check_cells(genotype: Genotype, blocks_per_stage: tuple[int, ...]) -> bool:
    """Whether one block is shared by all.

    Raises:
        ConfigError: it is of another space, or has not the cells that these stages need.
    """
    require(genotype.space == "dso", f"genotype: it belongs to space {genotype.space!r}, not to 'dso'")
    names = [name for name, _ in genotype.cells]
    reductions = [name for name in names if genotype.form.reduces(name)]
    blocks = [name for name in names if name not in reductions]
    known = [f"{REDUCTION}{number + 1}" for number in range(len(reductions))]
    require(
        sorted(reductions) == sorted(known),
        f"genotype: its reductions are {reductions}, where {known} are expected",
    )
    if blocks == [BLOCK]:
        require(
            len(blocks_per_stage) == 1 or len(reductions) > 0,
            f"genotype: no cell {REDUCTION}1, but recipe.blocks_per_stage={list(blocks_per_stage)} has "
            f"{len(blocks_per_stage)} stages",
        )
        return True
    total = sum(blocks_per_stage)
    require(
        blocks == [f"{BLOCK}_{number:02}" for number in range(1, total + 1)],
        f"genotype: its blocks are {', '.join(blocks) or 'none'}, but recipe.blocks_per_stage="
        f"{list(blocks_per_stage)} needs {total}: one named {BLOCK} for all, or {BLOCK}_01 to "
        f"{BLOCK}_{total:02}",
    )
    require(
        len(reductions) == len(blocks_per_stage) - 1,
        f"genotype: it has {len(reductions)} reductions, but recipe.blocks_per_stage="
        f"{list(blocks_per_stage)} needs {len(blocks_per_stage) - 1}",
    )
    return False


def cell_at(genotype: Genotype, group: str) -> Cell:
    """The cell of a place of the network; a stage too many has the last reduction."""
    if group in genotype:
        return genotype[group]
    last = max((name for name, _ in genotype.cells if genotype.form.reduces(name)), key=_number)
    return genotype[last]


def _number(reduction: str) -> int:
    return int(reduction.removeprefix(REDUCTION))
