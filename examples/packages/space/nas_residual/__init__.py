"""A space of one's own: a stack of residual blocks, and the operation of each block is searched."""

from collections.abc import Mapping, Sequence
from functools import partial as bound

from torch import Tensor, nn

import nas.spaces
from nas.genotype import Cell, Edge, Genotype
from nas.spaces.operations import DARTS
from nas.spaces.space import EdgeGroup, ImageInputs, check_op_weights


class Residual(nas.spaces.Space):
    """`blocks` in a row, x + operation(x); after each third of them half the side and twice the channels.

    Args:
        name: of the space.
        operations: candidates of every block, by their names in the DARTS space or their import paths.
        blocks: how many.
        init_channels: channels of the first third.
    """

    family = "residual"

    def __init__(self, name: str, operations: Sequence[str], blocks: int = 6, init_channels: int = 8):
        self.name, self.init_channels = name, init_channels
        edges = tuple((place, place + 1) for place in range(blocks))
        self.groups = {"stack": EdgeGroup(edges, (tuple(operations),) * blocks)}

    def derive(self, scores: Mapping[str, Tensor]) -> Genotype:
        names = self.groups["stack"].operations
        best = scores["stack"].argmax(dim=-1).tolist()
        nodes = tuple((Edge(place, names[place][column]),) for place, column in enumerate(best))
        return Genotype(self.family, (("stack", Cell(nodes, (len(nodes),), inputs=1)),))

    def supernet(self, inputs: ImageInputs, partial=None, kept=None) -> nn.Module:
        return Supernet(self.groups, inputs, self.init_channels)

    def network(self, genotype: Genotype, inputs: ImageInputs, auxiliary: bool = False) -> nn.Module:
        self.check_genotype(genotype, "stack")
        return Network(genotype, inputs, self.init_channels)


class Stack(nn.Module):
    """A stem, the blocks and a classifier; who derives from it says what a block computes.

    Args:
        inputs: shape [C, H, W] of an image and the number of classes.
        operations: for each block the names of the operations that it holds.
        channels: of the first third.
    """

    def __init__(self, inputs: ImageInputs, operations: Sequence[Sequence[str]], channels: int):
        super().__init__()
        self.stem = convolved(inputs.image_shape[0], channels, 1)
        self.reductions, self.blocks = nn.ModuleDict(), nn.ModuleList()
        for place, names in enumerate(operations):
            if place in (len(operations) // 3, 2 * len(operations) // 3) and place:
                self.reductions[str(place)] = convolved(channels, 2 * channels, 2)
                channels *= 2
            self.blocks.append(nn.ModuleList(DARTS.build(name, channels) for name in names))
        self.classifier = nn.Linear(channels, inputs.num_classes)

    def logits(self, x_BCHW: Tensor, compute) -> Tensor:
        """[B, K] of images [B, C, H, W]; `compute(place, block, x)` is what is added to x."""
        x_BCHW = self.stem(x_BCHW)
        for place, block in enumerate(self.blocks):
            if str(place) in self.reductions:
                x_BCHW = self.reductions[str(place)](x_BCHW)
            x_BCHW = x_BCHW + compute(place, block, x_BCHW)
        return self.classifier(x_BCHW.mean((2, 3)))


class Supernet(Stack):
    """Every candidate of every block; logits of images and op weights {"stack": [E, O]}."""

    def __init__(self, groups: Mapping[str, EdgeGroup], inputs: ImageInputs, channels: int):
        super().__init__(inputs, groups["stack"].operations, channels)
        self.groups = groups

    def forward(self, x_BCHW: Tensor, op_weights: Mapping[str, Tensor]) -> Tensor:
        check_op_weights(self.groups, op_weights)
        return self.logits(x_BCHW, bound(self._mixed, op_weights["stack"]))

    @staticmethod
    def _mixed(weights_EO: Tensor, place: int, block: nn.ModuleList, x_BCHW: Tensor) -> Tensor:
        return sum(w * candidate(x_BCHW) for w, candidate in zip(weights_EO[place], block, strict=True))


class Network(Stack):
    """An evaluation network: logits, and those of an auxiliary head, which there is none of."""

    def __init__(self, genotype: Genotype, inputs: ImageInputs, channels: int):
        super().__init__(inputs, [[edge.operation] for _, edge in genotype["stack"].edges], channels)

    def set_drop_path(self, rate: float) -> None:
        """Nothing is dropped here."""

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, None]:
        return self.logits(x_BCHW, lambda place, block, x: block[0](x)), None


def convolved(channels: int, more: int, stride: int) -> nn.Module:
    """3x3 convolution of [B, channels, H, W] to `more` channels, BN."""
    return nn.Sequential(nn.Conv2d(channels, more, 3, stride, 1, bias=False), nn.BatchNorm2d(more))
