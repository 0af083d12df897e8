"""Edges whose candidates stand by themselves, so that what is not drawn is not run.

Candidates that share a tensor over the edges of a node have a gradient for all of these edges where one is
drawn: weight decay and momentum would move the others. Here a candidate of one edge is a module of its own,
whose parameters have no gradient in a step in which it was not run.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from nas.spaces.supernet.candidate import Candidate, Execution, Shared, Sums, key
from nas.spaces.supernet.fan_out import FanOut
from nas.spaces.supernet.scales import Route, Wide


class Paths(nn.Module):
    """All edges that leave one node at one stride, each with its own candidates; see `FanOut`.

    Attributes:
        holders: for each candidate the positions of the edges that hold it; `none` is not among them.
        all_targets: for each edge the position of its target's sum.
        beside: candidates whose op weights are laid out for wide operators: none.
    """

    beside: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    edges: Any  # nn.ModuleList of FanOut

    def __init__(
        self,
        channels: int,
        stride: int,
        targets: Sequence[int],
        operations: Sequence[Sequence[str]],
        execution: Execution,
        build: Callable[[str, int, int, int], Candidate],
    ):
        super().__init__()
        self.execution = execution
        self.edges = nn.ModuleList(
            FanOut(channels, stride, [target], [names], execution, build)
            for target, names in zip(targets, operations, strict=True)
        )
        self.all_targets = tuple(targets)
        self.holders: dict[str, tuple[int, ...]] = {}
        for edge, fan_out in enumerate(self.edges):
            for name in fan_out.holders:
                self.holders[name] = (*self.holders.get(name, ()), edge)

    def forward(
        self,
        x_BCHW: Tensor,
        scales: dict[str, Tensor],
        sums: Sums,
        run: Sequence[Collection[str]] | None = None,
    ) -> None:
        """Adds every edge's weighted candidates to the sum of its target node.

        Args:
            x_BCHW: state of the source node.
            scales: for each candidate the op weights [m] of the edges that hold it.
            sums: the running sums of the target nodes; None where nothing has been added yet.
            run: for each edge which of its candidates are run; None for all.
        """
        shared = Shared(x_BCHW, self.execution)
        for name, edges in self.holders.items():
            for position, edge in enumerate(edges):
                if run is None or name in run[edge]:
                    fan_out = self.edges[edge]
                    scale_1 = scales[name][position : position + 1]
                    fan_out.candidates[key(name)](shared, scale_1, sums, fan_out.all_targets)


def leave(
    fan_out: FanOut | Paths,
    x_BCHW: Tensor,
    route: Route,
    source: int,
    sums: Sums,
    wide: Mapping[int, Wide],
) -> None:
    """Adds what leaves a node to the sums of the nodes after it, as the pass says.

    Args:
        fan_out: the edges that leave it.
        x_BCHW: its state.
        route: the pass.
        source: the node.
        sums: of the nodes after it.
        wide: source node -> op weights for wide operators; may be empty.
    """
    scales = route.scales.get(source, {})
    if isinstance(fan_out, Paths):
        fan_out(x_BCHW, scales, sums, None if route.run is None else route.run[source])
    else:
        fan_out(x_BCHW, scales, sums, wide.get(source))


def fan_out_of(separate: bool) -> Callable[..., FanOut | Paths]:
    """The class that holds the edges which leave a node: `Paths` where each stands by itself."""
    return Paths if separate else FanOut
