"""What the candidates of a cell cost in a supernet, for methods that make what is dear pay for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nas.errors import ConfigError
from nas.spaces.pieces import Piece
from nas.spaces.space import SKIP, ZERO, EdgeGroup

MOVING = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


@dataclass(frozen=True)
class Place:
    """An edge's source in one cell of the network.

    Attributes:
        channels: C that go through the candidates.
        size: (H, W) of the source.
        stride: of the edge.
    """

    channels: int
    size: tuple[int, int]
    stride: int = 1


class CandidateCosts:
    """The costs of one edge group; see `nas.methods.sparsity.GroupCosts`.

    Args:
        group: its edges and candidates.
        places: source node -> its places in all cells of the group, in order of the network.
        build: (name, channels, stride) -> the candidate as a module.

    Attributes:
        macs_EO: multiply-adds of every candidate, of all cells together, float64.
        memory_EO: its memory access cost (Zhang et al., equation 10) over the largest one, in [0, 1]: feature
            maps read and written and weights, of every convolution and pooling.
        names_EO: the candidates.
    """

    def __init__(
        self,
        group: EdgeGroup,
        places: Callable[[int], Sequence[Place]],
        build: Callable[[str, int, int], nn.Module],
    ):
        self.names_EO = [list(names) for names in group.operations]
        self._build = build
        known: dict[tuple[str, Place], tuple[int, int]] = {}
        macs_EO, memory_EO = torch.zeros(2, *group.shape, dtype=torch.float64)
        for row, (source, _) in enumerate(group.edges):
            for place in places(source):
                for column, name in enumerate(self.names_EO[row]):
                    if (name, place) not in known:
                        known[name, place] = _price(name, place, build)
                    macs, memory = known[name, place]
                    macs_EO[row, column] += macs
                    memory_EO[row, column] += memory
        # Times are taken in the first cell of the group.
        self._first = [places(source)[0] for source, _ in group.edges]
        self.macs_EO = macs_EO
        self.memory_EO = memory_EO / memory_EO.max().clamp_min(1)

    def piece(self, row: int, name: str) -> Piece:
        """A candidate of an edge in the group's first cell, whose time stands for those in all of them."""
        place = self._first[row]
        return Piece(name, place.channels, *place.size, stride=place.stride)

    def build(self, piece: Piece) -> nn.Module:
        """That candidate as a module, to be timed."""
        return self._build(piece.name, piece.channels, piece.stride)

    def share(self, alive_EO: Tensor) -> Tensor:
        """Multiply-adds of what is alive over those of all candidates, a scalar (equation 9)."""
        macs_EO = self.macs_EO.to(alive_EO.device)
        return (macs_EO * alive_EO).sum() / macs_EO.sum().clamp_min(1)

    def count(self, alive_EO: Tensor) -> Tensor:
        """Raises `ConfigError`: the authors' way of counting is of blocks of the space `dso`."""
        raise ConfigError(
            "method.adaptive=count: defined for space=dso only; use flops, memory, latency or none"
        )

    def macs(self, alive_EO: Tensor) -> int:
        """Multiply-adds of what is alive, of all cells together."""
        return int((self.macs_EO * alive_EO.cpu()).sum())


def _price(name: str, place: Place, build: Callable[[str, int, int], nn.Module]) -> tuple[int, int]:
    """Multiply-adds and memory access cost of a candidate at a place."""
    if name in (ZERO, SKIP) and place.stride == 1:
        return 0, 0
    moved = 0

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal moved
        moved += inputs[0].numel() + output.numel() + sum(p.numel() for p in module.parameters())

    with torch.device("meta"):
        module = build(name, place.channels, place.stride)
        x_BCHW = torch.empty(1, place.channels, *place.size)
    for part in module.modules():
        if isinstance(part, MOVING):
            part.register_forward_hook(note)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(x_BCHW)
    return counter.get_total_flops() // 2, moved
