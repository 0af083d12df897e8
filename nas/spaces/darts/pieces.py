"""Evaluation networks of the DARTS space cut into pieces; see `nas.spaces.pieces`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

from torch import nn

from nas.genotype import Genotype
from nas.spaces.darts.supernet import reduction_positions
from nas.spaces.operations import FactorizedReduce, operation, relu_conv_bn
from nas.spaces.pieces import Classifier, Piece, add, build_joint, concat
from nas.spaces.space import ZERO, EdgeGroup
from nas.spaces.stems import CifarStem, ImagenetStem, check_image_size

INPUTS = 2


class DartsPieces:
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
        positions = reduction_positions(num_cells)
        check_image_size(image_shape, stem, len(positions))
        wide = init_channels * (stem_multiplier if stem == "cifar" else 1)
        shrink = 8 if stem == "imagenet" else 1
        stride = {"stride": shrink} if shrink > 1 else {}
        self.stem = Piece(f"stem_{stem}", *image_shape, outputs=wide, **stride)
        self.stem_channels, self.reduced_stem = wide, stem == "imagenet"
        self.num_classes = num_classes
        # (group, channels, size of its second input) of every cell.
        self.cells: list[tuple[str, int, tuple[int, int]]] = []
        level = 0
        for index in range(num_cells):
            reduction = index in positions
            size = (image_shape[1] // shrink // 2**level, image_shape[2] // shrink // 2**level)
            level += reduction
            self.cells.append(("reduce" if reduction else "normal", init_channels * 2**level, size))
        self._fixed = cache(self._find_fixed)

    def of(self, genotype: Genotype) -> Counter[Piece]:
        """The pieces of a genotype's network, with how often each comes."""
        outputs = tuple((name, len(cell.output)) for name, cell in genotype.cells)
        found = Counter(self._fixed(outputs))
        for (group, channels, size), count in Counter(self.cells).items():
            after = _after(group, size)
            for edges in genotype[group].nodes:
                for edge in edges:
                    found[_edge(group, edge.source, edge.operation, channels, size)] += count
                if len(edges) > 1:
                    found[add(channels, after)] += count * (len(edges) - 1)
        return found

    def all(self) -> list[Piece]:
        """Every piece that some network of the space can hold."""
        nodes = {name: len({target for _, target in group.edges}) for name, group in self.groups.items()}
        found = dict.fromkeys(self._fixed(tuple(nodes.items())))
        for group, channels, size in self.cells:
            edges = self.groups[group]
            for (source, _), names in zip(edges.edges, edges.operations, strict=True):
                for name in names:
                    if name != ZERO:
                        found[_edge(group, source, name, channels, size)] = None
            if self.edges_per_node > 1:
                found[add(channels, _after(group, size))] = None
        return list(found)

    def build(self, piece: Piece) -> nn.Module:
        """A piece as evaluation networks hold it.

        Raises:
            ConfigError: there is no operation of that name.
        """
        joint = build_joint(piece)
        if joint is not None:
            return joint
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
        return operation(piece.name, piece.channels, piece.stride)

    def _find_fixed(self, outputs: tuple[tuple[str, int], ...]) -> Counter[Piece]:
        """What depends on the cells through their numbers of output nodes alone."""
        counts = dict(outputs)
        found = Counter([self.stem])
        before_last = last = self.stem_channels
        reduced = self.reduced_stem
        for group, channels, (height, width) in self.cells:
            if reduced:
                found[Piece("preprocess", before_last, 2 * height, 2 * width, 2, channels)] += 1
            else:
                found[Piece("preprocess", before_last, height, width, outputs=channels)] += 1
            found[Piece("preprocess", last, height, width, outputs=channels)] += 1
            size = _after(group, (height, width))
            found[concat(channels, size, counts[group])] += 1
            before_last, last = last, counts[group] * channels
            reduced = group == "reduce"
        found[Piece("classifier", last, *size, outputs=self.num_classes)] += 1
        return found


def _edge(group: str, source: int, name: str, channels: int, size: tuple[int, int]) -> Piece:
    if group == "reduce" and source < INPUTS:
        return Piece(name, channels, *size, stride=2)
    return Piece(name, channels, *_after(group, size))


def _after(group: str, size: tuple[int, int]) -> tuple[int, int]:
    return (size[0] // 2, size[1] // 2) if group == "reduce" else size
