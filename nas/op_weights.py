"""The op weights of one forward pass, and what else a supernet is told of it."""

from collections.abc import Mapping

from torch import Tensor


class OpWeights(dict[str, Tensor]):
    """{group: [E, O]}. A plain mapping means the same with nothing else said.

    Args:
        weights: {group: [E, O]}, edge weights multiplied in.
        run: {group: bool [E, O]}, the candidates that are run; everything in a group that is not named. What
            is not run has op weight 0.
        edges: {group: [E]}, what is weighed with an edge beside its candidates (the channels that go past
            them); 1 in a group that is not named.
        carried: whether the op weights of what is not run are added to their nodes as numbers, which are 0
            and have a gradient (GDAS).
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        run: Mapping[str, Tensor] | None = None,
        edges: Mapping[str, Tensor] | None = None,
        carried: bool = False,
    ):
        super().__init__(weights)
        self.run = dict(run or {})
        self.edges = dict(edges or {})
        self.carried = carried

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> "OpWeights":
        """The same op weights, with nothing else said of a plain mapping."""
        return weights if isinstance(weights, OpWeights) else cls(weights)
