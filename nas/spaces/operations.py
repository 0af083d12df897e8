"""Candidate operations: one class serves a search, an evaluation, and what both cost.

An operation is found by its published name in a space's catalogue, or by its import path (`theirs.Conv`): a
class of somebody else's that derives from `Operation`. A name is never imported here, for it may stand in a
stranger's file: the module must have been imported, by the caller's own code or by the command that she
trusts it to (docs/trust.md).

DARTS space (Liu et al. 2019, section 3.1 and the authors' release): ReLU-Conv-BN order, separable
convolutions applied twice, dilated ones once, no convolution bias. The operations of the NASNet and AmoebaNet
cells are here as well, so that every published genotype can be built.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nas.errors import ConfigError, require
from nas.genotype_text import is_import_path
from nas.printable import shown
from nas.spaces.modules import FactorizedReduce, Noise, Zero, pool, separable_conv, seven_by_seven
from nas.spaces.pieces import Piece
from nas.spaces.signals import along_time
from nas.spaces.supernet.candidate import Candidate
from nas.spaces.supernet.candidates import (
    Copies,
    IdentityCandidate,
    PoolCandidate,
    ReduceCandidate,
    SeparableCandidate,
)

MOVING = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


class Operation(ABC):
    """A candidate operation of cells whose edges carry feature maps. `build` is all that one must give."""

    @abstractmethod
    def build(self, channels: int, stride: int, affine: bool) -> nn.Module:
        """The module of one edge, [B, C, H, W] -> [B, C, H/stride, W/stride]; it leaves its input as it is.

        Args:
            channels: C.
            stride: 1 or 2.
            affine: whether its batch norms have a scale and an offset: not in a search.
        """

    @property
    def twice_differentiable(self) -> bool:
        """Whether its copies have second derivatives; here: whether torch's own modules make it up."""
        with torch.device("meta"):
            module = self.build(4, 1, False)
        return all(type(part).__module__.startswith(("torch.nn.", "nas.")) for part in module.modules())

    def stacked(self, m: int, channels: int, stride: int) -> Candidate:
        """The operation on m edges of a supernet; here: m copies, one after the other."""
        return Copies([self.build(channels, stride, False) for _ in range(m)], self.twice_differentiable)

    def cost(self, piece: Piece, flat: bool = False) -> tuple[int, int]:
        """Counted on `build`'s module at a piece's shape: multiply-adds and memory access cost.

        The second is what convolutions and poolings read and write, weights included, in numbers (Zhang et
        al. 2018, equation 10). `flat`: of a network of signals.
        """
        moved = 0

        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            nonlocal moved
            moved += inputs[0].numel() + output.numel() + sum(p.numel() for p in module.parameters())

        with torch.device("meta"):
            module = self.build(piece.channels, piece.stride, False)
            if flat:
                along_time(module)
            x_BCHW = torch.empty(1, piece.channels, piece.height, piece.width)
        for part in module.modules():
            if isinstance(part, MOVING):
                part.register_forward_hook(note)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module.eval()(x_BCHW)
        return counter.get_total_flops() // 2, moved


@dataclass(frozen=True)
class Catalogue:
    """The operations that a space knows by name, and those of others by their import paths."""

    published: Mapping[str, Operation]

    def __getitem__(self, name: str) -> Operation:
        """The operation of that name.

        Raises:
            ConfigError: there is none, or its module has not been imported.
        """
        if name not in self.published:
            self.check((name,), "space.operations")
        return self.published[name] if name in self.published else _foreign(name)

    def build(self, name: str, channels: int, stride: int = 1, affine: bool = True) -> nn.Module:
        """One edge of an evaluation network; see `Operation.build`."""
        return self[name].build(channels, stride, affine)

    def stacked(self, name: str, m: int, channels: int, stride: int) -> Candidate:
        """M edges of a supernet; see `Operation.stacked`."""
        return self[name].stacked(m, channels, stride)

    def check(self, names: Iterable[str], where: str) -> None:
        """Raises `ConfigError` unless all of these operations can be built."""
        unknown = sorted({name for name in names if name not in self.published and not is_import_path(name)})
        require(
            not unknown,
            f"{where}: unknown operations {shown(unknown, 400)}; known are "
            f"{', '.join(self.published)}, and import paths of classes derived from "
            "nas.spaces.Operation",
        )
        for name in names:
            if name not in self.published:
                _foreign(name)


def _foreign(name: str) -> Operation:
    place, _, attribute = name.rpartition(".")
    module = sys.modules.get(place)
    require(
        module is not None,
        f"operation {shown(name)}: it is somebody's code, which was not imported. If you know it and want it "
        f"to run, say trust={place}, or in Python import {place} first",
    )
    # Not by getattr: a module may import others when it is asked.
    kind = vars(module).get(attribute)
    if not (isinstance(kind, type) and issubclass(kind, Operation)):
        raise ConfigError(f"operation {name}: not a class derived from nas.spaces.Operation")
    try:
        return kind()
    except TypeError as error:
        raise ConfigError(f"operation {name}: it cannot be made without arguments ({error})") from error


@dataclass(frozen=True)
class Published(Operation):
    """An operation that is known by a name.

    Attributes:
        edge: (channels, stride, affine) -> the module of one edge.
        edges: (m, channels, stride) -> its form in a supernet; None for copies.
    """

    edge: Callable[[int, int, bool], nn.Module]
    edges: Callable[[int, int, int], Candidate] | None = None

    def build(self, channels: int, stride: int, affine: bool) -> nn.Module:
        """See `Operation.build`."""
        return self.edge(channels, stride, affine)

    def stacked(self, m: int, channels: int, stride: int) -> Candidate:
        """See `Operation.stacked`."""
        return super().stacked(m, channels, stride) if self.edges is None else self.edges(m, channels, stride)


def _separable(kernel: int, dilation: int = 1, repeats: int = 2) -> Published:
    """Steps of ReLU, depthwise and pointwise convolution and BN, the stride in the first."""
    return Published(
        lambda c, s, a: separable_conv(c, kernel, s, dilation, repeats, a),
        lambda m, c, s: SeparableCandidate(m, c, kernel, s, dilation, repeats),
    )


def _pool(kind: str) -> Published:
    return Published(lambda c, s, a: pool(kind, s), lambda m, c, s: PoolCandidate(c, kind, s))


# A supernet never computes `none`.
NONE = Published(lambda c, s, a: Zero(s))
SKIP_CONNECT = Published(
    lambda c, s, a: nn.Identity() if s == 1 else FactorizedReduce(c, c, a),
    lambda m, c, s: IdentityCandidate() if s == 1 else ReduceCandidate(m, c),
)
DARTS = Catalogue(
    MappingProxyType(
        {
            "none": NONE,
            "noise": Published(lambda c, s, a: Noise(s)),
            "skip_connect": SKIP_CONNECT,
            "max_pool_3x3": _pool("max"),
            "avg_pool_3x3": _pool("avg"),
            "sep_conv_3x3": _separable(3),
            "sep_conv_5x5": _separable(5),
            "sep_conv_7x7": _separable(7),
            "dil_conv_3x3": _separable(3, dilation=2, repeats=1),
            "dil_conv_5x5": _separable(5, dilation=2, repeats=1),
            "conv_7x1_1x7": Published(seven_by_seven),
        }
    )
)
