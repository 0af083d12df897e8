"""Networks of NAS-Bench-201 cut into pieces; see `nas.spaces.pieces`."""

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from nas.genotype import Genotype
from nas.spaces.nasbench201.network import STAGES, ResidualBlock
from nas.spaces.nasbench201.operations import NASBENCH201
from nas.spaces.norm import batch_norm
from nas.spaces.pieces import ZEROS, Classifier, Piece, Pieces, add
from nas.spaces.signals import is_signal, reduced
from nas.spaces.space import ZERO
from nas.spaces.stems import check_image_size


class Head(nn.Module):
    """BN, ReLU, global average, linear layer."""

    def __init__(self, channels: int, num_classes: int):
        super().__init__()
        self.norm = batch_norm(channels, affine=True)
        self.classifier = Classifier(channels, num_classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> logits [B, classes]."""
        return self.classifier(torch.relu(self.norm(x_BCHW)))


class NasBench201Pieces(Pieces):
    """See `Pieces`.

    Args:
        operations: candidates of every edge, for `all`.
        image_shape: (C, H, W) of an image.
        num_classes: outputs of the classifier.
        cells_per_stage: N.
        init_channels: C of the first stage.

    Raises:
        ConfigError: the images are too small for two halvings.
    """

    def __init__(
        self,
        operations: Iterable[str],
        image_shape: Sequence[int],
        num_classes: int,
        cells_per_stage: int,
        init_channels: int,
    ):
        check_image_size(image_shape, "cifar", STAGES - 1)
        self.operations = tuple(operations)
        self.flat = is_signal(image_shape)
        self.cells_per_stage = cells_per_stage
        self.places = [
            (init_channels * 2**stage, (reduced(image_shape[1], 2**stage), image_shape[2] // 2**stage))
            for stage in range(STAGES)
        ]
        depth, height, width = image_shape
        self.fixed = [Piece("stem", depth, height, width, outputs=init_channels)]
        for channels, size in self.places[:-1]:
            self.fixed.append(Piece("residual", channels, *size, stride=2, outputs=2 * channels))
        channels, size = self.places[-1]
        self.fixed.append(Piece("head", channels, *size, outputs=num_classes))

    def of(self, genotype: Genotype) -> Counter[Piece]:
        """The pieces of a genotype's network, with how often each comes."""
        pieces = Counter(self.fixed)
        for channels, size in self.places:
            for edges in genotype["cell"].nodes:
                names = [edge.operation for edge in edges if edge.operation != ZERO]
                for name in names:
                    pieces[Piece(name, channels, *size)] += self.cells_per_stage
                if len(names) > 1:
                    pieces[add(channels, size)] += (len(names) - 1) * self.cells_per_stage
                if not names:
                    pieces[Piece(ZEROS, channels, *size)] += self.cells_per_stage
        return pieces

    def all(self) -> list[Piece]:
        """Every piece that some network of the space can hold."""
        pieces = dict.fromkeys(self.fixed)
        names = [name for name in self.operations if name != ZERO]
        for channels, size in self.places:
            pieces |= dict.fromkeys(Piece(name, channels, *size) for name in names)
            pieces[add(channels, size)] = None
            if ZERO in self.operations:
                pieces[Piece(ZEROS, channels, *size)] = None
        return list(pieces)

    def build_own(self, piece: Piece) -> nn.Module:
        """The stem, a residual block, the head or an operation."""
        if piece.name == "stem":
            return nn.Sequential(
                nn.Conv2d(piece.channels, piece.outputs, 3, padding=1, bias=False),
                batch_norm(piece.outputs, affine=True),
            )
        if piece.name == "residual":
            return ResidualBlock(piece.channels, piece.outputs)
        if piece.name == "head":
            return Head(piece.channels, piece.outputs)
        return NASBENCH201.build(piece.name, piece.channels)
