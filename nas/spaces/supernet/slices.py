"""Which weights of a supernet are a candidate's: whole tensors, or slices of what m edges have stacked."""

from dataclasses import dataclass

from torch import nn

from nas.errors import require
from nas.spaces.supernet.candidate import key
from nas.spaces.supernet.fan_out import FanOut


@dataclass(frozen=True)
class CandidateWeights:
    """The weights of one candidate operation on one edge of one cell, or of the same on several edges.

    Attributes:
        names: one per edge; the same in every network that holds the candidate there.
        tensors: where there are several names, each [names, ...].
    """

    names: tuple[str, ...]
    tensors: tuple[nn.Parameter, ...]

    @property
    def stacked(self) -> bool:
        """Whether each edge has a slice of the tensors."""
        return len(self.names) > 1


def candidate_weights(supernet: nn.Module) -> list[CandidateWeights]:
    """The candidates of a supernet that have weights; none in a space without fan-outs.

    Raises:
        ConfigError: the tensors of a stacked candidate are not [m, ...].
    """
    result = []
    for place, fan_out in supernet.named_modules():
        for name, edges in fan_out.holders.items() if isinstance(fan_out, FanOut) else ():
            for positions, tensors in fan_out.candidates[key(name)].weights(len(edges)):
                if not tensors:
                    continue
                require(
                    len(positions) == 1 or all(len(tensor) == len(positions) for tensor in tensors),
                    f"space.operations: {name}: its weights are not stacked edge by edge, "
                    f"[{len(edges)}, ...], so nobody can tell which of them belong to one edge",
                )
                names = tuple(f"{place}.{key(name)}.{edges[position]}" for position in positions)
                result.append(CandidateWeights(names, tuple(tensors)))
    return result
