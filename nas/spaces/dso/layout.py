"""The fully connected block of DSO-NAS: which connections there are, and which of them count.

Pure structure: no parameter, no feature map. M levels of N operations; every operation is fed by the block's
input and by all operations of earlier levels, the output by all operations (Zhang et al., "Single Shot NAS
via Direct Sparse Optimization", section 3.2).

Shapes: E connections, M levels, N operations per level.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nas.errors import require

OUTPUT = "conv_1x1"


class BlockLayout:
    """Nodes and connections of a block.

    Node 0 is the block's input, 1 + (i-1)*N + j operation j of level i (levels count from 1, operations from
    0), M*N + 1 the output.

    Args:
        levels: M.
        operations: names of the N operations of every level.
        first_factors: whether the connections from the input into level 1 have scaling factors, as in
            equation 3; the authors' code has none there, and no rows here.

    Attributes:
        edges: (source, target) of the E connections, in order of target, then source: the rows of alpha.
        candidates: for each connection the operation that it feeds, a tuple of one name; `conv_1x1` into the
            output.

    Raises:
        ConfigError: a size is not positive.
    """

    def __init__(self, levels: int, operations: Sequence[str], first_factors: bool = False):
        require(
            isinstance(levels, int) and levels >= 1,
            f"space.levels={levels}: must be a whole number of at least 1",
        )
        require(len(operations) >= 1, "space.operations: a level needs at least one operation")
        self.levels = levels
        self.operations = tuple(operations)
        self.first_factors = first_factors
        self.width = len(self.operations)
        self.num_operations = levels * self.width
        self.output = self.num_operations + 1
        self.edges: tuple[tuple[int, int], ...] = tuple(
            (source, node)
            for level in self.factored_levels
            for node in self.nodes(level)
            for source in range(self.num_sources(level))
        ) + tuple((node, self.output) for node in range(1, self.output))
        self.candidates: tuple[tuple[str, ...], ...] = tuple(
            (OUTPUT if target == self.output else self.operation(target),) for _, target in self.edges
        )

    @property
    def factored_levels(self) -> range:
        """The levels whose operations have scaling factors on their inputs."""
        return range(1 if self.first_factors else 2, self.levels + 1)

    def nodes(self, level: int) -> range:
        """The operations of a level."""
        return range(1 + (level - 1) * self.width, 1 + level * self.width)

    def num_sources(self, level: int) -> int:
        """How many nodes feed each operation of a level: 0, 1, 2, ... to that many less one."""
        return 1 + (level - 1) * self.width

    def level(self, node: int) -> int:
        """The level of an operation."""
        return 1 + (node - 1) // self.width

    def operation(self, node: int) -> str:
        """The name of an operation."""
        return self.operations[(node - 1) % self.width]

    def row(self, source: int, target: int) -> int:
        """The row of a connection."""
        if target == self.output:
            return len(self.edges) - self.num_operations + source - 1
        level = self.level(target)
        return self._start(level) + (target - self.nodes(level)[0]) * self.num_sources(level) + source

    def _start(self, level: int) -> int:
        return sum(self.width * self.num_sources(below) for below in self.factored_levels if below < level)

    def into(self, values_E: Tensor, level: int) -> Tensor:
        """The rows into a level as a matrix, [..., E] -> [..., N, sources]; a view."""
        sources = self.num_sources(level)
        start = self._start(level)
        return values_E[..., start : start + self.width * sources].unflatten(-1, (self.width, sources))

    def into_output(self, values_E: Tensor) -> Tensor:
        """The rows into the output, [..., E] -> [..., M*N]; a view."""
        return values_E[..., -self.num_operations :]

    def _join(self, into: Sequence[Tensor], output: Tensor) -> Tensor:
        """The reverse of `into` and `into_output`, for all levels in order."""
        return torch.cat([*(matrix.flatten(-2) for matrix in into), output], dim=-1)

    def has_input(self, alive_E: Tensor) -> Tensor:
        """Bottom-up: which nodes a chain of live connections leads to, bool [..., E] -> [..., 1 + M*N]."""
        reached = torch.ones_like(alive_E[..., :1])
        for level in range(1, self.levels + 1):
            if level in self.factored_levels:
                fed = (self.into(alive_E, level) & reached.unsqueeze(-2)).any(dim=-1)
            else:
                fed = reached.expand(*reached.shape[:-1], self.width)
            reached = torch.cat([reached, fed], dim=-1)
        return reached

    def connected(self, alive_E: Tensor) -> Tensor:
        """Which connections have a source that has an input, whether they are alive or not, [..., E]."""
        reached = self.has_input(alive_E)
        into = [
            reached[..., None, : self.num_sources(level)].expand(*reached.shape[:-1], self.width, -1)
            for level in self.factored_levels
        ]
        return self._join(into, reached[..., 1:])

    def clean(self, alive_E: Tensor) -> Tensor:
        """Drops what leads nowhere: keeps the live connections on a path from the input to the output.

        The two passes of the authors' code: an operation without inputs does not count as a source, and one
        that nothing alive leads on from does not need its inputs.

        Args:
            alive_E: bool [..., E]; leading dimensions are blocks of their own.
        """
        return self._clean(alive_E)[0]

    def alive_operations(self, alive_E: Tensor) -> Tensor:
        """Which operations are left after cleaning, bool [..., E] -> [..., M*N]."""
        return self._clean(alive_E)[1]

    def _clean(self, alive_E: Tensor) -> tuple[Tensor, Tensor]:
        live_E = alive_E & self.connected(alive_E)
        output = self.into_output(live_E)
        needed = output
        into: list[Tensor] = []
        for level in reversed(self.factored_levels):
            nodes = self.nodes(level)
            matrix = self.into(live_E, level) & needed[..., nodes[0] - 1 : nodes[-1], None]
            into.append(matrix)
            # The input, source 0, is no operation.
            wanted = matrix[..., 1:].any(dim=-2)
            below = self.num_sources(level) - 1
            needed = torch.cat([needed[..., :below] | wanted, needed[..., below:]], dim=-1)
        return self._join(into[::-1], output), needed
