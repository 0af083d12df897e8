"""Perturbation-based selection: what hurts most when it is missing stays (Wang et al. 2021, section 4)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from nas.errors import require, require_whole
from nas.methods.selections.base import Selection
from nas.methods.standing import in_edges, standing
from nas.op_weights import OpWeights

Score = Callable[[OpWeights], tuple[float, int]]


class Projection(Selection):
    """Decides edge by edge for the candidate without which the supernet is worst, then for in-edges alike.

    A decision is one of every group, all candidates of an undecided edge, in random order, and when all are
    decided the in-edges of a node that keeps but some of them. A candidate is taken out by an op weight of 0,
    the others stay as they are, and what a stage has dropped is not compared; an in-edge is taken out by
    zeros in its row. What goes past the candidates (partial channels) still does. Between two decisions the
    search goes on with what is decided.

    Args:
        tuning: epochs from one decision to the next, of which the last falls on the last epoch; 0 takes all
            after the last epoch; None for as many as half of the search has room for.
        batches: of the architecture split, kept in memory, that all is judged on; None for all.
        seed: of the order of edges.

    Raises:
        ConfigError: a value is out of range.
    """

    draws = False
    statistics = "running"

    def __init__(self, tuning: int | None = None, batches: int | None = None, seed: int = 0):
        if tuning is not None:
            require_whole("method.selection.tuning", tuning, 0)
        if batches is not None:
            require_whole("method.selection.batches", batches, 1)
        self.tuning = tuning
        self.batches = batches
        self.seed = seed
        self._nodes: dict[str, list[tuple[list[int], int]]] = {}
        self._allowed: dict[str, Tensor] = {}
        self._scores: list[Score] = []

    def attach(self, method: Any) -> None:
        """Finds out what may stand in an architecture.

        Raises:
            ConfigError: a pass of the method runs one candidate per edge, so that none can be missed.
        """
        require(
            not method.relaxation.one_path,
            f"method.selection: method {method.name} runs one candidate of each edge, and Projection takes "
            "single ones out of all; a method that runs all, such as darts1",
        )
        kept, self._allowed = standing(method.layout, method.derived)
        self._nodes = {
            group: [(rows, int(kept[group][rows].sum())) for rows in nodes.values()]
            for group, nodes in in_edges(method.layout).items()
        }

    @property
    def decisions(self) -> int:
        """How many there are, those of all groups at once counted as one."""
        return max(
            sum(len(rows) for rows, _ in nodes) + sum(slots < len(rows) for rows, slots in nodes)
            for nodes in self._nodes.values()
        )

    def passes(self, epochs: int, batches: int) -> dict[str, int]:
        """One without each candidate, and one without each in-edge of a node that keeps but some."""
        candidates = sum(int(there_EO.sum()) for there_EO in self._allowed.values())
        edges = sum(len(rows) for nodes in self._nodes.values() for rows, slots in nodes if slots < len(rows))
        used = batches if self.batches is None else min(batches, self.batches)
        return {"validation": (candidates + edges) * used}

    def check(self, epochs: int) -> None:
        """Refuses a search that is over before the first decision."""
        needed = 1 + (self.tuning or 0) * (self.decisions - 1)
        require(
            needed <= epochs,
            f"method.selection.tuning={self.tuning}: {self.decisions} decisions so many epochs apart take "
            f"{needed} epochs, and trainer.max_epochs={epochs}; more epochs, fewer between them, or null",
        )

    def due(self, epoch: int, epochs: int) -> bool:
        """Every `tuning` epochs up to the last."""
        tuning = epochs // 2 // max(1, self.decisions - 1) if self.tuning is None else self.tuning
        left = epochs - 1 - epoch
        return left == 0 if tuning == 0 else left % tuning == 0 and left // tuning < self.decisions

    def begin(self, draw: Callable[[], OpWeights]) -> None:
        """Forgets the batches of the last decision."""
        self._scores = []

    def observe(self, batch: int, score: Score) -> None:
        """Keeps the batch."""
        if self.batches is None or batch < self.batches:
            self._scores.append(score)

    @torch.no_grad()
    def decide(self, method: Any, op_weights: Callable[[], OpWeights], last: bool) -> None:
        """The next decision of every group; after the last epoch all that are left."""
        for group in self._nodes:
            while self._next(method, group, op_weights) and last:
                pass
        self._scores = []

    def _next(self, method: Any, group: str, op_weights: Callable[[], OpWeights]) -> bool:
        """Takes a decision; False where nothing is left to decide."""
        present = op_weights()
        weights_EO = present[group].detach()
        decided_E = method.decided.rows(group, weights_EO).cpu()
        kept_EO = method.kept()[group].cpu()
        order = torch.randperm(len(decided_E), generator=torch.Generator().manual_seed(self.seed)).tolist()
        for row in order:
            if not decided_E[row]:
                there_O = self._allowed[group][row] & kept_EO[row]
                columns = there_O.nonzero()[:, 0].tolist()
                worth = [self._without(present, group, row, column) for column in columns]
                choices_EO = torch.zeros_like(weights_EO)
                if columns:  # a stage may have left nothing that could stand
                    best = _worst(worth, weights_EO[row, columns].tolist())[0]
                    choices_EO[row, columns[best]] = 1.0
                method.decided.decide(group, _only(row, len(decided_E)), choices_EO)
                return True
        for rows, slots in self._nodes[group]:
            there = [row for row in rows if bool(weights_EO[row].any())]
            if len(there) > slots:
                worth = [self._without(present, group, row, None) for row in there]
                kept = {there[index] for index in _worst(worth, weights_EO[there].amax(-1).tolist())[:slots]}
                for row in set(there) - kept:
                    gone_EO = torch.zeros_like(weights_EO)
                    method.decided.decide(group, _only(row, len(decided_E)), gone_EO, anew=True)
                return True
        return False

    def _without(self, present: OpWeights, group: str, row: int, column: int | None) -> float:
        """What the supernet is worth without a candidate, or without an edge."""
        weights_EO, edges = present[group].detach().clone(), dict(present.edges)
        if column is not None:
            weights_EO[row, column] = 0.0
        else:
            weights_EO[row] = 0.0
            if group in edges:
                edges[group] = edges[group].detach().clone()
                edges[group][row] = 0.0
        left = OpWeights({**present, group: weights_EO}, present.run, edges, present.carried)
        scores = [score(left) for score in self._scores]
        return sum(worth * size for worth, size in scores) / sum(size for _, size in scores)


def _worst(worth: Sequence[float], weights: Sequence[float]) -> list[int]:
    """Indices, the lowest worth first, of equal ones the largest op weight."""
    return sorted(range(len(worth)), key=lambda index: (worth[index], -weights[index]))


def _only(row: int, count: int) -> Tensor:
    return torch.arange(count) == row
