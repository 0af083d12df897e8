"""The space of NAS-Bench-201 (Dong and Yang 2020): a cell of 4 nodes, 6 edges, 5 operations."""

import copy
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from nas.errors import require
from nas.genotype import Cell, Edge, Genotype
from nas.spaces.architectures import Architectures
from nas.spaces.nasbench201.network import STAGES, NasBench201Network
from nas.spaces.nasbench201.operations import NASBENCH201
from nas.spaces.nasbench201.pieces import NasBench201Pieces
from nas.spaces.nasbench201.supernet import CELL, NasBench201Supernet
from nas.spaces.pieces import Piece
from nas.spaces.signals import is_signal, reduced
from nas.spaces.space import (
    EdgeGroup,
    ImageInputs,
    Space,
    check_list,
    check_partial,
    check_sizes,
    edges_to_all,
    guards_of,
)
from nas.spaces.supernet.costs import CandidateCosts

OPERATIONS = tuple(NASBENCH201.published)
# In the order of alpha's rows: node 1 from 0; node 2 from 0, 1; node 3 from 0, 1, 2.
EDGES = edges_to_all(1, 3)


class NasBench201Space(Space):
    """A complete directed graph on 4 nodes, the same cell in every place of a fixed macro network.

    Args:
        name: the space's name in run folders; genotypes carry the family name `nasbench201`.
        operations: candidate operations of every edge, the benchmark's five, some of them, or others.
        cells_per_stage: N, cells of each of the three stages, of the supernet and, unless a recipe says
            otherwise, of the evaluation network.
        init_channels: C of the first stage, likewise.
        partial: K; 1/K of the supernet's channels go through the candidates, the others past them.
        num_cells: 3N, cells in all, as other spaces count them; in place of `cells_per_stage` unless None.

    Attributes:
        recipe_sizes: the keys of a recipe that size this space's evaluation network.

    Raises:
        ConfigError: a size is not positive, or the operations are not the benchmark's.
    """

    family = "nasbench201"
    recipe_sizes = ("cells_per_stage", "init_channels")
    reference = "tests.reference.literal_nasbench201.LiteralNasBench201"
    path_reference = "tests.reference.literal_nasbench201.LiteralPaths"
    network_reference = "tests.reference.literal_nasbench201.LiteralNasBench201Network"
    single_paths = True
    weighs_edges = True

    def __init__(
        self,
        name: str,
        operations: Sequence[str] = OPERATIONS,
        cells_per_stage: int = 5,
        init_channels: int = 16,
        partial: int = 1,
        num_cells: int | None = None,
    ):
        if num_cells is not None:
            require(
                isinstance(num_cells, int) and num_cells >= STAGES and num_cells % STAGES == 0,
                f"space.num_cells={num_cells}: must be a multiple of 3, the stages (or null, and "
                "space.cells_per_stage counts)",
            )
            cells_per_stage = num_cells // STAGES
        check_sizes("space", cells_per_stage=cells_per_stage, init_channels=init_channels, partial=partial)
        check_partial(partial, init_channels)
        check_list(operations)
        NASBENCH201.check(operations, "space.operations")
        self.name = name
        self.cells_per_stage = cells_per_stage
        self.init_channels = init_channels
        self.partial = partial
        # Every node keeps an input, or the network would end there.
        group = EdgeGroup(EDGES, (tuple(operations),) * len(EDGES), guards_of(EDGES))
        self.groups: dict[str, EdgeGroup] = {CELL: group}

    def supernet(
        self,
        inputs: ImageInputs,
        partial: int | None = None,
        kept: Mapping[str, Tensor] | None = None,
        separate: bool = False,
    ) -> NasBench201Supernet:
        """The supernet for images (C, H, W); see `Space.supernet`.

        Raises:
            ConfigError: the images are too small for two halvings, or K does not divide the channels.
        """
        partial = self.partial if partial is None else partial
        check_partial(partial, self.init_channels)
        return NasBench201Supernet(
            self.groups,
            inputs.image_shape,
            inputs.num_classes,
            self.cells_per_stage,
            self.init_channels,
            partial,
            kept,
            separate,
        )

    def deepened(self, cells: int | None) -> "NasBench201Space":
        """This space with another `cells_per_stage`; see `Space.deepened`."""
        space = copy.copy(self)
        space.cells_per_stage = self.cells_per_stage if cells is None else cells
        return space

    def clean(self, alive: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Drops `none`, which has no effect, and edges from or to nodes without a path through the cell."""
        alive_EO = super().clean(alive)[CELL]
        reached, needed = {0}, {3}
        for row, (source, target) in enumerate(EDGES):
            if source in reached and bool(alive_EO[row].any()):
                reached.add(target)
        for row, (source, target) in reversed(list(enumerate(EDGES))):
            if target in needed and bool(alive_EO[row].any()):
                needed.add(source)
        for row, (source, target) in enumerate(EDGES):
            if source not in reached or target not in needed:
                alive_EO[row] = False
        return {CELL: alive_EO}

    def costs(self, inputs: ImageInputs) -> dict[str, CandidateCosts]:
        """What candidates cost in the supernet; see `Space.costs`."""
        places = [
            Piece(
                "",
                self.init_channels * 2**stage // self.partial,
                *(reduced(side, 2**stage) for side in inputs.image_shape[1:]),
            )
            for stage in range(STAGES)
            for _ in range(self.cells_per_stage)
        ]
        flat = is_signal(inputs.image_shape)
        return {CELL: CandidateCosts(self.groups[CELL], lambda source: places, NASBENCH201, flat)}

    def architectures(self) -> Architectures:
        """All of them, 15,625 of the benchmark's five operations: every edge has any of them."""
        return Architectures(self.groups, self.derive)

    def derive(self, scores: Mapping[str, Tensor]) -> Genotype:
        """Takes the strongest operation of every edge, `none` among them; ties go to the lower index."""
        group = self.groups[CELL]
        rows = scores[CELL].detach().tolist()
        chosen = {
            edge: names[max(range(len(row)), key=row.__getitem__)]
            for edge, names, row in zip(group.edges, group.operations, rows, strict=True)
        }
        nodes = tuple(
            tuple(Edge(source, chosen[source, target]) for source in range(target)) for target in range(1, 4)
        )
        return Genotype(self.family, ((CELL, Cell(nodes, (len(nodes),), inputs=1)),))

    def network(
        self,
        genotype: Genotype,
        inputs: ImageInputs,
        cells_per_stage: int | None = None,
        init_channels: int | None = None,
        auxiliary: bool = False,
    ) -> nn.Module:
        """The evaluation network; sizes that are None are the space's own.

        Raises:
            ConfigError: the genotype is of another space, a size does not fit, or an auxiliary head is asked
                for, which the benchmark's networks do not have.
        """
        self.check_genotype(genotype, CELL)
        NASBENCH201.check(genotype.operations, "genotype")
        cell = genotype[CELL]
        edges = tuple((edge.source, target) for target, edge in cell.edges)
        require(
            cell.inputs == 1 and edges == EDGES and cell.output == (3,),
            "genotype: an architecture of NAS-Bench-201 has nodes 1 to 3, each fed once by every earlier one",
        )
        require(
            not auxiliary,
            "recipe.auxiliary_weight: networks of the space nasbench201 have no auxiliary head; choose "
            "recipe=nasbench201, or set recipe.auxiliary_weight=0",
        )
        cells_per_stage = self.cells_per_stage if cells_per_stage is None else cells_per_stage
        init_channels = self.init_channels if init_channels is None else init_channels
        check_sizes("recipe", cells_per_stage=cells_per_stage, init_channels=init_channels)
        return NasBench201Network(
            genotype, inputs.image_shape, inputs.num_classes, cells_per_stage, init_channels
        )

    def pieces(
        self,
        inputs: ImageInputs,
        cells_per_stage: int | None = None,
        init_channels: int | None = None,
    ) -> NasBench201Pieces:
        """What evaluation networks of these sizes are made of; see `Space.pieces`."""
        return NasBench201Pieces(
            self.groups[CELL].operations[0],
            inputs.image_shape,
            inputs.num_classes,
            self.cells_per_stage if cells_per_stage is None else cells_per_stage,
            self.init_channels if init_channels is None else init_channels,
        )
