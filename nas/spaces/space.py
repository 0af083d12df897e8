"""What a method and the engine know of a search space."""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nas.errors import ConfigError, require, require_whole
from nas.genotype import Genotype
from nas.printable import shown

ZERO = "none"
SKIP = "skip_connect"


@dataclass(frozen=True)
class ImageInputs:
    """What networks of images are sized by.

    Attributes:
        image_shape: (C, H, W) of an image.
        num_classes: outputs of the classifier.
    """

    image_shape: tuple[int, int, int]
    num_classes: int

    def example(self) -> Tensor:
        """One image [1, C, H, W] of no particular values, which costs are counted on."""
        return torch.empty(1, *self.image_shape)


@dataclass(frozen=True)
class TextInputs:
    """What networks of texts are sized by.

    Attributes:
        vocabulary: V, the number of different words; as many come in as go out.
    """

    vocabulary: int

    def example(self) -> Tensor:
        """One time step of one text, int64 tokens [1, 1], which costs are counted on."""
        return torch.zeros(1, 1, dtype=torch.int64)


Inputs = ImageInputs | TextInputs


@dataclass(frozen=True)
class Guard:
    """A rule of a group that sparsification keeps: of these rows at least so many hold a candidate.

    Attributes:
        rows: positions among the rows of alpha.
        least: how many of them may not lose their last candidate, at least 1.
    """

    rows: tuple[int, ...]
    least: int = 1


@dataclass(frozen=True)
class EdgeGroup:
    """Edges that share architecture parameters.

    Attributes:
        edges: for each edge its (source node, target node), in the order of the rows of alpha.
        operations: for each edge its candidate operations, in the order of the columns of alpha. Every edge
            has the same number of candidates, though not the same ones (S1 differs edge by edge).
        guards: which edges may not all lose their candidates when a method drops what it does not need.
    """

    edges: tuple[tuple[int, int], ...]
    operations: tuple[tuple[str, ...], ...]
    guards: tuple[Guard, ...] = ()

    def __post_init__(self):
        require(
            len(self.edges) == len(self.operations),
            f"space.operations: {len(self.operations)} lists for {len(self.edges)} edges",
        )
        sizes = {len(operations) for operations in self.operations}
        require(
            len(sizes) == 1,
            f"space.operations: every edge needs as many candidates as the others, found "
            f"{shown(sorted(sizes))}",
        )
        require(min(sizes) >= 1, "space.operations: an edge needs at least one candidate operation")
        for edge, operations in zip(self.edges, self.operations, strict=True):
            require(
                len(set(operations)) == len(operations),
                f"space.operations: edge {edge[0]}->{edge[1]} lists an operation twice: "
                f"{shown(list(operations), 400)}",
            )

    @property
    def shape(self) -> tuple[int, int]:
        """[E, O]: the shape of this group's alpha and op weights."""
        return len(self.edges), len(self.operations[0])


