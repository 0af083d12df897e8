"""The architectures of a space as codes: all of them, one at random, and its neighbours."""

import itertools
import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from nas.errors import ConfigError, require
from nas.genotype import Genotype
from nas.spaces.space import ZERO, EdgeGroup


class Architectures:
    """All architectures of a space whose edges each have one candidate, whichever the others have.

    A code [E] of whole numbers is an architecture: for each edge the column of its candidate, edges in the
    order of the groups and of alpha's rows. Neighbours differ on one edge.

    Args:
        groups: edge groups by name.
        derive: the space's own, which gives every edge the candidate that scores highest.

    Attributes:
        sizes_E: how many candidates each edge has.
        changed_K: the edge on which the k-th neighbour of an architecture differs from it.
    """

    def __init__(self, groups: Mapping[str, EdgeGroup], derive: Callable[[Mapping[str, Tensor]], Genotype]):
        self._groups, self._derive = groups, derive
        self.sizes_E = np.array([len(names) for group in groups.values() for names in group.operations])
        self.changed_K = np.repeat(np.arange(len(self.sizes_E)), self.sizes_E - 1)
        self._steps_KE = np.zeros((len(self.changed_K), len(self.sizes_E)), dtype=np.int64)
        further = [step for size in self.sizes_E for step in range(1, size)]
        self._steps_KE[np.arange(len(self.changed_K)), self.changed_K] = further

    def __len__(self) -> int:
        return int(np.prod(self.sizes_E, dtype=object))

    def all(self) -> np.ndarray:
        """The code of every architecture, [N, E], in the order of their indices."""
        return np.stack(np.unravel_index(np.arange(len(self)), self.sizes_E), axis=-1)

    def index(self, codes: np.ndarray) -> np.ndarray:
        """Codes [..., E] -> places [...] in the order of `all`.

        Raises:
            ValueError: a code names a candidate that its edge does not have.
        """
        return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(codes, -1, 0)), tuple(self.sizes_E)))

    def random(self, uniform: np.ndarray) -> np.ndarray:
        """Numbers [..., E] of [0, 1) -> codes [..., E], each architecture as likely as any other."""
        return (uniform * self.sizes_E).astype(np.int64)

    def neighbour(self, codes: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Codes [..., E] and numbers [...] below K -> the code of the k-th neighbour of each."""
        return (codes + self._steps_KE[k]) % self.sizes_E

    def genotype(self, code: np.ndarray) -> Genotype:
        """The architecture of a code [E]."""
        scores, start = {}, 0
        for name, group in self._groups.items():
            columns_E = torch.from_numpy(code[start : start + group.shape[0]])
            scores[name] = torch.nn.functional.one_hot(columns_E, group.shape[1])
            start += group.shape[0]
        return self._derive(scores)


class ChosenEdges(Architectures):
    """All architectures of a space whose nodes each keep a few of the edges that enter them.

    A code [E] has for each node which edges it keeps, in an order, and then the candidate of each of these.
    So an architecture has several codes, all as many (k! for each node of k edges), and codes that are drawn
    uniformly are architectures that are. There may be too many to be listed: `all` and `index` are for
    spaces that are. Neighbours differ in what one kept edge comes from or in its candidate.

    Args:
        groups: edge groups by name.
        derive: the space's own, which keeps of every node the edges whose candidates score highest.
        kept: k, edges that a node keeps.

    Attributes:
        sizes_E: how many values each number of a code has.
        changed_K: a number for each kept edge, once for where it comes from and once for its candidate: in
            which of them the k-th neighbour of an architecture differs from it.

    Raises:
        ConfigError: some edges have more candidates than others, beside `none`.
    """

    def __init__(
        self,
        groups: Mapping[str, EdgeGroup],
        derive: Callable[[Mapping[str, Tensor]], Genotype],
        kept: int,
    ):
        self._groups, self._derive, self._kept = groups, derive, kept
        self._nodes: list[tuple[str, list[tuple[int, ...]]]] = []
        self._columns = {name: _candidates(name, group) for name, group in groups.items()}
        # Of each number of a code: value -> the values of its neighbours.
        self._near: list[np.ndarray] = []
        slots: list[int] = []
        moves: list[int] = []
        changed: list[int] = []
        for name, group in groups.items():
            others = _others(len(self._columns[name][0]))
            for target in sorted({target for _, target in group.edges}):
                rows = [row for row, edge in enumerate(group.edges) if edge[1] == target]
                choices = list(itertools.permutations(rows, kept))
                self._nodes.append((name, choices))
                tables = [(_replaced(choices, rows), len(rows) - kept), *[(others, others.shape[1])] * kept]
                for near, together in tables:
                    slot = len(self._near)
                    for move in range(near.shape[1]):
                        slots.append(slot)
                        moves.append(move)
                        changed.append(slot * kept + move // together)
                    self._near.append(near)
        self.sizes_E = np.array([len(near) for near in self._near])
        self.changed_K = np.array(changed, dtype=np.int64)
        self._slot_K = np.array(slots, dtype=np.int64)
        self._move_K = np.array(moves, dtype=np.int64)

    def __len__(self) -> int:
        return super().__len__() // math.factorial(self._kept) ** len(self._nodes)

    def all(self) -> np.ndarray:
        """Nobody lists these; several codes are one architecture.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"these {len(self):,} architectures are not listed; a search draws of them")

    def index(self, codes: np.ndarray) -> np.ndarray:
        """Nor have they places; raises `ConfigError` as `all` does."""
        return self.all()

    def neighbour(self, codes: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Codes [..., E] and numbers [...] below K -> a code of the k-th neighbour of each."""
        found, slots, moves = np.array(codes), self._slot_K[k], self._move_K[k]
        for slot in np.unique(slots):
            here = slots == slot
            found[here, slot] = self._near[slot][codes[here, slot], moves[here]]
        return found

    def genotype(self, code: np.ndarray) -> Genotype:
        """The architecture of a code [E]."""
        scores = {name: torch.zeros(group.shape) for name, group in self._groups.items()}
        numbers = iter(code.tolist())
        for name, choices in self._nodes:
            for row in choices[next(numbers)]:
                scores[name][row, self._columns[name][row][next(numbers)]] = 1.0
        return self._derive(scores)


def _candidates(name: str, group: EdgeGroup) -> list[list[int]]:
    """Of each edge the columns of what may stand in an architecture: all but `none`."""
    columns = [[c for c, one in enumerate(names) if one != ZERO] for names in group.operations]
    counts = sorted({len(one) for one in columns})
    require(
        len(counts) == 1,
        f"space.operations: edges of {name} have {counts[0]} to {counts[-1]} candidates beside {ZERO!r}; its "
        "architectures are listed where all have as many",
    )
    return columns


def _others(count: int) -> np.ndarray:
    """Of each of so many values all others, [count, count - 1]."""
    values = np.arange(count)
    return (values[:, None] + np.arange(1, count)) % count


def _replaced(choices: list[tuple[int, ...]], rows: list[int]) -> np.ndarray:
    """Of each choice of rows the places of those with another row in one position, position by position."""
    places = {choice: place for place, choice in enumerate(choices)}
    kept = len(choices[0])
    found = [
        [
            places[(*choice[:position], row, *choice[position + 1 :])]
            for position in range(kept)
            for row in rows
            if row not in choice
        ]
        for choice in choices
    ]
    return np.array(found, dtype=np.int64).reshape(len(choices), -1)
