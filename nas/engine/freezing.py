"""Candidates whose weights rest: no gradient, no weight decay, no momentum step.

Edges share tensors, so what rests is mostly a slice of one; see `nas.spaces.supernet.slices`.

Shapes: N candidates with weights, edge by edge and cell by cell.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import EllipsisType

import torch
from torch import Tensor, nn

from nas.errors import require
from nas.methods.monitors import Monitor
from nas.spaces.supernet.slices import CandidateWeights, candidate_weights

# Which entries of a tensor's first dimension are meant; all of them where it is one candidate's alone.
Rows = Tensor | EllipsisType


class Freezing:
    """Compares the gradients of both losses for monitors, and holds the weights of what they freeze.

    Args:
        supernet: holds the candidates.
        monitors: those that compare gradients.

    Attributes:
        weights: the tensors that gradients are compared of.
        frozen_N: bool, on the CPU; which candidates rest.

    Raises:
        ConfigError: no candidate of this supernet has weights of its own.
    """

    def __init__(self, supernet: nn.Module, monitors: Sequence[Monitor]):
        self.monitors = list(monitors)
        self.candidates = candidate_weights(supernet)
        require(
            bool(self.candidates),
            "method.monitors: one of them compares gradients of candidates, and this space has none with "
            "weights of their own on an edge",
        )
        self.weights = [weight for candidate in self.candidates for weight in candidate.tensors]
        self.names = [name for candidate in self.candidates for name in candidate.names]
        self.frozen_N = torch.zeros(len(self.names), dtype=torch.bool)
        self._held: list[tuple[nn.Parameter, Rows]] = []
        self._other: list[Tensor] | None = None

    def note(self, gradients: list[Tensor]) -> None:
        """Takes the validation loss's gradients of `weights`, for the weight step that follows."""
        self._other = gradients

    @contextmanager
    def holding(self, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        """The block in which the weights are stepped, behind the backward pass of the training loss."""
        if self._other is not None:
            cosine_N, self._other = self._cosines(self._other), None
            for monitor in self.monitors:
                mask_N = monitor.end_step(cosine_N)
                if mask_N is not None:
                    self.freeze(mask_N.cpu())
        with torch.no_grad():
            kept = [(weight[rows].clone(), _slices(optimizer, weight, rows)) for weight, rows in self._held]
            for weight, rows in self._held:
                if weight.grad is not None:
                    weight.grad[rows] = 0
        yield
        with torch.no_grad():
            for (weight, rows), (value, states) in zip(self._held, kept, strict=True):
                weight[rows] = value
                for key, after in _alike(optimizer, weight):
                    after[rows] = states.get(key, 0)

    def freeze(self, mask_N: Tensor) -> None:
        """Lets these rest beside those that do."""
        self.frozen_N |= mask_N
        self._held = []
        flags = iter(self.frozen_N.split([len(candidate.names) for candidate in self.candidates]))
        for candidate in self.candidates:
            rows_M = next(flags).nonzero()[:, 0]
            if len(rows_M):
                self._held += [
                    (w, rows_M.to(w.device) if candidate.stacked else ...) for w in candidate.tensors
                ]

    def frozen(self) -> list[str]:
        """The names of those that rest."""
        return [name for name, rests in zip(self.names, self.frozen_N.tolist(), strict=True) if rests]

    def restore(self, names: Iterable[str]) -> None:
        """Lets those of these names rest that this network holds, and no others."""
        known = set(names)
        self.frozen_N.fill_(False)
        self.freeze(torch.tensor([name in known for name in self.names]))

    def _cosines(self, other: list[Tensor]) -> Tensor:
        left, cosines = iter(other), []
        for candidate in self.candidates:
            pairs = [(weight.grad, next(left)) for weight in candidate.tensors]
            cosines.append(_cosine(candidate, [(a, b) for a, b in pairs if a is not None]))
        return torch.cat(cosines)


def _cosine(candidate: CandidateWeights, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Cosines of one candidate's gradients, [names], over all of its tensors together."""
    m = len(candidate.names)
    dot_M, a_M, b_M = candidate.tensors[0].new_zeros(3, m)
    for a, b in pairs:
        a_MN, b_MN = a.reshape(m, -1), b.reshape(m, -1)
        dot_M, a_M, b_M = dot_M + (a_MN * b_MN).sum(1), a_M + a_MN.square().sum(1), b_M + b_MN.square().sum(1)
    return (dot_M / (a_M.sqrt() * b_M.sqrt())).clamp(-1, 1)


def _alike(optimizer: torch.optim.Optimizer, weight: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What an optimiser remembers of a weight, entry by entry."""
    for key, value in optimizer.state.get(weight, {}).items():
        if isinstance(value, Tensor) and value.shape == weight.shape:
            yield key, value


def _slices(optimizer: torch.optim.Optimizer, weight: Tensor, rows: Rows) -> dict[str, Tensor]:
    return {key: value[rows].clone() for key, value in _alike(optimizer, weight)}
