"""The evaluation network of the DARTS space: a genotype's cells stacked, trained from scratch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nas.genotype import Cell, Genotype
from nas.spaces.darts.layout import cell_places, reduction_positions
from nas.spaces.modules import DropPath, FactorizedReduce, SeparableConv, relu_conv_bn, set_drop_path
from nas.spaces.operations import DARTS
from nas.spaces.signals import fit_to, is_signal
from nas.spaces.space import SKIP
from nas.spaces.stems import AuxiliaryHead, build_stem, check_image_size
from nas.spaces.supernet.candidate import Execution


class NodeSum:
    """The sum of a node's operations, in place where nobody else reads what is overwritten."""

    def __init__(self):
        self.value: Tensor | None = None
        # An identity's result is an earlier node, and other operations may keep theirs for the backward pass.
        self.own = False

    def add(self, operation: nn.Module, drop_path: nn.Module, x_BCHW: Tensor) -> None:
        """Adds drop_path(operation(x)), shape [B, C, H', W']."""
        if isinstance(operation, SeparableConv) and operation.fuses(x_BCHW):
            grown = operation.fused(x_BCHW, _factors(drop_path, x_BCHW), self.value if self.own else None)
            self.value = grown if self.own or self.value is None else grown.add_(self.value)
            self.own = True
            return
        h_BCHW = drop_path(operation(x_BCHW))
        if self.value is None:
            self.value = h_BCHW
        else:
            in_place = self.own and h_BCHW.dtype == self.value.dtype
            self.value = self.value.add_(h_BCHW) if in_place else self.value + h_BCHW
            self.own = True


def _factors(drop_path: nn.Module, x_BCHW: Tensor) -> Tensor | None:
    """What drop-path multiplies each image with, [B], drawn as it draws them; None: nothing."""
    if not drop_path.training or not drop_path.drop_prob:
        return None
    return drop_path(x_BCHW.new_ones(len(x_BCHW), 1, 1, 1)).flatten()


class EvaluationCell(nn.Module):
    """A discrete cell: every node sums its few chosen operations."""

    def __init__(
        self,
        cell: Cell,
        c_prev_prev: int,
        c_prev: int,
        channels: int,
        reduction: bool,
        reduction_prev: bool,
    ):
        super().__init__()
        self.cell = cell
        self.preprocess0 = (
            FactorizedReduce(c_prev_prev, channels, affine=True)
            if reduction_prev
            else relu_conv_bn(c_prev_prev, channels, 1, 1, affine=True)
        )
        self.preprocess1 = relu_conv_bn(c_prev, channels, 1, 1, affine=True)
        self.operations = nn.ModuleList()
        self.drop_paths = nn.ModuleList()
        for _, edge in cell.edges:
            stride = 2 if reduction and edge.source < 2 else 1
            self.operations.append(DARTS.build(edge.operation, channels, stride))
            # The authors never drop an identity, so a node keeps at least that.
            identity = edge.operation == SKIP and stride == 1
            self.drop_paths.append(nn.Identity() if identity else DropPath(0.0))

    def forward(self, s0_BCHW: Tensor, s1_BCHW: Tensor) -> Tensor:
        """Two cell inputs -> the concatenated output nodes [B, outputs*C, H', W']."""
        states = [self.preprocess0(s0_BCHW), self.preprocess1(s1_BCHW)]
        index = 0
        for edges in self.cell.nodes:
            total = NodeSum()
            for edge in edges:
                total.add(self.operations[index], self.drop_paths[index], states[edge.source])
                index += 1
            states.append(total.value)
        return torch.cat([states[node] for node in self.cell.output], dim=1)


class DartsNetwork(nn.Module):
    """The network that a DARTS genotype stands for (Liu et al. 2019, sections 3.2 and 3.4).

    Args:
        genotype: cells `normal` and `reduce`.
        image_shape: (C, H, W) of an image.
        num_classes: outputs of the classifier.
        num_cells: cells, with reductions at a third and two thirds.
        init_channels: C of the first cells.
        stem_multiplier: stem channels / C, for the `cifar` stem.
        stem: `cifar` or `imagenet`.
        auxiliary: whether to build the auxiliary head after the second reduction.
    """

    cells: Any  # nn.ModuleList of EvaluationCell

    def __init__(
        self,
        genotype: Genotype,
        image_shape: Sequence[int],
        num_classes: int,
        num_cells: int,
        init_channels: int,
        stem_multiplier: int,
        stem: str,
        auxiliary: bool,
    ):
        super().__init__()
        feature_size = check_image_size(image_shape, stem, len(reduction_positions(num_cells)))
        self.stem = build_stem(stem, image_shape[0], init_channels, stem_multiplier)
        self.cells = nn.ModuleList()
        self.auxiliary_position = 2 * num_cells // 3 if auxiliary else None
        self.auxiliary: AuxiliaryHead | None = None
        c_prev_prev, c_prev = self.stem.channels
        reduction_prev = self.stem.reduced
        for index, place in enumerate(cell_places(num_cells, init_channels)):
            cell = genotype[place.group]
            self.cells.append(
                EvaluationCell(cell, c_prev_prev, c_prev, place.channels, place.reduction, reduction_prev)
            )
            reduction_prev = place.reduction
            c_prev_prev, c_prev = c_prev, len(cell.output) * place.channels
            if index == self.auxiliary_position:
                self.auxiliary = AuxiliaryHead(
                    c_prev, num_classes, stem, feature_size, is_signal(image_shape)
                )
        self.classifier = nn.Linear(c_prev, num_classes)
        fit_to(self, image_shape)
        self.execution = Execution()
        for module in self.modules():
            if isinstance(module, SeparableConv):
                module.execution = self.execution

    def set_drop_path(self, rate: float) -> None:
        """Sets the probability of dropping a path, for every edge that is not an identity."""
        set_drop_path(self, rate)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images [B, C, H, W] -> logits [B, classes] and, in training, the auxiliary head's (else None)."""
        s0_BCHW, s1_BCHW = self.stem(x_BCHW)
        auxiliary_BK = None
        for index, cell in enumerate(self.cells):
            s0_BCHW, s1_BCHW = s1_BCHW, cell(s0_BCHW, s1_BCHW)
            if self.auxiliary is not None and index == self.auxiliary_position and self.training:
                auxiliary_BK = self.auxiliary(s1_BCHW)
        return self.classifier(s1_BCHW.mean(dim=(2, 3))), auxiliary_BK
