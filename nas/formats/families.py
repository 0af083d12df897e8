"""The evaluation networks of each space as classifiers for others.

Each class is its space's evaluation network with the same names of parameters, so weights pass from one to
the other.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.errors import ConfigError, require
from nas.formats.classifier import Classifier, Levels
from nas.formats.description import Description, TextDescription
from nas.formats.steps import build_step
from nas.genotype import Genotype
from nas.printable import shown
from nas.spaces.darts.layout import reduction_positions
from nas.spaces.darts.network import DartsNetwork
from nas.spaces.dso.network import DsoNetwork
from nas.spaces.nasbench201.network import NasBench201Network, ResidualBlock
from nas.spaces.nasbench201.operations import NASBENCH201
from nas.spaces.operations import DARTS, Catalogue
from nas.spaces.signals import fit_to


def _check_cells(genotype: Genotype, inputs: Mapping[str, int], catalogue: Catalogue) -> None:
    catalogue.check(genotype.operations, "genotype")
    for name, number in inputs.items():
        require(
            name in genotype and genotype[name].inputs == number,
            f"genotype: space {genotype.space!r} needs a cell {name!r} of {number} input(s)",
        )


def _ends(num_cells: int) -> tuple[int, ...]:
    """The last cell of every resolution; a network whose first cell halves it has none at the stem's."""
    before = (position - 1 for position in reduction_positions(num_cells) if position > 0)
    return (*before, num_cells - 1)


class DartsClassifier(Classifier, DartsNetwork):  # type: ignore[misc]  # forward gives logits alone
    """The network of a genotype of the DARTS space (and S1 to S4, which share its family).

    Args:
        num_cells: cells; the papers 14 on ImageNet.
        init_channels: C of the first cells; the papers 48 on ImageNet.
        stem: `imagenet` or `cifar`.
        stem_multiplier: stem channels / C, for the `cifar` stem.
        others: see `Classifier`.
    """

    family = "darts"
    classifier_name = "classifier"
    first_conv = "stem.stem0.0"
    imagenet = True

    def construct(
        self,
        genotype: Genotype,
        in_chans: int,
        num_classes: int,
        num_cells: int = 14,
        init_channels: int = 48,
        stem: str = "imagenet",
        stem_multiplier: int = 3,
    ) -> tuple[Levels, int]:
        """See `Classifier.construct`."""
        _check_cells(genotype, {"normal": 2, "reduce": 2}, DARTS)
        require(num_cells >= 1, f"num_cells={num_cells}: must be at least 1")
        first = 8 if stem == "imagenet" else 1
        reductions = reduction_positions(num_cells)
        multiple = first * 2 ** len(reductions)
        # No parameter depends on the image's size once the auxiliary head is gone.
        shape = (in_chans, multiple, multiple)
        DartsNetwork.__init__(
            self, genotype, shape, num_classes, num_cells, init_channels, stem_multiplier, stem, False
        )
        if stem != "imagenet":
            self.first_conv = "stem.conv"
        self._ends = _ends(num_cells)
        levels = [(init_channels, 4, "stem.stem0")] if stem == "imagenet" else []
        for index in self._ends:
            level = sum(position <= index for position in reductions)
            channels = len(self.cells[index].cell.output) * init_channels * 2**level
            levels.append((channels, first * 2**level, f"cells.{index}"))
        self._stem_level = len(levels) > len(self._ends)
        return levels, multiple

    @classmethod
    def num_levels(cls, stem: str = "imagenet", num_cells: int = 14, **sizes: Any) -> int:
        """See `Classifier.num_levels`."""
        return len(_ends(num_cells)) + (stem == "imagenet")

    def _levels(self, x_BCHW: Tensor) -> Iterator[Tensor]:
        s0_BCHW, s1_BCHW = self.stem(x_BCHW)
        if self._stem_level:
            yield s0_BCHW
        for index, cell in enumerate(self.cells):
            s0_BCHW, s1_BCHW = s1_BCHW, cell(s0_BCHW, s1_BCHW)
            if index in self._ends:
                yield s1_BCHW


