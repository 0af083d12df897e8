"""The evaluation networks of each space as classifiers for others.

Each class is its space's evaluation network with the same names of parameters, so weights pass from one to
the other.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from nas import genotype as genotypes
from nas.errors import ConfigError, require
from nas.formats.classifier import Classifier
from nas.formats.description import Description
from nas.genotype import Genotype
from nas.spaces.darts.network import DartsNetwork
from nas.spaces.darts.supernet import reduction_positions
from nas.spaces.dso.network import DsoNetwork
from nas.spaces.nasbench201.network import NasBench201Network, ResidualBlock
from nas.spaces.nasbench201.space import OPERATIONS
from nas.spaces.operations import operation_builders

Reference = Genotype | Mapping | str


def _read(genotype: Reference, family: str) -> Genotype:
    if isinstance(genotype, Mapping):
        genotype = genotypes.from_dict(genotype)
    elif not isinstance(genotype, Genotype):
        genotype = genotypes.load(genotype, family)
    require(genotype.space == family, f"genotype: it belongs to space {genotype.space!r}, not {family!r}")
    return genotype


def _check_cells(genotype: Genotype, inputs: Mapping[str, int], operations: Iterable[str]) -> None:
    genotypes.check_operations(genotype, operations)
    for name, number in inputs.items():
        require(
            name in genotype and genotype[name].inputs == number,
            f"genotype: space {genotype.space!r} needs a cell {name!r} of {number} input(s)",
        )


class DartsClassifier(Classifier, DartsNetwork):
    """The network of a genotype of the DARTS space (and S1 to S4, which share its family).

    Args:
        genotype: itself, its containers as read from JSON, or a published name, file or text.
        num_classes: K; 0 for features.
        in_chans: channels of an image.
        num_cells: cells; the papers 14 on ImageNet.
        init_channels: C of the first cells; the papers 48 on ImageNet.
        stem: `imagenet` or `cifar`.
        stem_multiplier: stem channels / C, for the `cifar` stem.
        drop_rate: dropout before the classifier.
        drop_path_rate: probability of dropping a path that is not an identity, the same at every depth.
        global_pool: timm's name of the pooling before the classifier.
    """

    family = "darts"
    classifier_name = "classifier"

    def __init__(
        self,
        genotype: Reference,
        num_classes: int = 1000,
        in_chans: int = 3,
        num_cells: int = 14,
        init_channels: int = 48,
        stem: str = "imagenet",
        stem_multiplier: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        global_pool: str = "avg",
    ):
        found = _read(genotype, self.family)
        _check_cells(found, {"normal": 2, "reduce": 2}, operation_builders())
        require(num_cells >= 3, f"num_cells={num_cells}: two reductions need at least 3 cells")
        first = 8 if stem == "imagenet" else 1
        # No parameter depends on the image's size once the auxiliary head is gone.
        shape = (in_chans, 4 * first, 4 * first)
        DartsNetwork.__init__(
            self, found, shape, max(num_classes, 1), num_cells, init_channels, stem_multiplier, stem, False
        )
        self.first_conv = "stem.stem0.0" if stem == "imagenet" else "stem.conv"
        self._ends = (*(position - 1 for position in reduction_positions(num_cells)), num_cells - 1)
        levels = [(init_channels, 4, "stem.stem0")] if stem == "imagenet" else []
        for level, index in enumerate(self._ends):
            channels = len(self.cells[index].cell.output) * init_channels * 2**level
            levels.append((channels, first * 2**level, f"cells.{index}"))
        self._stem_level = len(levels) > len(self._ends)
        self.complete(in_chans, num_classes, levels, 4 * first, drop_rate, drop_path_rate, global_pool)

    def _levels(self, x_BCHW: Tensor) -> Iterator[Tensor]:
        s0_BCHW, s1_BCHW = self.stem(x_BCHW)
        if self._stem_level:
            yield s0_BCHW
        for index, cell in enumerate(self.cells):
            s0_BCHW, s1_BCHW = s1_BCHW, cell(s0_BCHW, s1_BCHW)
            if index in self._ends:
                yield s1_BCHW


class NasBench201Classifier(Classifier, NasBench201Network):
    """The network of an architecture of NAS-Bench-201.

    Args:
        genotype: as for `DartsClassifier`; `|op~0|+...` is a text.
        cells_per_stage: N; the benchmark 5.
        init_channels: C of the first stage; the benchmark 16.
        num_classes, in_chans, drop_rate, drop_path_rate, global_pool: as for `DartsClassifier`.
    """

    family = "nasbench201"
    classifier_name = "classifier"
    last_norm_name = "last_norm"
    first_conv = "stem.0"

    def __init__(
        self,
        genotype: Reference,
        num_classes: int = 10,
        in_chans: int = 3,
        cells_per_stage: int = 5,
        init_channels: int = 16,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        global_pool: str = "avg",
    ):
        found = _read(genotype, self.family)
        _check_cells(found, {"cell": 1}, OPERATIONS)
        NasBench201Network.__init__(
            self, found, (in_chans, 4, 4), max(num_classes, 1), cells_per_stage, init_channels
        )
        follows = [index - 1 for index, cell in enumerate(self.cells) if isinstance(cell, ResidualBlock)]
        self._ends = (*follows, len(self.cells) - 1)
        levels = [
            (init_channels * 2**level, 2**level, f"cells.{index}") for level, index in enumerate(self._ends)
        ]
        self.complete(in_chans, num_classes, levels, 4, drop_rate, drop_path_rate, global_pool)

    def _levels(self, x_BCHW: Tensor) -> Iterator[Tensor]:
        x_BCHW = self.stem(x_BCHW)
        for index, module in enumerate(self.cells):
            x_BCHW = module(x_BCHW)
            if index in self._ends:
                yield x_BCHW

    def _finish(self, x_BCHW: Tensor) -> Tensor:
        return torch.relu(self.last_norm(x_BCHW))


class DsoClassifier(Classifier, DsoNetwork):
    """The network of DSO-NAS's blocks.

    Any side will do, since what is halved is rounded up.

    Args:
        genotype: as for `DartsClassifier`; `DSO(...)` is a text.
        blocks_per_stage: blocks of every stage.
        init_channels: C of the first stage.
        stem: `imagenet` or `cifar`.
        num_classes, in_chans, drop_rate, drop_path_rate, global_pool: as for `DartsClassifier`.
    """

    family = "dso"
    classifier_name = "head.classifier"
    last_norm_name = "head.norm"
    first_conv = "stem.0.conv"

    def __init__(
        self,
        genotype: Reference,
        num_classes: int = 10,
        in_chans: int = 3,
        blocks_per_stage: Sequence[int] = (8, 8, 8),
        init_channels: int = 48,
        stem: str = "cifar",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        global_pool: str = "avg",
    ):
        found = _read(genotype, self.family)
        stages = len(blocks_per_stage)
        DsoNetwork.__init__(
            self,
            found,
            (in_chans, 1, 1),
            max(num_classes, 1),
            blocks_per_stage,
            init_channels,
            stem,
            False,
        )
        first = 4 if stem == "imagenet" else 1
        # A reduction follows each stage but the last.
        ends = [sum(blocks_per_stage[: stage + 1]) + stage - 1 for stage in range(stages)]
        self._ends = tuple(ends)
        levels = [
            (init_channels * 2**stage, first * 2**stage, f"blocks.{index}")
            for stage, index in enumerate(ends)
        ]
        self.complete(in_chans, num_classes, levels, 1, drop_rate, drop_path_rate, global_pool)

    def _levels(self, x_BCHW: Tensor) -> Iterator[Tensor]:
        x_BCHW = self.stem(x_BCHW)
        for index, block in enumerate(self.blocks):
            x_BCHW = block(x_BCHW)
            if index in self._ends:
                yield x_BCHW

    def _finish(self, x_BCHW: Tensor) -> Tensor:
        return F.relu(self.head.norm(x_BCHW), inplace=True)


FAMILIES = {one.family: one for one in (DartsClassifier, NasBench201Classifier, DsoClassifier)}


def build(description: Description) -> Classifier:
    """The described network with random weights, in evaluation mode.

    Raises:
        ConfigError: its family is not one of images, or a size does not fit.
    """
    family = description.genotype.space
    require(family in FAMILIES, f"space={family}: networks of {', '.join(FAMILIES)} can be exported")
    try:
        network = FAMILIES[family](
            description.genotype,
            num_classes=description.num_classes,
            in_chans=description.image_shape[0],
            **description.sizes,
        )
    except TypeError as error:
        raise ConfigError(f"sizes={dict(description.sizes)}: not those of {family} ({error})") from error
    return network.eval()
