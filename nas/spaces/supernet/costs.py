"""What the candidates of a cell cost in a supernet, for methods that make what is dear pay for it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, nn

from nas.errors import ConfigError
from nas.spaces.operations import Catalogue
from nas.spaces.pieces import Piece
from nas.spaces.signals import along_time
from nas.spaces.space import EdgeGroup


class CandidateCosts:
    """The costs of one edge group; see `nas.methods.sparsity.GroupCosts`.

    Args:
        group: its edges and candidates.
        places: source node -> its shape and the stride of its edges in all cells of the group, in order of
            the network: pieces without a name.
        catalogue: finds the candidates.
        flat: whether the supernet is one of signals.

    Attributes:
        macs_EO: multiply-adds of every candidate, of all cells together, float64.
        memory_EO: its memory access cost (Zhang et al., equation 10) over the largest one, in [0, 1]: feature
            maps read and written and weights, of every convolution and pooling.
        params_EO: parameters of every candidate, of all cells together, float64.
        names_EO: the candidates.
    """

    def __init__(
        self,
        group: EdgeGroup,
        places: Callable[[int], Sequence[Piece]],
        catalogue: Catalogue,
        flat: bool = False,
    ):
        self.names_EO = [list(names) for names in group.operations]
        self._catalogue, self._flat = catalogue, flat
        self._places = [tuple(places(source)) for source, _ in group.edges]
        known: dict[Piece, tuple[int, int]] = {}
        macs_EO, memory_EO = torch.zeros(2, *group.shape, dtype=torch.float64)
        for row, here in enumerate(self._places):
            for place in here:
                for column, name in enumerate(self.names_EO[row]):
                    piece = replace(place, name=name)
                    if piece not in known:
                        known[piece] = catalogue[name].cost(piece, **({"flat": True} if flat else {}))
                    macs, memory = known[piece]
                    macs_EO[row, column] += macs
                    memory_EO[row, column] += memory
        # Times are taken in the first cell of the group, if any cell of the network follows it.
        self._first = [next(iter(here), None) for here in self._places]
        self.macs_EO = macs_EO
        self.memory_EO = memory_EO / memory_EO.max().clamp_min(1)

    @cached_property
    def params_EO(self) -> Tensor:
        """See above; counted on modules that are built on no device, when it is asked for."""
        known: dict[Piece, int] = {}
        params_EO = torch.zeros_like(self.macs_EO)
        for row, here in enumerate(self._places):
            for place in here:
                for column, name in enumerate(self.names_EO[row]):
                    piece = replace(place, name=name, height=1, width=1)
                    if piece not in known:
                        with torch.device("meta"), torch.random.fork_rng(devices=[]):
                            known[piece] = sum(p.numel() for p in self.build(piece).parameters())
                    params_EO[row, column] += known[piece]
        return params_EO

    def piece(self, row: int, name: str) -> Piece:
        """A candidate of an edge in the group's first cell, whose time stands for those in all of them.

        Raises:
            ConfigError: the network has no such cell.
        """
        first = self._first[row]
        if first is None:
            raise ConfigError(
                "method.adaptive=latency: no cell of the supernet follows one of the groups, so its "
                "candidates take no time; set space.num_cells=3 at least"
            )
        return replace(first, name=name)

    def build(self, piece: Piece) -> nn.Module:
        """That candidate as a module, to be timed."""
        found = self._catalogue.build(piece.name, piece.channels, piece.stride, affine=False)
        return along_time(found) if self._flat else found

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
