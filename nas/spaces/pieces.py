"""Pieces of evaluation networks: what is timed on its own, so that a network's time can be looked up.

A network is cut where its modules are called: candidate operations, and between them the sums, joins and
fixed layers. A space lists the pieces of a genotype's network without building it.

Shapes: B batch, C channels, H W space.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.genotype import Genotype
from nas.spaces.signals import along_time

ADD, CONCAT, ZEROS = "add", "concat", "zeros"


@dataclass(frozen=True, order=True)
class Piece:
    """One piece, told from others by all that its time depends on beside device and batch.

    Attributes:
        name: a candidate operation (`sep_conv_3x3`), or a fixed part (`stem`, `preprocess`, `add`, ...).
        channels: C of its input, of each one where it takes several.
        height, width: of its input, in pixels.
        stride: the factor that it shrinks height and width by.
        outputs: channels that it gives (classes, of a classifier); 0 for as many as come in.
        inputs: how many feature maps it takes.
    """

    name: str
    channels: int
    height: int
    width: int
    stride: int = 1
    outputs: int = 0
    inputs: int = 1

    def __post_init__(self):
        if not self.outputs:
            object.__setattr__(self, "outputs", self.channels)

    @property
    def shape(self) -> str:
        """Such as `36x32x32`, `36x32x32/2` (stride) or `4*36x32x32>144` (inputs, outputs)."""
        several = f"{self.inputs}*" if self.inputs > 1 else ""
        other = f">{self.outputs}" if self.outputs != self.channels else ""
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return f"{several}{self.channels}x{self.height}x{self.width}{other}{stride}"

    @property
    def key(self) -> str:
        """`<name>@<shape>`, which tells pieces apart."""
        return f"{self.name}@{self.shape}"


class Pieces(ABC):
    """The networks of one space at one size, cut into pieces.

    Attributes:
        flat: whether they are networks of signals, whose operations reach along time alone.
    """

    flat = False

    @abstractmethod
    def of(self, genotype: Genotype) -> Counter[Piece]:
        """The pieces of a genotype's network, with how often each comes."""

    @abstractmethod
    def all(self) -> list[Piece]:
        """Every piece that some network of the space can hold, in order of network and name."""

    def build(self, piece: Piece) -> nn.Module:
        """A piece as evaluation networks hold it: takes `inputs` tensors [B, C, H, W].

        Raises:
            ConfigError: there is no operation of that name.
        """
        joint = JOINTS.get(piece.name)
        found = self.build_own(piece) if joint is None else joint()
        return along_time(found) if self.flat else found

    @abstractmethod
    def build_own(self, piece: Piece) -> nn.Module:
        """A piece that is no sum, join or node of zeros: `build` in this space."""


class Sum(nn.Module):
    """The sum of two feature maps."""

    def forward(self, x_BCHW: Tensor, y_BCHW: Tensor) -> Tensor:
        """Their sum, of the same shape."""
        return x_BCHW + y_BCHW


class Concat(nn.Module):
    """Feature maps side by side."""

    def forward(self, *maps_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] each -> [B, n*C, H, W]."""
        return torch.cat(maps_BCHW, dim=1)


class Zeros(nn.Module):
    """A node that nothing feeds."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Zeros of the same shape."""
        return torch.zeros_like(x_BCHW)


class Classifier(nn.Module):
    """Global average and linear layer."""

    def __init__(self, channels: int, num_classes: int):
        super().__init__()
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> logits [B, classes]."""
        return self.linear(x_BCHW.mean(dim=(2, 3)))


JOINTS = {ADD: Sum, CONCAT: Concat, ZEROS: Zeros}


def add(channels: int, size: Sequence[int]) -> Piece:
    """The sum of two feature maps [C, H, W]."""
    height, width = size
    return Piece(ADD, channels, height, width, inputs=2)


def concat(channels: int, size: Sequence[int], count: int) -> Piece:
    """`count` feature maps [C, H, W] side by side."""
    height, width = size
    return Piece(CONCAT, channels, height, width, outputs=count * channels, inputs=count)
