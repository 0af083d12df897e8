"""Evaluation networks of DSO-NAS cut into pieces; see `nas.spaces.pieces`."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas.genotype import Cell, Genotype
from nas.spaces.dso.layout import OUTPUT, BlockLayout
from nas.spaces.dso.network import cell_at, check_cells, needed
from nas.spaces.dso.parts import (
    REDUCTIONS,
    ConvNormRelu,
    Head,
    Place,
    build_operation,
    build_reduction,
    build_stem,
    check_blocks,
    check_stem,
    places,
    stage_sizes,
)
from nas.spaces.pieces import Piece, Pieces, add
from nas.spaces.signals import is_signal

Size = tuple[int, int]


class Joined(nn.Module):
    """The end of a block: its branches side by side, 1x1 convolution, BN, ReLU."""

    def __init__(self, channels: int, branches: int):
        super().__init__()
        self.layers = ConvNormRelu(branches * channels, channels, 1)

    def forward(self, *branches_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] each -> [B, C, H, W]."""
        joined_BCHW = torch.cat(branches_BCHW, dim=1) if len(branches_BCHW) > 1 else branches_BCHW[0]
        return self.layers(joined_BCHW)


class DsoPieces(Pieces):
    """See `Pieces`; the auxiliary head is of training alone and no piece.

    A block's 1x1 convolution is one piece with the join of its branches; with one branch it is also the
    shortcut of a stage's first block.

    Args:
        layout: of the space's blocks, for `all`.
        image_shape: (C, H, W) of an image.
        num_classes: outputs of the classifier.
        blocks_per_stage, init_channels, stem: as `DsoNetwork` has them.

    Raises:
        ConfigError: a size cannot be built.
    """

    def __init__(
        self,
        layout: BlockLayout,
        image_shape: Sequence[int],
        num_classes: int,
        blocks_per_stage: Sequence[int],
        init_channels: int,
        stem: str,
    ):
        self.layout, self.num_classes = layout, num_classes
        self.flat = is_signal(image_shape)
        self.blocks_per_stage = check_blocks(blocks_per_stage, init_channels, "recipe")
        self.init_channels = init_channels
        check_stem(stem, init_channels, "recipe")
        self.sizes = stage_sizes(image_shape, stem, len(self.blocks_per_stage))
        channels, height, width = image_shape
        shrink = 4 if stem == "imagenet" else 1
        self.stem = Piece(f"stem_{stem}", channels, height, width, shrink, init_channels)

    def of(self, genotype: Genotype) -> Counter[Piece]:
        """The pieces of a genotype's network, with how often each comes.

        Raises:
            ConfigError: the genotype does not fit the blocks.
        """
        share = check_cells(genotype, self.blocks_per_stage)
        pieces = Counter([self.stem, self._head()])
        for place in places(self.blocks_per_stage, self.init_channels, share):
            cell = cell_at(genotype, place.group)
            pieces.update(self._reduction(place, cell) if place.reduction else self._block(place, cell))
        return pieces

    def all(self) -> list[Piece]:
        """Every piece that some network of the space can hold."""
        pieces: dict[Piece, None] = {self.stem: None}
        for place in places(self.blocks_per_stage, self.init_channels, True):
            size = self.sizes[place.stage]
            if place.reduction:
                pieces |= dict.fromkeys(_branch(name, place, size) for name in REDUCTIONS)
                pieces[self._reduced_sum(place)] = None
                continue
            pieces |= dict.fromkeys(Piece(name, place.channels, *size) for name in self.layout.operations)
            counts = range(1, self.layout.num_operations + 1)
            pieces |= dict.fromkeys(_joined(count, place.channels, size) for count in counts)
            pieces[add(place.channels, size)] = None
        pieces[self._head()] = None
        return list(pieces)

    def build_own(self, piece: Piece) -> nn.Module:
        """See `build_piece`."""
        return build_piece(piece)

    def _block(self, place: Place, cell: Cell) -> list[Piece]:
        channels, size = place.channels, self.sizes[place.stage]
        pieces = [_joined(1, channels, size)] if place.first else []
        for node, sources in needed(cell).items():
            pieces.append(Piece(cell.nodes[node - 1][0].operation, channels, *size))
            pieces += [add(channels, size)] * (len(sources) - 1)
        branches = sum(node > 0 for node in cell.output)
        if branches:
            pieces += [_joined(branches, channels, size), add(channels, size)]
        return pieces

    def _reduction(self, place: Place, cell: Cell) -> list[Piece]:
        names = [cell.nodes[node - 1][0].operation for node in cell.output]
        branches = [_branch(name, place, self.sizes[place.stage]) for name in names]
        return branches + [self._reduced_sum(place)] * (len(names) - 1)

    def _reduced_sum(self, place: Place) -> Piece:
        return add(2 * place.channels, self.sizes[place.stage + 1])

    def _head(self) -> Piece:
        channels = self.init_channels * 2 ** (len(self.blocks_per_stage) - 1)
        return Piece("head", channels, *self.sizes[-1], outputs=self.num_classes)


def build_piece(piece: Piece) -> nn.Module:
    """A piece of DSO-NAS's networks that is no sum, without their initial values.

    Raises:
        ConfigError: there is no operation of that name.
    """
    if piece.name.startswith("stem_"):
        return build_stem(piece.name.removeprefix("stem_"), piece.channels, piece.outputs)
    if piece.name == "head":
        return Head(piece.channels, piece.outputs)
    if piece.stride == 2:
        return build_reduction(piece.name, piece.channels)
    if piece.name == OUTPUT:
        return Joined(piece.channels, piece.inputs)
    return build_operation(piece.name, piece.channels, scale=True)


def _joined(count: int, channels: int, size: Size) -> Piece:
    return Piece(OUTPUT, channels, *size, inputs=count)


def _branch(name: str, place: Place, size: Size) -> Piece:
    return Piece(name, place.channels, *size, stride=2, outputs=2 * place.channels)
