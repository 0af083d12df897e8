"""Architectures drawn from a learnt distribution: the distinct ones, how likely they are, which are best.

Shapes: S draws, E edges, O operations. Probabilities are natural logarithms.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.errors import ConfigError, require, require_whole
from nas.genotype import Genotype
from nas.spaces.architectures import Architectures
from nas.spaces.space import EdgeGroup, Space

COSTS = ("params", "macs", "latency")
# Known of every architecture that is priced, before any is measured.
PRICED = ("params", "macs", "skips")
LIMITS = (*COSTS, "skips")
Choices = dict[str, tuple[tuple[int, int], ...]]


@dataclass
class Architecture:
    """One distinct architecture and what is known of it.

    Attributes:
        genotype: the architecture.
        log_probability: see `log_probability`.
        count: how many draws gave it; 0 if it was not drawn.
        params, macs: of its evaluation network, without the auxiliary head; macs of one image or word.
        latency: median milliseconds of one batch, None where it was not measured.
        predicted: milliseconds of one batch by a latency table, None without one.
        latency_spread: interquartile range of these milliseconds.
        accuracy: of the supernet reduced to it, 0 to 1; None where it was not evaluated.
        measured: by the zero-cost measure that ranks; None where it was not measured.
        derived: whether it is the one that derivation gives without any draw.
        front: whether it lies on the Pareto front.
        skips: operations of the normal cell, or the only one, that only pass on.
    """

    genotype: Genotype
    log_probability: float
    count: int = 0
    params: int | None = None
    macs: int | None = None
    latency: float | None = None
    latency_spread: float | None = None
    predicted: float | None = None
    accuracy: float | None = None
    measured: float | None = None
    derived: bool = False
    front: bool = False
    skips: int = 0

    def cost(self, name: str) -> float | None:
        """One of `LIMITS`; of latency what was measured, else what was predicted. None: not known."""
        value = getattr(self, name)
        return self.predicted if name == "latency" and value is None else value


@dataclass(frozen=True)
class Budget:
    """Upper limits, each inclusive; None where there is none.

    Attributes:
        params: parameters without the auxiliary head.
        macs: multiply-adds of one image or word.
        latency: milliseconds of one batch.
        skips: operations of the normal cell, or the only one, that only pass on.

    Raises:
        ConfigError: a limit is not a positive number, or of `skips` no whole one from 0.
    """

    params: float | None = None
    macs: float | None = None
    latency: float | None = None
    skips: int | None = None

    def __post_init__(self):
        for name in COSTS:
            limit = getattr(self, name)
            require(
                limit is None
                or (isinstance(limit, int | float) and not isinstance(limit, bool) and limit > 0),
                f"budget.{name}={limit}: must be null or a positive number",
            )
        if self.skips is not None:
            require_whole("budget.skips", self.skips, 0)

    def keeps(self, architecture: Architecture, names: Sequence[str] = LIMITS) -> bool:
        """Whether an architecture keeps the limits `names`; an unknown cost keeps none."""
        for name in names:
            limit, cost = getattr(self, name), architecture.cost(name)
            if limit is not None and (cost is None or cost > limit):
                return False
        return True

    def __str__(self) -> str:
        given = {name: getattr(self, name) for name in LIMITS}
        limits = [f"budget.{name}={limit:g}" for name, limit in given.items() if limit is not None]
        return ", ".join(limits) or "no budget"


@dataclass(frozen=True)
class Draws:
    """What a number of draws gave.

    Attributes:
        counts: every distinct architecture with its number of draws.
        total: the number of draws.
        edgewise: whether in every draw the architecture was the strongest candidate of every single edge. Its
            probability is then the product of those of its edges.
    """

    counts: Mapping[Genotype, int]
    total: int
    edgewise: bool


def choices_of(genotype: Genotype, groups: Mapping[str, EdgeGroup]) -> Choices:
    """Where the edges of an architecture lie in alpha: {group: ((row, column), ...)}, in order of rows.

    Raises:
        ConfigError: an edge or its operation does not exist in the groups, or an edge comes twice.
    """
    choices: Choices = {}
    for name, group in groups.items():
        require(name in genotype, f"genotype: it has no cell {name!r}; cells are {sorted(groups)}")
        rows = {edge: row for row, edge in enumerate(group.edges)}
        pairs = []
        for target, edge in genotype[name].edges:
            row = rows.get((edge.source, target))
            if row is None or edge.operation not in group.operations[row]:
                raise ConfigError(
                    f"genotype: {name} has {edge.operation!r} on edge {edge.source}->{target}, which the "
                    "space does not offer"
                )
            pairs.append((row, group.operations[row].index(edge.operation)))
        require(
            len({row for row, _ in pairs}) == len(pairs),
            f"genotype: an edge of {name} carries two operations",
        )
        choices[name] = tuple(sorted(pairs))
    return choices


def one_hot(genotype: Genotype, groups: Mapping[str, EdgeGroup]) -> dict[str, Tensor]:
    """Op weights {group: [E, O]} that reduce a supernet to one architecture: 1 on its choices, else 0."""
    weights = {name: torch.zeros(group.shape) for name, group in groups.items()}
    for name, pairs in choices_of(genotype, groups).items():
        for row, column in pairs:
            weights[name][row, column] = 1.0
    return weights


def log_probability(
    genotype: Genotype, groups: Mapping[str, EdgeGroup], table: Mapping[str, Tensor]
) -> float:
    """Sum over the architecture's edges of log P(its operation is the strongest of that edge).

    Where derivation takes the strongest candidate of every edge this is the log-probability of the
    architecture. Where it also chooses among edges (DARTS: two per node, `none` left out) it is that of the
    chosen candidates alone: how sure the search is of them, comparable between architectures of as many
    edges, and not a probability of the whole.

    Args:
        genotype: the architecture.
        groups: what rows and columns mean.
        table: {group: log-probabilities [E, O]}.
    """
    return sum(
        float(table[name][row, column])
        for name, pairs in choices_of(genotype, groups).items()
        for row, column in pairs
    )


def draw_architectures(
    sample: Callable[[int], Mapping[str, Tensor]],
    derive: Callable[[Mapping[str, Tensor]], Genotype],
    groups: Mapping[str, EdgeGroup],
    count: int,
    chunk: int = 500,
    watch: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> Draws:
    """Draws op weights and derives an architecture from each.

    Args:
        sample: number -> op weights {group: [S, E, O]}.
        derive: scores {group: [E, O]} -> architecture.
        groups: what rows and columns mean.
        count: number of draws.
        chunk: how many to hold at a time.
        watch: wraps the sizes of the chunks to show progress.

    Raises:
        ConfigError: `count` is not a whole number above 0.
    """
    require_whole("samples", count, 1)
    counts: Counter[Genotype] = Counter()
    known: dict[Genotype, Choices] = {}
    edgewise = True
    for size in watch([min(chunk, count - start) for start in range(0, count, chunk)]):
        drawn = {name: values_SEO.detach().cpu() for name, values_SEO in sample(size).items()}
        best = {name: values_SEO.argmax(dim=-1).tolist() for name, values_SEO in drawn.items()}
        for index in range(size):
            genotype = derive({name: values_SEO[index] for name, values_SEO in drawn.items()})
            counts[genotype] += 1
            if not edgewise:
                continue
            if genotype not in known:
                known[genotype] = choices_of(genotype, groups)
            strongest = {name: tuple(enumerate(rows[index])) for name, rows in best.items()}
            edgewise = known[genotype] == strongest
    return Draws(dict(counts), count, edgewise)


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[bool]:
    """Which points nobody beats: no other costs at most as much and scores at least as high, one strictly.

    Points that agree in both stand or fall together.
    """
    order = sorted(range(len(costs)), key=lambda i: (costs[i], -scores[i]))
    front = [False] * len(costs)
    best, price = float("-inf"), None
    for i in order:
        if scores[i] > best:
            best, price = scores[i], costs[i]
            front[i] = True
        elif scores[i] == best and costs[i] == price:
            front[i] = True
    return front


def every_architecture(space: Space, key: str, at_most: int = 100_000) -> list[Genotype]:
    """All architectures of a space that takes one operation on every edge, in the order of its candidates.

    Args:
        space: whose derivation is asked with one candidate per edge.
        key: the setting that asks for them, for the message.
        at_most: how many there may be.

    Raises:
        ConfigError: there are more, or derivation also chooses among edges.
    """
    groups: Mapping[str, EdgeGroup] = space.groups
    count = math.prod(group.shape[1] ** group.shape[0] for group in groups.values())
    require(count <= at_most, f"{key}: space {space.name} holds {count:.3g} choices; at most {at_most:,}")
    known = Architectures(groups, space.derive)
    genotypes: dict[Genotype, None] = {}
    for code in known.all():
        genotype = known.genotype(code)
        kept = all(len(genotype[name].edges) == len(group.edges) for name, group in groups.items())
        require(
            kept, f"{key}: derivation in space {space.name} also chooses among edges; name a number instead"
        )
        genotypes[genotype] = None
    return list(genotypes)
