"""What the connections of DSO-NAS's blocks cost: multiply-adds, the authors' count, memory access.

Methods read these to weigh sparsity by a budget (Zhang et al., section 3.4, equations 9 and 10).
Multiply-adds are those of convolutions; normalisation, activations, pooling and sums do not count.

Shapes: E connections, O = 1 their one candidate; C channels, H W space.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas.spaces.dso.layout import OUTPUT, BlockLayout
from nas.spaces.dso.parts import REDUCTIONS, SEPARABLE
from nas.spaces.dso.pieces import build_piece
from nas.spaces.pieces import Piece
from nas.spaces.signals import along_time

Shape = tuple[int, int, int]


class BlockCosts:
    """Costs of all blocks that follow one group.

    Args:
        layout: of the block.
        shapes: (C, H, W) of each of the blocks.
        first: for each of them whether its shortcut is a convolution.
        flat: whether they are of signals, along time alone.

    Attributes:
        names_EO: for each connection the operation that it feeds.
        memory_EO: memory access cost of that operation, summed over the blocks, relative to the largest
            (equation 10), [E, 1] of float64.
    """

    def __init__(
        self, layout: BlockLayout, shapes: Sequence[Shape], first: Sequence[bool], flat: bool = False
    ):
        self.layout, self._flat = layout, flat
        self._first = shapes[0]
        self.names_EO = [list(names) for names in layout.candidates]
        self._operations = [layout.operation(node) for node in range(1, layout.output)]
        macs = {
            name: sum(_macs(name, shape, flat) for shape in shapes) for name in (OUTPUT, *layout.operations)
        }
        self._output_macs = macs[OUTPUT]
        self._macs_N = torch.tensor([macs[name] for name in self._operations], dtype=torch.float64)
        self._separable_N = torch.tensor([name in SEPARABLE for name in self._operations])
        self._shortcut_macs = sum(
            _macs(OUTPUT, shape, flat) for shape, is_first in zip(shapes, first, strict=True) if is_first
        )
        memory = {
            name: sum(_memory(name, shape, flat) for shape in shapes) for name in (OUTPUT, *layout.operations)
        }
        memory_E = torch.tensor([memory[name] for (name,) in layout.candidates], dtype=torch.float64)
        self.memory_EO = (memory_E / memory_E.max())[:, None]
        self._whole = int(self._searched(torch.ones(len(layout.edges), 1, dtype=torch.bool)))

    def share(self, alive_EO: Tensor) -> Tensor:
        """Multiply-adds of what is alive after cleaning / those of the whole group, without dimension.

        Equation 9. The shortcut belongs to neither: nothing can prune it.
        """
        return self._searched(alive_EO) / self._whole

    def count(self, alive_EO: Tensor) -> Tensor:
        """The authors' stand-in for `share`: a convolution counts one, pooling nothing; without dimension.

        (separable convolutions that have an input + connections into the output + 1) / (the same for the
        whole block: with half of the operations separable 1.5*M*N + 1). Nothing is cleaned first.
        """
        layout, alive_E = self.layout, alive_EO[:, 0].bool()
        # To where the factors are once, and not in every step.
        separable = self._separable_N = self._separable_N.to(alive_E.device)
        fed = [
            layout.into(alive_E, level).any(dim=-1)
            if level in layout.factored_levels
            else alive_E.new_ones(layout.width)
            for level in range(1, layout.levels + 1)
        ]
        convolutions = (torch.cat(fed) & separable).sum() + layout.into_output(alive_E).sum() + 1
        return convolutions.double() / (separable.sum() + layout.num_operations + 1)

    def macs(self, alive_EO: Tensor) -> int:
        """Multiply-adds an image of what is alive after cleaning, with the shortcuts, of all the blocks."""
        return int(self._searched(alive_EO)) + self._shortcut_macs

    def _searched(self, alive_EO: Tensor) -> Tensor:
        alive_E = self.layout.clean(alive_EO[:, 0].bool())
        held = self.layout.alive_operations(alive_E)
        self._macs_N = self._macs_N.to(held.device)
        return (self._macs_N * held).sum() + self._output_macs * self.layout.into_output(alive_E).sum()

    def piece(self, row: int, name: str) -> Piece:
        """The operation that a connection feeds, in the first of the blocks; the output as of one branch."""
        return Piece(name, *self._first)

    def build(self, piece: Piece) -> nn.Module:
        """That operation as a module, to measure its latency."""
        found = build_piece(piece)
        return along_time(found) if self._flat else found


class ReductionCosts:
    """Costs of a reduction block.

    Args:
        channels: C of its input.
        size: (H, W) of its input.
        flat: whether it is of signals, along time alone.

    Attributes:
        names_EO: the branches.
        memory_EO: memory access cost of a branch, relative to the larger one, [2, 1] of float64.
    """

    def __init__(self, channels: int, size: Sequence[int], flat: bool = False):
        height, width = size
        self._flat = flat
        self._shape: Shape = (channels, height, width)
        self.names_EO = [[name] for name in REDUCTIONS]
        pixels = ((height + 1) // 2) * ((width + 1) // 2)
        parameters = [2 * channels**2 * _weights(kernel, flat) for kernel in REDUCTIONS.values()]
        self._macs_N = torch.tensor([pixels * one for one in parameters], dtype=torch.float64)
        self._whole = pixels * sum(parameters)
        moved = channels * height * width + 2 * channels * pixels
        memory_E = torch.tensor([moved + one for one in parameters], dtype=torch.float64)
        self.memory_EO = (memory_E / memory_E.max())[:, None]

    def share(self, alive_EO: Tensor) -> Tensor:
        """Multiply-adds of the living branches / those of both (equation 9), without dimension."""
        return self._searched(alive_EO) / self._whole

    def count(self, alive_EO: Tensor) -> Tensor:
        """1: the authors' code weighs the sparsity of reduction blocks by no count."""
        return torch.ones((), dtype=torch.float64, device=alive_EO.device)

    def macs(self, alive_EO: Tensor) -> int:
        """Multiply-adds an image of the living branches."""
        return int(self._searched(alive_EO))

    def _searched(self, alive_EO: Tensor) -> Tensor:
        alive_E = alive_EO[:, 0].bool()
        self._macs_N = self._macs_N.to(alive_E.device)
        return (self._macs_N * alive_E).sum()

    def piece(self, row: int, name: str) -> Piece:
        """A branch."""
        return Piece(name, *self._shape, stride=2, outputs=2 * self._shape[0])

    def build(self, piece: Piece) -> nn.Module:
        """That branch as a module, to measure its latency."""
        found = build_piece(piece)
        return along_time(found) if self._flat else found


def _weights(kernel: int, flat: bool) -> int:
    return kernel if flat else kernel**2


def _macs(name: str, shape: Shape, flat: bool) -> int:
    channels, height, width = shape
    if name == OUTPUT:
        return height * width * channels**2
    if name in SEPARABLE:
        return height * width * (channels * _weights(SEPARABLE[name], flat) + channels**2)
    return 0


def _memory(name: str, shape: Shape, flat: bool) -> int:
    """Feature maps read and written, and parameters: 2*h*w*c a layer, and a convolution's weights."""
    channels, height, width = shape
    moved = 2 * height * width * channels
    if name == OUTPUT:
        return moved + channels**2
    if name in SEPARABLE:
        return 2 * moved + channels * _weights(SEPARABLE[name], flat) + channels**2
    return moved