class Space(ABC):
    """A search space. Its supernet owns no architecture parameter: it applies the op weights it is given.

    What a space of others gives is this class alone; that it has none of the optional parts is said where one
    is asked for. A space whose evaluation networks are cut into pieces, to look their latency up, also has
    `pieces(inputs, **sizes) -> Pieces`.

    Attributes:
        name: the space's name in run folders.
        family: the name that its genotypes carry; `nas.genotype_text` says how those of published families
            are written and drawn, and others are under their own name.
        domain: what its networks read, `images` or `text`.
        groups: edge groups by name.
        recipe_sizes: the keys of a recipe that size the evaluation network.
        recipe_options: keys that a recipe may add, which its training needs and its cost does not depend on.
        reference: import path of a literal supernet to measure against (`nas.bench`); None if there is none.
        path_reference: the same for methods that run one path, whose literal twin does so too.
        network_reference: import path of a literal evaluation network, likewise.
        single_paths: whether `supernet` takes `separate`, which gives every edge candidates of its own, and
            the supernet runs no more than `nas.op_weights.OpWeights.run` names.
        weighs_edges: whether the supernet weighs what goes past its candidates by `OpWeights.edges`.
    """

    name: str
    family: str
    domain: str = "images"
    groups: Mapping[str, EdgeGroup]
    recipe_sizes: tuple[str, ...] = ()
    recipe_options: tuple[str, ...] = ()
    reference: str | None = None
    path_reference: str | None = None
    network_reference: str | None = None
    single_paths: bool = False
    weighs_edges: bool = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if isinstance(vars(cls).get("family"), str):
            check_family(cls.family, f"class {cls.__name__}")

    @abstractmethod
    def supernet(
        self, inputs: Any, partial: int | None = None, kept: Mapping[str, Tensor] | None = None
    ) -> nn.Module:
        """The network that holds every candidate: `forward(x, {group: op weights [E, O]})`.

        Args:
            inputs: of the space's domain.
            partial: K, of which 1/K of the channels go through the candidates; None for the space's own.
            kept: {group: [E, O], true where a candidate is to be held}; None for all.
        """

    @abstractmethod
    def derive(self, scores: Mapping[str, Tensor]) -> Genotype:
        """The discrete architecture that scores [E, O] of every group stand for."""

    @abstractmethod
    def network(self, genotype: Genotype, inputs: Any, *args: Any, **sizes: Any) -> nn.Module:
        """The evaluation network of a genotype."""

    def clean(self, alive: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What has an effect of what is `alive`: {group: bool [E, O]}, never more than was given.

        Without the rest the supernet's outputs are the same. Here: all but `none`.
        """
        cleaned = {}
        for name, alive_EO in alive.items():
            effective_EO = [[op != ZERO for op in names] for names in self.groups[name].operations]
            cleaned[name] = alive_EO & torch.tensor(effective_EO).to(alive_EO.device)
        return cleaned

    def deepened(self, cells: int | None) -> "Space":
        """This space with supernets of so many cells; None for its own.

        Raises:
            ConfigError: nobody has said how.
        """
        if cells is None:
            return self
        raise ConfigError(
            f"method.stages: cells={cells}: supernets of space={self.name} have one depth; leave cells out"
        )

    def costs(self, inputs: Any) -> dict[str, Any]:
        """What the candidates of each group cost in the supernet; see `nas.methods.sparsity.GroupCosts`.

        Raises:
            ConfigError: nobody has said.
        """
        raise ConfigError(f"space={self.name}: it does not say what its candidates cost")

    def architectures(self) -> Any:
        """All its architectures and their neighbours; see `nas.spaces.architectures.Architectures`.

        Raises:
            ConfigError: nobody has said which there are.
        """
        raise ConfigError(
            f"space={self.name}: it does not say how its architectures are drawn and changed; "
            "use space=nasbench201, darts or darts_rnn"
        )

    def check_genotype(self, genotype: Genotype, *cells: str) -> None:
        """Raises `ConfigError` unless a genotype is of this family and has these cells."""
        require(
            genotype.space == self.family and all(cell in genotype for cell in cells),
            f"genotype: it belongs to space {genotype.space!r}, not {self.family!r}",
        )


def check_family(family: str, where: str) -> None:
    """Raises `ConfigError` unless a family's name is a word, under which genotypes are written and read."""
    require(
        re.fullmatch(r"[A-Za-z_]\w*", family, re.ASCII) is not None,
        f"{where}: family={shown(family)!r}: must be a word of letters, digits and underscores that "
        "begins with no digit, since genotypes are written as family(...)",
    )


def edges_to_all(inputs: int, nodes: int) -> tuple[tuple[int, int], ...]:
    """(source, target) of every edge from an input or node to a later node, by target, then by source."""
    return tuple((source, target) for target in range(inputs, inputs + nodes) for source in range(target))


def guards_of(edges: Sequence[tuple[int, int]], least: int = 1) -> tuple[Guard, ...]:
    """Of the edges into each node at least so many stay."""
    rows: dict[int, list[int]] = {}
    for row, (_, target) in enumerate(edges):
        rows.setdefault(target, []).append(row)
    return tuple(Guard(tuple(entering), least) for entering in rows.values())


def check_sizes(where: str, **sizes: int) -> None:
    """Raises `ConfigError` unless every size is a whole number of at least 1."""
    for key, value in sizes.items():
        require_whole(f"{where}.{key}", value, 1)


def check_list(operations: Sequence[str]) -> None:
    """Raises `ConfigError` unless `space.operations` is a list, and not an empty one."""
    require(
        not isinstance(operations, str) and len(operations) > 0,
        f"space.operations: {operations!r} is not a list of names",
    )


def check_names(operations: Sequence[str], known: Collection[str]) -> None:
    """Raises `ConfigError` unless `space.operations` is a list of known names."""
    check_list(operations)
    unknown = sorted(set(map(str, operations)) - set(known))
    require(not unknown, f"space.operations: unknown operations {unknown}; known are {', '.join(known)}")


def kept_operations(group: EdgeGroup, kept_EO: Tensor | None) -> list[tuple[str, ...]]:
    """For each edge the candidates that are kept; all of them for None."""
    if kept_EO is None:
        return list(group.operations)
    return [
        tuple(name for name, keep in zip(names, row, strict=True) if keep)
        for names, row in zip(group.operations, kept_EO.tolist(), strict=True)
    ]


def check_partial(partial: int, channels: int) -> None:
    """Raises `ConfigError` unless 1/`partial` of the channels is a whole number of them."""
    require(partial >= 1, f"space.partial={partial}: must be at least 1 (all channels)")
    if channels % partial:
        fitting = [k for k in range(1, channels + 1) if channels % k == 0]
        below = max(k for k in fitting if k <= partial)
        above = [k for k in fitting if k > partial][:1]
        nearest = " and ".join(str(k) for k in [below, *above])
        raise ConfigError(
            f"space.partial={partial}: does not divide space.init_channels={channels}; the nearest that do "
            f"are {nearest}"
        )


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


def recipe_fits(space: Space, recipe: Mapping[str, Any]) -> bool:
    """Whether a recipe has all the keys that size evaluation networks of this space."""
    return all(name in recipe for name in space.recipe_sizes)


def network_sizes(space: Space, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes of an evaluation network, as `space.network` takes them.

    A recipe that lacks one of them was written for the networks of another space, and what else it says of
    sizes means theirs: then the space's own hold, which are those of its supernet.
    """
    if not recipe_fits(space, recipe):
        return {name: getattr(space, name) for name in space.recipe_sizes if hasattr(space, name)}
    options = [name for name in space.recipe_options if name in recipe]
    return {name: recipe[name] for name in (*space.recipe_sizes, *options)}
