"""The two parts of a training set in a search, as a value that can be stored and compared."""

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.errors import require


@dataclass(frozen=True, eq=False)
class Split:
    """Indices into the training set: `weight` trains the network, `architecture` the architecture.

    Both are int64 [any length >= 1], strictly ascending, and disjoint, or one and the same where weights and
    architecture learn together (`joined`). Two splits are equal when their indices are.

    Raises:
        ConfigError: a part is empty, not int64, not strictly ascending or negative, or the parts overlap.
    """

    weight: Tensor
    architecture: Tensor

    def __post_init__(self):
        for name, part in (("weight", self.weight), ("architecture", self.architecture)):
            require(
                part.dtype == torch.int64 and part.ndim == 1 and len(part) > 0,
                f"split: the {name} part must be a list of at least one int64 index",
            )
            require(
                bool((part[1:] > part[:-1]).all()) and int(part[0]) >= 0,
                f"split: the {name} part must hold non-negative indices in strictly ascending order",
            )
        if torch.equal(self.weight, self.architecture):
            return
        shared = int(torch.isin(self.weight, self.architecture).sum())
        require(shared == 0, f"split: {shared} images are in both the weight and the architecture part")

    def joined(self) -> "Split":
        """No split: all images of both parts in either."""
        both = torch.cat([self.weight, self.architecture]).unique()
        return Split(both, both)

    @property
    def hash(self) -> str:
        """Sha256 in hex of both parts, the same on every platform."""
        return hash_indices(self.weight, self.architecture)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Split) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def to_dict(self) -> dict:
        """Returns plain lists for JSON: single indices, and runs of consecutive ones as [start, stop)."""
        return {
            "weight": _to_runs(self.weight),
            "architecture": _to_runs(self.architecture),
            "hash": self.hash,
        }


def hash_indices(*parts: Tensor) -> str:
    """Returns the sha256 in hex of the type, length and little-endian bytes of each part in turn."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"int64 {len(part)} ".encode())
        digest.update(part.cpu().numpy().astype("<i8").tobytes())
    return digest.hexdigest()


def _to_runs(indices: Tensor) -> list[int | list[int]]:
    starts = torch.cat([torch.tensor([True]), indices[1:] != indices[:-1] + 1]).nonzero().flatten()
    firsts = indices[starts].tolist()
    lengths = starts.diff(append=torch.tensor([len(indices)])).tolist()
    return [
        first if length == 1 else [first, first + length]
        for first, length in zip(firsts, lengths, strict=True)
    ]


def share_of(count: int, share: float) -> int:
    """A share of a number, rounded down as the papers' code does it.

    The small term undoes binary rounding such as 0.29 * 100.
    """
    return math.floor(count * share + 1e-9)
