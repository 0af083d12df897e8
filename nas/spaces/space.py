"""What a method and the engine know of a search space."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from nas.errors import require
from nas.genotype import Genotype

ZERO = "none"
SKIP = "skip_connect"


@dataclass(frozen=True)
class EdgeGroup:
    """Edges that share architecture parameters.

    Attributes:
        edges: for each edge its (source node, target node), in the order of the rows of alpha.
        operations: for each edge its candidate operations, in the order of the columns of alpha. Every edge
            has the same number of candidates, though not the same ones (S1 differs edge by edge).
    """

    edges: tuple[tuple[int, int], ...]
    operations: tuple[tuple[str, ...], ...]

    def __post_init__(self):
        require(
            len(self.edges) == len(self.operations),
            f"space.operations: {len(self.operations)} lists for {len(self.edges)} edges",
        )
        sizes = {len(operations) for operations in self.operations}
        require(
            len(sizes) == 1,
            f"space.operations: every edge needs as many candidates as the others, found {sizes}",
        )
        require(min(sizes) >= 1, "space.operations: an edge needs at least one candidate operation")
        for edge, operations in zip(self.edges, self.operations, strict=True):
            require(
                len(set(operations)) == len(operations),
                f"space.operations: edge {edge[0]}->{edge[1]} lists an operation twice: {list(operations)}",
            )

    @property
    def shape(self) -> tuple[int, int]:
        """[E, O]: the shape of this group's alpha and op weights."""
        return len(self.edges), len(self.operations[0])


class Space(Protocol):
    """A search space. Its supernet owns no architecture parameter: it applies the op weights it is given.

    Attributes:
        name: the space's name in run folders.
        family: the name that its genotypes carry.
        groups: edge groups by name.
    """

    name: str
    family: str
    groups: Mapping[str, EdgeGroup]

    def supernet(self, image_shape: Sequence[int], num_classes: int) -> nn.Module:
        """The network that holds every candidate: `forward(x_BCHW, {group: op weights [E, O]})`."""

    def derive(self, strengths: Mapping[str, Tensor]) -> Genotype:
        """The discrete architecture that strengths [E, O] a group stand for."""

    def network(self, genotype: Genotype, image_shape: Sequence[int], num_classes: int, **sizes) -> nn.Module:
        """The evaluation network of a genotype."""


def check_op_weights(groups: Mapping[str, EdgeGroup], op_weights: Mapping[str, Tensor]) -> None:
    """Raises `ConfigError` unless there is one tensor of the right shape for every group."""
    require(
        set(op_weights) == set(groups),
        f"op weights for groups {sorted(op_weights)}, but the space has {sorted(groups)}",
    )
    for name, group in groups.items():
        require(
            tuple(op_weights[name].shape) == group.shape,
            f"op weights of {name!r} have shape {tuple(op_weights[name].shape)}, not {group.shape}",
        )