class NasBench201Classifier(Classifier, NasBench201Network):  # type: ignore[misc]  # forward gives logits alone
    """The network of an architecture of NAS-Bench-201.

    Args:
        init_channels: C of the first stage; the benchmark 16.
        cells_per_stage: N; the benchmark 5.
        others: see `Classifier`.
    """

    family = "nasbench201"
    classifier_name = "classifier"
    last_norm_name = "last_norm"
    first_conv = "stem.0"

    def construct(
        self,
        genotype: Genotype,
        in_chans: int,
        num_classes: int,
        init_channels: int = 16,
        cells_per_stage: int = 5,
    ) -> tuple[Levels, int]:
        """See `Classifier.construct`."""
        _check_cells(genotype, {"cell": 1}, NASBENCH201)
        shape = (in_chans, 4, 4)
        NasBench201Network.__init__(self, genotype, shape, num_classes, cells_per_stage, init_channels)
        follows = [index - 1 for index, cell in enumerate(self.cells) if isinstance(cell, ResidualBlock)]
        self._ends = (*follows, len(self.cells) - 1)
        levels = [
            (init_channels * 2**level, 2**level, f"cells.{index}") for level, index in enumerate(self._ends)
        ]
        return levels, 4

    def _levels(self, x_BCHW: Tensor) -> Iterator[Tensor]:
        x_BCHW = self.stem(x_BCHW)
        for index, module in enumerate(self.cells):
            x_BCHW = module(x_BCHW)
            if index in self._ends:
                yield x_BCHW

    def _finish(self, x_BCHW: Tensor) -> Tensor:
        return torch.relu(self.last_norm(x_BCHW))


class DsoClassifier(Classifier, DsoNetwork):  # type: ignore[misc]  # forward gives logits alone
    """The network of DSO-NAS's blocks.

    Any side will do, since what is halved is rounded up.

    Args:
        init_channels: C of the first stage.
        blocks_per_stage: blocks of every stage.
        stem: `imagenet` or `cifar`.
        others: see `Classifier`.
    """

    family = "dso"
    classifier_name = "head.classifier"
    last_norm_name = "head.norm"
    first_conv = "stem.0.conv"

    def construct(
        self,
        genotype: Genotype,
        in_chans: int,
        num_classes: int,
        init_channels: int = 48,
        blocks_per_stage: Sequence[int] = (8, 8, 8),
        stem: str = "cifar",
    ) -> tuple[Levels, int]:
        """See `Classifier.construct`."""
        stages = len(blocks_per_stage)
        shape = (in_chans, 2, 2)
        DsoNetwork.__init__(self, genotype, shape, num_classes, blocks_per_stage, init_channels, stem, False)
        first = 4 if stem == "imagenet" else 1
        # A reduction follows each stage but the last.
        ends = [sum(blocks_per_stage[: stage + 1]) + stage - 1 for stage in range(stages)]
        self._ends = tuple(ends)
        levels = [
            (init_channels * 2**stage, first * 2**stage, f"blocks.{index}")
            for stage, index in enumerate(ends)
        ]
        return levels, 1

    @classmethod
    def num_levels(cls, blocks_per_stage: Sequence[int] = (8, 8, 8), **sizes: Any) -> int:
        """See `Classifier.num_levels`."""
        return len(blocks_per_stage)

    def _levels(self, x_BCHW: Tensor) -> Iterator[Tensor]:
        x_BCHW = self.stem(x_BCHW)
        for index, block in enumerate(self.blocks):
            x_BCHW = block(x_BCHW)
            if index in self._ends:
                yield x_BCHW

    def _finish(self, x_BCHW: Tensor) -> Tensor:
        return F.relu(self.head.norm(x_BCHW), inplace=True)


FAMILIES = {cls.family: cls for cls in (DartsClassifier, NasBench201Classifier, DsoClassifier)}


def classifier_of(family: str) -> type[Classifier]:
    """The classifier of a family's networks.

    Raises:
        ConfigError: there is none.
    """
    require(family in FAMILIES, f"space={family}: networks of {', '.join(FAMILIES)} can be exported")
    return FAMILIES[family]


def build(description: Description | TextDescription) -> Any:
    """The described network with random weights, in evaluation mode: a `Classifier`, or a step of text.

    Raises:
        ConfigError: there are no networks of its family, or a size does not fit.
    """
    if isinstance(description, TextDescription):
        return build_step(description)
    family = description.genotype.space
    try:
        network = classifier_of(family)(
            description.genotype,
            num_classes=description.num_classes,
            in_chans=description.image_shape[0],
            **description.sizes,
        )
    except TypeError as error:
        # torch adds a trace to some.
        said = shown(str(error).partition("\n")[0], 160)
        raise ConfigError(f"sizes={dict(description.sizes)}: not those of {family} ({said})") from error
    fit_to(network, description.image_shape)
    return network.eval()
