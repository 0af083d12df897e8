"""The space of DSO-NAS (Zhang et al. 2018): fully connected blocks with a scaling factor a connection."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from nas.errors import require
from nas.genotype import Cell, Edge, Genotype
from nas.spaces.dso.costs import BlockCosts, ReductionCosts
from nas.spaces.dso.layout import BlockLayout
from nas.spaces.dso.network import DsoNetwork
from nas.spaces.dso.parts import (
    FIXED_SCALES,
    OPERATIONS,
    REDUCTIONS,
    check_blocks,
    check_stem,
    places,
    stage_sizes,
)
from nas.spaces.dso.pieces import DsoPieces
from nas.spaces.dso.supernet import DsoSupernet
from nas.spaces.signals import is_signal
from nas.spaces.space import EdgeGroup, Guard, ImageInputs, Space, check_names

DEFAULT_OPERATIONS = ("sep_conv_3x3", "sep_conv_5x5", "max_pool_3x3", "avg_pool_3x3")


class DsoSpace(Space):
    """Stages of blocks in which every operation may be fed by all operations of earlier levels.

    A group's rows are connections, its one column is their scaling factor. Reduction blocks have two rows
    each, their branches, of which one must stay: both at zero would cut the network in two, which nothing in
    the authors' code prevents.

    Args:
        name: the space's name in run folders; genotypes carry the family name `dso`.
        levels: M.
        operations: names of the N operations of every level, in the order of the code.
        blocks_per_stage: blocks of each stage of the supernet and, unless a recipe says otherwise, of the
            evaluation network; a reduction block ends every stage but the last.
        init_channels: C of the first stage, likewise; doubles at each reduction.
        stem: `cifar` (full resolution) or `imagenet` (a quarter of it), likewise.
        share: whether all blocks have the same scaling factors (`block`), or each its own (`block_01`, ...);
            those of the reductions are always their own.
        first_factors: whether the connections of the block's input into level 1 have scaling factors as well
            (equation 3); the authors' code has none.
        fixed_scales: which batch norms have their scale fixed to 1 in a search, so that no factor can hide in
            it: `operations` (the paper's words: a block's operations), `code` (theirs: these, the branches of
            reductions and the convolutional shortcuts) or `all` (the stem too, in whose scale the factors of
            the first block's input could hide). Scales of a block's output and the head always learn: they
            follow a sum. So do all of an evaluation network.
        num_cells: blocks in all, as other spaces count cells, spread evenly over the stages of
            `blocks_per_stage`, in its place unless None. Fewer blocks than stages make one stage each, and
            the last stages are left out.

    Attributes:
        recipe_sizes: the keys of a recipe that size this space's evaluation network.

    Raises:
        ConfigError: a size is not positive, an operation or stem is unknown, or C does not fit the stem.
    """

    family = "dso"
    recipe_sizes = ("blocks_per_stage", "init_channels", "stem")
    recipe_options = ("dropout", "drop_path_depth")
    reference = "tests.reference.dso.literal_of"

    def __init__(
        self,
        name: str,
        levels: int = 4,
        operations: Sequence[str] = DEFAULT_OPERATIONS,
        blocks_per_stage: Sequence[int] = (8, 8, 8),
        init_channels: int = 48,
        stem: str = "cifar",
        share: bool = True,
        first_factors: bool = False,
        num_cells: int | None = None,
        fixed_scales: str = "code",
    ):
        blocks_per_stage = check_blocks(blocks_per_stage, init_channels, "space")
        if num_cells is not None:
            blocks_per_stage = _spread(num_cells, len(blocks_per_stage))
        check_stem(stem, init_channels, "space")
        check_names(operations, OPERATIONS)
        for key, value in (("share", share), ("first_factors", first_factors)):
            require(isinstance(value, bool), f"space.{key}={value}: must be true or false")
        require(
            fixed_scales in FIXED_SCALES,
            f"space.fixed_scales={fixed_scales}: unknown; known are {', '.join(FIXED_SCALES)}",
        )
        self.name = name
        self.fixed_scales = fixed_scales
        self.blocks_per_stage = blocks_per_stage
        self.init_channels = init_channels
        self.stem = stem
        self.share = share
        self.layout = BlockLayout(levels, operations, first_factors)
        self.places = tuple(places(blocks_per_stage, init_channels, share))
        block = EdgeGroup(self.layout.edges, self.layout.candidates)
        reduction = EdgeGroup(
            edges=tuple((0, 1 + row) for row in range(len(REDUCTIONS))),
            operations=tuple((operation,) for operation in REDUCTIONS),
            guards=(Guard(rows=tuple(range(len(REDUCTIONS))), least=1),),
        )
        blocks = {place.group: block for place in self.places if not place.reduction}
        reductions = {place.group: reduction for place in self.places if place.reduction}
        self.reductions = frozenset(reductions)
        self.groups: dict[str, EdgeGroup] = blocks | reductions

    def clean(self, alive: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is alive after the cleaning passes: of a block, what lies on a path from input to output.

        Args:
            alive: {group: bool [E, 1]}.
        """
        return {
            name: alive_EO if name in self.reductions else self.layout.clean(alive_EO[:, 0])[:, None]
            for name, alive_EO in alive.items()
        }

    def supernet(
        self, inputs: ImageInputs, partial: int | None = None, kept: Mapping[str, Tensor] | None = None
    ) -> DsoSupernet:
        """The supernet for images (C, H, W); see `Space.supernet`. Any image size fits.

        With `kept` it holds what `clean` leaves of it, and its parameters and buffers are some of the whole
        supernet's, by name and shape.

        Raises:
            ConfigError: K is not 1, or a reduction keeps no branch.
        """
        require(
            partial in (None, 1),
            f"space.partial={partial}: an operation of the space dso is not mixed with others, so no "
            "channels can be led past it; leave K at 1",
        )
        kept = kept or {}
        # Masks hold values even where a network is built on no device.
        with torch.device("cpu"):
            whole = {name: torch.ones(group.shape, dtype=torch.bool) for name, group in self.groups.items()}
            alive = self.clean({name: kept.get(name, mask_EO).bool() for name, mask_EO in whole.items()})
        for name in sorted(self.reductions):
            require(
                bool(alive[name].any()), f"{name}: both branches are dropped; a reduction block must keep one"
            )
        sizes = (inputs.image_shape, inputs.num_classes, self.stem, self.fixed_scales)
        return DsoSupernet(self.groups, self.layout, self.places, alive, *sizes)

    def costs(self, inputs: ImageInputs) -> dict[str, BlockCosts | ReductionCosts]:
        """What each group's connections cost on images (C, H, W); see `dso_costs`."""
        sizes = stage_sizes(inputs.image_shape, self.stem, len(self.blocks_per_stage))
        flat = is_signal(inputs.image_shape)
        found: dict[str, BlockCosts | ReductionCosts] = {}
        for name in self.groups:
            own = [place for place in self.places if place.group == name]
            if name in self.reductions:
                found[name] = ReductionCosts(own[0].channels, sizes[own[0].stage], flat)
            else:
                found[name] = BlockCosts(
                    self.layout, [(p.channels, *sizes[p.stage]) for p in own], [p.first for p in own], flat
                )
        return found

    def derive(self, scores: Mapping[str, Tensor]) -> Genotype:
        """The network of what has a score above 0, cleaned; there is no other threshold (section 3.2).

        Of a reduction the stronger branch stays where neither is above 0, ties go to the first.
        """
        alive = self.clean({name: scores[name].detach() > 0 for name in self.groups})
        cells = {}
        for name in self.groups:
            if name in self.reductions:
                cells[name] = _reduction_cell(alive[name][:, 0].tolist(), scores[name][:, 0].tolist())
            else:
                cells[name] = self._block_cell(alive[name][:, 0])
        return Genotype(self.family, tuple(cells.items()))

    def _block_cell(self, alive_E: Tensor) -> Cell:
        layout = self.layout
        held = layout.alive_operations(alive_E).tolist()
        rows = dict(zip(layout.edges, alive_E.tolist(), strict=True))
        nodes: list[tuple[Edge, ...]] = []
        for node in range(1, layout.output):
            name, level = layout.operation(node), layout.level(node)
            if not held[node - 1]:
                nodes.append(())
            elif level not in layout.factored_levels:
                nodes.append((Edge(0, name),))
            else:
                sources = range(layout.num_sources(level))
                nodes.append(tuple(Edge(source, name) for source in sources if rows[source, node]))
        output = tuple(node for node in range(1, layout.output) if rows[node, layout.output])
        return Cell(tuple(nodes), output or (0,), inputs=1)

    def network(
        self,
        genotype: Genotype,
        inputs: ImageInputs,
        blocks_per_stage: Sequence[int] | None = None,
        init_channels: int | None = None,
        stem: str | None = None,
        auxiliary: bool = False,
        dropout: float = 0.0,
        drop_path_depth: str = "blocks",
    ) -> nn.Module:
        """The evaluation network, without scaling factors; sizes that are None are the space's own.

        Raises:
            ConfigError: the genotype is of another space, or does not fit the sizes.
        """
        self.check_genotype(genotype)
        return DsoNetwork(
            genotype,
            inputs.image_shape,
            inputs.num_classes,
            self.blocks_per_stage if blocks_per_stage is None else blocks_per_stage,
            self.init_channels if init_channels is None else init_channels,
            self.stem if stem is None else stem,
            auxiliary,
            dropout,
            drop_path_depth,
        )

    def pieces(
        self,
        inputs: ImageInputs,
        blocks_per_stage: Sequence[int] | None = None,
        init_channels: int | None = None,
        stem: str | None = None,
    ) -> DsoPieces:
        """What evaluation networks of these sizes are made of; see `Space.pieces`."""
        return DsoPieces(
            self.layout,
            inputs.image_shape,
            inputs.num_classes,
            self.blocks_per_stage if blocks_per_stage is None else blocks_per_stage,
            self.init_channels if init_channels is None else init_channels,
            self.stem if stem is None else stem,
        )


def _spread(num_cells: int, stages: int) -> tuple[int, ...]:
    require(
        isinstance(num_cells, int) and num_cells >= 1,
        f"space.num_cells={num_cells}: must be a whole number of at least 1 (or null, and "
        "space.blocks_per_stage counts)",
    )
    stages = min(stages, num_cells)
    each, left = divmod(num_cells, stages)
    return tuple(each + (stage < left) for stage in range(stages))


def _reduction_cell(alive: Sequence[bool], scores: Sequence[float]) -> Cell:
    if not any(alive):
        alive = [row == scores.index(max(scores)) for row in range(len(scores))]
    nodes = tuple(
        (Edge(0, name),) if is_alive else () for name, is_alive in zip(REDUCTIONS, alive, strict=True)
    )
    return Cell(nodes, tuple(1 + row for row, is_alive in enumerate(alive) if is_alive), inputs=1)
