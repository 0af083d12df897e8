"""The DARTS space and its sub-spaces S1-S4, which are the same class over other lists of candidates."""

import copy
import functools
import logging
from collections.abc import Mapping, Sequence

from torch import Tensor

from nas.errors import require
from nas.genotype import Cell, Edge, Genotype
from nas.spaces.architectures import ChosenEdges
from nas.spaces.darts.layout import INPUTS, NORMAL, REDUCE, cell_places, reduction_positions
from nas.spaces.darts.network import DartsNetwork
from nas.spaces.darts.pieces import DartsPieces
from nas.spaces.darts.supernet import DartsSupernet
from nas.spaces.operations import DARTS
from nas.spaces.pieces import Piece
from nas.spaces.signals import is_signal, reduced
from nas.spaces.space import (
    ZERO,
    EdgeGroup,
    ImageInputs,
    Space,
    check_list,
    check_partial,
    check_sizes,
    edges_to_all,
    guards_of,
)
from nas.spaces.stems import check_image_size
from nas.spaces.supernet.costs import CandidateCosts

log = logging.getLogger(__name__)


class DartsSpace(Space):
    """Cells of two inputs and a few nodes, every node fed by all earlier ones.

    Args:
        name: the space's name in run folders (`darts`, `s1`, ...); genotypes carry the family name `darts`.
        operations: candidate operations: one list for all edges, or per group (`normal`, `reduce`) one list,
            or per group one list an edge.
        num_nodes: intermediate nodes of a cell.
        num_cells: cells of the supernet. Of one or two each is a reduction, as in the authors' code.
        init_channels: C of the supernet's first cells.
        stem_multiplier: stem channels / C.
        stem: `cifar` or `imagenet`.
        edges_per_node: in-edges that derivation keeps a node.
        partial: K; 1/K of the channels go through the candidates, the others past them.

    Raises:
        ConfigError: a size is not positive, or the lists of operations do not fit the edges.
    """

    family = "darts"
    recipe_sizes = ("num_cells", "init_channels", "stem")
    reference = "tests.reference.literal.LiteralDarts"
    network_reference = "tests.reference.literal_network.LiteralDartsNetwork"
    single_paths = True
    weighs_edges = True

    def __init__(
        self,
        name: str,
        operations: Sequence[str] | Mapping[str, Sequence],
        num_nodes: int = 4,
        num_cells: int = 8,
        init_channels: int = 16,
        stem_multiplier: int = 3,
        stem: str = "cifar",
        edges_per_node: int = 2,
        partial: int = 1,
    ):
        check_sizes(
            "space",
            num_nodes=num_nodes,
            num_cells=num_cells,
            init_channels=init_channels,
            stem_multiplier=stem_multiplier,
            edges_per_node=edges_per_node,
            partial=partial,
        )
        require(
            init_channels % 2 == 0, f"space.init_channels={init_channels}: must be even, reductions halve it"
        )
        require(
            edges_per_node <= INPUTS,
            f"space.edges_per_node={edges_per_node}: the first node has only {INPUTS} inputs",
        )
        check_partial(partial, init_channels)
        self.name = name
        self.partial = partial
        self.num_cells = num_cells
        self.init_channels = init_channels
        self.stem_multiplier = stem_multiplier
        self.stem = stem
        self.edges_per_node = edges_per_node
        if not self._searches_normal:
            log.warning(
                "space.num_cells=%d: every cell of such a network is a reduction, so the normal cell is not "
                "searched and the one that is derived is what alpha started from; 3 cells hold one",
                num_cells,
            )
        edges = edges_to_all(INPUTS, num_nodes)
        # Derivation takes this many edges per node, so as many must be left.
        guards = guards_of(edges, edges_per_node)
        self.groups: dict[str, EdgeGroup] = {
            group: EdgeGroup(edges, _lists(operations, group, len(edges)), guards)
            for group in (NORMAL, REDUCE)
        }
        for group in self.groups.values():
            for names in group.operations:
                DARTS.check(names, "space.operations")
                require(set(names) != {ZERO}, f"space.operations: an edge has only {ZERO!r} to choose from")

    def supernet(
        self,
        inputs: ImageInputs,
        partial: int | None = None,
        kept: Mapping[str, Tensor] | None = None,
        separate: bool = False,
    ) -> DartsSupernet:
        """The supernet for images (C, H, W); see `Space.supernet`.

        Raises:
            ConfigError: the images are too small for the reductions, or K does not divide the channels.
        """
        partial = self.partial if partial is None else partial
        check_partial(partial, self.init_channels)
        check_image_size(inputs.image_shape, self.stem, len(reduction_positions(self.num_cells)))
        return DartsSupernet(
            self.groups,
            inputs.image_shape,
            inputs.num_classes,
            self.num_cells,
            self.init_channels,
            self.stem_multiplier,
            self.stem,
            partial,
            kept,
            separate,
        )

    def deepened(self, cells: int | None) -> "DartsSpace":
        """This space with another `num_cells`; see `Space.deepened`.

        Raises:
            ConfigError: so few that the normal cell would not be searched.
        """
        found = copy.copy(self)
        found.num_cells = self.num_cells if cells is None else cells
        require(
            cells is None or found._searches_normal,
            f"method.stages: cells={cells}: every cell of such a network is a reduction, so the stage would "
            "not search the normal cell; 3 cells hold one",
        )
        return found

    @property
    def _searches_normal(self) -> bool:
        return NORMAL in {cell.group for cell in cell_places(self.num_cells, self.init_channels)}

    def costs(self, inputs: ImageInputs) -> dict[str, CandidateCosts]:
        """What candidates cost in the supernet; see `Space.costs`."""
        shift = 8 if self.stem == "imagenet" else 1

        def places(name: str, source: int) -> list[Piece]:
            found = []
            for cell in cell_places(self.num_cells, self.init_channels):
                if cell.group == name:
                    stride = 2 if cell.reduction and source < INPUTS else 1
                    before = shift * 2 ** (cell.level + (cell.reduction and stride == 1))
                    height, width = (reduced(side, before) for side in inputs.image_shape[1:])
                    found.append(Piece("", cell.channels // self.partial, height, width, stride))
            return found

        return {
            name: CandidateCosts(group, functools.partial(places, name), DARTS, is_signal(inputs.image_shape))
            for name, group in self.groups.items()
        }

    def architectures(self) -> ChosenEdges:
        """Its architectures as codes; see `Space.architectures`."""
        return ChosenEdges(self.groups, self.derive, self.edges_per_node)

    def derive(self, scores: Mapping[str, Tensor]) -> Genotype:
        """Keeps, for every node, its strongest in-edges by their best operation other than `none` (section
        2.4).

        Ties keep the lower index, as the authors' sort does.
        """
        cells = {}
        for name, group in self.groups.items():
            best = [
                max(
                    ((value, -column) for column, value in enumerate(row) if operations[column] != ZERO),
                )
                for row, operations in zip(scores[name].detach().tolist(), group.operations, strict=True)
            ]
            nodes = []
            for target in sorted({target for _, target in group.edges}):
                rows = [row for row, edge in enumerate(group.edges) if edge[1] == target]
                rows.sort(key=lambda row: -best[row][0])
                nodes.append(
                    tuple(
                        Edge(group.edges[row][0], group.operations[row][-best[row][1]])
                        for row in rows[: self.edges_per_node]
                    )
                )
            cells[name] = Cell(tuple(nodes), tuple(range(INPUTS, INPUTS + len(nodes))), INPUTS)
        return Genotype(self.family, tuple(cells.items()))

    def network(
        self,
        genotype: Genotype,
        inputs: ImageInputs,
        num_cells: int = 20,
        init_channels: int = 36,
        stem: str = "cifar",
        auxiliary: bool = False,
    ) -> DartsNetwork:
        """The evaluation network.

        Raises:
            ConfigError: the genotype is of another space or holds unknown operations, or a size does not fit.
        """
        self.check_genotype(genotype, NORMAL, REDUCE)
        DARTS.check(genotype.operations, "genotype")
        for group in (NORMAL, REDUCE):
            require(genotype[group].inputs == INPUTS, f"genotype: cell {group} must have {INPUTS} inputs")
        check_sizes("recipe", num_cells=num_cells, init_channels=init_channels)
        require(
            init_channels % 2 == 0,
            f"recipe.init_channels={init_channels}: must be even and at least 2",
        )
        return DartsNetwork(
            genotype,
            inputs.image_shape,
            inputs.num_classes,
            num_cells,
            init_channels,
            self.stem_multiplier,
            stem,
            auxiliary,
        )

    def pieces(
        self,
        inputs: ImageInputs,
        num_cells: int = 20,
        init_channels: int = 36,
        stem: str = "cifar",
    ) -> DartsPieces:
        """What evaluation networks of these sizes are made of; see `Space.pieces`."""
        sizes = (num_cells, init_channels, self.stem_multiplier, stem)
        return DartsPieces(self.groups, self.edges_per_node, inputs.image_shape, inputs.num_classes, *sizes)


def _lists(
    operations: Sequence[str] | Mapping[str, Sequence], group: str, num_edges: int
) -> tuple[tuple[str, ...], ...]:
    if isinstance(operations, Mapping):
        require(group in operations, f"space.operations: no list for group {group!r}")
        operations = operations[group]
    check_list(operations)
    if all(isinstance(name, str) for name in operations):
        return tuple(tuple(operations) for _ in range(num_edges))
    return tuple(tuple(names) for names in operations)
