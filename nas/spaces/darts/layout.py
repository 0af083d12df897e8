"""Where the cells of a network of the DARTS space lie, a supernet or an evaluation network."""

from collections.abc import Iterator
from dataclasses import dataclass

INPUTS = 2
NORMAL, REDUCE = "normal", "reduce"


@dataclass(frozen=True)
class CellPlace:
    """One cell of the network.

    Attributes:
        group: the edge group that it follows, `normal` or `reduce`.
        reduction: whether the edges from its two inputs halve the resolution.
        level: reductions before it.
        channels: C of its nodes; doubles at each reduction.
    """

    group: str
    reduction: bool
    level: int
    channels: int


def reduction_positions(num_cells: int) -> tuple[int, ...]:
    """Indices of the reduction cells: a third and two thirds down the network, so all of one or two cells."""
    return tuple(sorted({num_cells // 3, 2 * num_cells // 3}))


def cell_places(num_cells: int, init_channels: int) -> Iterator[CellPlace]:
    """The cells in order; `init_channels` is C of the first ones."""
    level = 0
    for index in range(num_cells):
        reduction = index in reduction_positions(num_cells)
        after = level + reduction
        yield CellPlace(REDUCE if reduction else NORMAL, reduction, level, init_channels * 2**after)
        level = after
