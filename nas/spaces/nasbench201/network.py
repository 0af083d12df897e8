"""The macro network of NAS-Bench-201 (Dong and Yang 2020, section 2.1) and its evaluation network."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nas.genotype import Cell, Genotype
from nas.spaces.modules import DropPath, relu_conv_bn, set_drop_path
from nas.spaces.nasbench201.operations import NASBENCH201
from nas.spaces.norm import batch_norm
from nas.spaces.signals import fit_to
from nas.spaces.space import SKIP, ZERO
from nas.spaces.stems import check_image_size

STAGES = 3


class ResidualBlock(nn.Module):
    """The basic block between two stages: halves the resolution, changes the width."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.conv_a = relu_conv_bn(c_in, c_out, 3, 2, affine=True)
        self.conv_b = relu_conv_bn(c_out, c_out, 3, 1, affine=True)
        self.downsample = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(c_in, c_out, 1, bias=False))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C_in, H, W] -> [B, C_out, H/2, W/2]; H and W must be even, or H 1 of signals."""
        return self.downsample(x_BCHW) + self.conv_b(self.conv_a(x_BCHW))


class MacroNetwork(nn.Module):
    """Stem, three stages of equal cells with a residual block before the second and the third, classifier.

    The BNs of stem, residual blocks and classifier are affine in a search as well, as in the code of both
    NAS-Bench-201 and DrNAS: only the candidates' are not.

    Args:
        image_shape: (C, H, W) of an image.
        num_classes: outputs of the classifier.
        cells_per_stage: N, cells of a stage.
        init_channels: C of the first stage; doubles at each residual block.
        build_cell: channels -> a cell that keeps shape [B, channels, H, W].

    Raises:
        ConfigError: the images are too small for two halvings.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        num_classes: int,
        cells_per_stage: int,
        init_channels: int,
        build_cell: Callable[[int], nn.Module],
    ):
        super().__init__()
        check_image_size(image_shape, "cifar", STAGES - 1)
        self.stem = nn.Sequential(
            nn.Conv2d(image_shape[0], init_channels, 3, padding=1, bias=False),
            batch_norm(init_channels, affine=True),
        )
        self.cells = nn.ModuleList()
        channels = init_channels
        for stage in range(STAGES):
            if stage > 0:
                self.cells.append(ResidualBlock(channels, 2 * channels))
                channels *= 2
            self.cells.extend(build_cell(channels) for _ in range(cells_per_stage))
        self.last_norm = batch_norm(channels, affine=True)
        self.classifier = nn.Linear(channels, num_classes)
        fit_to(self, image_shape)

    def _classify(self, x_BCHW: Tensor) -> Tensor:
        return self.classifier(torch.relu(self.last_norm(x_BCHW)).mean(dim=(2, 3)))


class EvaluationCell(nn.Module):
    """A discrete cell: every node sums its edges, the last node is the output.

    What cannot reach the output is computed as well: the benchmark's parameters and multiply-adds count it.
    """

    def __init__(self, cell: Cell, channels: int):
        super().__init__()
        self.nodes = [[edge for edge in edges if edge.operation != ZERO] for edges in cell.nodes]
        edges = [edge for node in self.nodes for edge in node]
        self.operations = nn.ModuleList(NASBENCH201.build(edge.operation, channels) for edge in edges)
        # As in the DARTS space an identity is never dropped, so a node keeps at least that.
        self.drop_paths = nn.ModuleList(
            nn.Identity() if edge.operation == SKIP else DropPath(0.0) for edge in edges
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]; a node without a computing edge is zero."""
        states = [x_BCHW]
        index = 0
        for edges in self.nodes:
            total: Tensor | None = None
            for edge in edges:
                h_BCHW = self.drop_paths[index](self.operations[index](states[edge.source]))
                total = h_BCHW if total is None else total + h_BCHW
                index += 1
            states.append(torch.zeros_like(x_BCHW) if total is None else total)
        return states[-1]


class NasBench201Network(MacroNetwork):
    """The network that an architecture of NAS-Bench-201 stands for.

    Args:
        genotype: of one cell, `cell`.
        image_shape: (C, H, W) of an image.
        num_classes: outputs of the classifier.
        cells_per_stage: N; the benchmark 5.
        init_channels: C of the first stage; the benchmark 16.
    """

    def __init__(
        self,
        genotype: Genotype,
        image_shape: Sequence[int],
        num_classes: int,
        cells_per_stage: int,
        init_channels: int,
    ):
        super().__init__(
            image_shape,
            num_classes,
            cells_per_stage,
            init_channels,
            lambda channels: EvaluationCell(genotype["cell"], channels),
        )

    def set_drop_path(self, rate: float) -> None:
        """Sets the probability of dropping a path, for every edge that is not an identity."""
        set_drop_path(self, rate)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, None]:
        """Images [B, C, H, W] -> logits [B, classes], and None for the auxiliary head that there is not."""
        x_BCHW = self.stem(x_BCHW)
        for module in self.cells:
            x_BCHW = module(x_BCHW)
        return self._classify(x_BCHW), None
