"""The architectures of a space as codes: all of them, one at random, and its neighbours."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from nas.genotype import Genotype
from nas.spaces.space import EdgeGroup


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
