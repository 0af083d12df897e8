"""Evaluation networks of the DARTS space cut into pieces; see `nas.spaces.pieces`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

from torch import nn

from nas.genotype import Genotype
from nas.spaces.darts.layout import INPUTS, CellPlace, cell_places, reduction_positions
from nas.spaces.modules import FactorizedReduce, relu_conv_bn
from nas.spaces.operations import DARTS
from nas.spaces.pieces import Classifier, Piece, Pieces, add, concat
from nas.spaces.signals import is_signal, reduced
from nas.spaces.space import ZERO, EdgeGroup
from nas.spaces.stems import CifarStem, ImagenetStem, check_image_size


class DartsPieces(Pieces):
    """See `Pieces`; the auxiliary head is of training alone and no piece.

    Args:
        groups: of the space, for `all`.
        edges_per_node: in-edges that its derivation keeps, likewise.
        image_shape: (C, H, W) of an image.
        num_classes: outputs of the classifier.
        num_cells, init_channels, stem_multiplier, stem: as `DartsNetwork` has them.

    Raises:
        ConfigError: the images are too small for the reductions.
    """

    def __init__(
        self,
        groups: Mapping[str, EdgeGroup],
        edges_per_node: int,
        image_shape: Sequence[int],
        num_classes: int,
        num_cells: int,
        init_channels: int,
        stem_multiplier: int,
        stem: str,
    ):
        self.groups, self.edges_per_node = groups, edges_per_node
        self.flat = is_signal(image_shape)
        check_image_size(image_shape, stem, len(reduction_positions(num_cells)))
        wide = init_channels * (stem_multiplier if stem == "cifar" else 1)
        shrink = 8 if stem == "imagenet" else 1
        channels, height, width = image_shape
        self.stem = Piece(f"stem_{stem}", channels, height, width, shrink, wide)
        self.stem_channels, self.reduced_stem = wide, stem == "imagenet"
        self.num_classes = num_classes
        # Every cell with the size of its second input.
        self.cells: list[tuple[CellPlace, tuple[int, int]]] = [
            (cell, (reduced(height, shrink * 2**cell.level), reduced(width, shrink * 2**cell.level)))
            for cell in cell_places(num_cells, init_channels)
        ]
        self._fixed = cache(self._find_fixed)

    def of(self, genotype: Genotype) -> Counter[Piece]:
        """The pieces of a genotype's network, with how often each comes."""
        outputs = tuple((name, len(cell.output)) for name, cell in genotype.cells)
        found = Counter(self._fixed(outputs))
        for (cell, size), count in Counter(self.cells).items():
            for edges in genotype[cell.group].nodes:
                for edge in edges:
                    found[_edge(cell, edge.source, edge.operation, size)] += count
                if len(edges) > 1:
                    found[add(cell.channels, _after(cell, size))] += count * (len(edges) - 1)
        return found

    def all(self) -> list[Piece]:
        """Every piece that some network of the space can hold."""
        nodes = {name: len({target for _, target in group.edges}) for name, group in self.groups.items()}
        found = dict.fromkeys(self._fixed(tuple(nodes.items())))
        for cell, size in self.cells:
            edges = self.groups[cell.group]
            for (source, _), names in zip(edges.edges, edges.operations, strict=True):
                for name in names:
                    if name != ZERO:
                        found[_edge(cell, source, name, size)] = None
            if self.edges_per_node > 1:
                found[add(cell.channels, _after(cell, size))] = None
        return list(found)

    def build_own(self, piece: Piece) -> nn.Module:
        """A stem, a preprocessing, the classifier or an operation."""
        if piece.name == "stem_cifar":
            return CifarStem(piece.channels, piece.outputs, 1)
        if piece.name == "stem_imagenet":
            return ImagenetStem(piece.channels, piece.outputs)
        if piece.name == "preprocess":
            if piece.stride == 2:
                return FactorizedReduce(piece.channels, piece.outputs, affine=True)
            return relu_conv_bn(piece.channels, piece.outputs, 1, 1, affine=True)
        if piece.name == "classifier":
            return Classifier(piece.channels, piece.outputs)
        return DARTS.build(piece.name, piece.channels, piece.stride)

    def _find_fixed(self, outputs: tuple[tuple[str, int], ...]) -> Counter[Piece]:
        """What depends on the cells through their numbers of output nodes alone."""
        counts = dict(outputs)
        found = Counter([self.stem])
        before_last = last = self.stem_channels
        reduced = self.reduced_stem
        for cell, (height, width) in self.cells:
            if reduced:
                before = (height if self.flat else 2 * height, 2 * width)
                found[Piece("preprocess", before_last, *before, 2, cell.channels)] += 1
            else:
                found[Piece("preprocess", before_last, height, width, outputs=cell.channels)] += 1
            found[Piece("preprocess", last, height, width, outputs=cell.channels)] += 1
            size = _after(cell, (height, width))
            found[concat(cell.channels, size, counts[cell.group])] += 1
            before_last, last = last, counts[cell.group] * cell.channels
            reduced = cell.reduction
        found[Piece("classifier", last, *size, outputs=self.num_classes)] += 1
        return found


def _edge(cell: CellPlace, source: int, name: str, size: tuple[int, int]) -> Piece:
    if cell.reduction and source < INPUTS:
        return Piece(name, cell.channels, *size, stride=2)
    return Piece(name, cell.channels, *_after(cell, size))


def _after(cell: CellPlace, size: tuple[int, int]) -> tuple[int, int]:
    return (reduced(size[0], 2), size[1] // 2) if cell.reduction else size
