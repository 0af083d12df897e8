"""The candidate operations of NAS-Bench-201, for one edge and over the m edges of a source that hold it.

Shapes: B batch, C channels, H W space, m edges.
"""

from collections.abc import Sequence
from types import MappingProxyType

from torch import Tensor

from nas.spaces.modules import pool, relu_conv_bn
from nas.spaces.native.average import average
from nas.spaces.operations import NONE, SKIP_CONNECT, Catalogue, Published
from nas.spaces.supernet.candidate import Candidate, Draw, Growth, Shared, Sums, Term, add, add_wide
from nas.spaces.supernet.stacked import StackedConv, StackedNorm


class DenseCandidate(Candidate):
    """ReLU, dense convolution, affine-free BN: one convolution C -> m*C and one BN for all edges."""

    summed = True
    own = True
    side_by_side = True
    norm: StackedNorm

    def __init__(self, m: int, channels: int, kernel: int):
        super().__init__()
        self.conv = StackedConv(m, channels, channels, kernel)
        self.norm = StackedNorm(m, channels)

    def result(self, shared: Shared) -> Tensor:
        """The convolution of every edge, [B, m*C, H, W]."""
        return self.conv(shared.relu, self.conv.weight.flatten(0, 1))

    def forward(self, shared: Shared, scales_M: Tensor, sums: Sums, targets: Sequence[int]) -> None:
        """Adds the scaled result of every edge."""
        h_BCHW = self.norm.wide(self.result(shared), self.norm.repeated(scales_M))
        if shared.execution.wide:
            add_wide(sums, targets, h_BCHW)
        elif len(targets) == 1:
            add(sums, targets[0], h_BCHW)
        else:
            for target, term_BCHW in zip(targets, h_BCHW.chunk(len(targets), dim=1), strict=True):
                # What is cut off here must not be written to, so a sum cannot start with it as it is.
                add(sums, target, term_BCHW.clone() if sums[target] is None else term_BCHW)

    def growth(self, draw: Draw) -> Growth:
        """The convolution and its batch norm get new channels together."""
        outputs = draw(1)
        yield "conv.weight", (outputs, draw(1), None, None)
        yield "norm.running_mean", (outputs,)
        yield "norm.running_var", (outputs,)


class MeanPoolCandidate(Term):
    """3x3 average that leaves padding out of its count, without BN."""

    def result(self, shared: Shared) -> Tensor:
        """The pooled source, [B, C, H, W]."""
        return average(shared.execution.native, 1, shared.x_BCHW)


def _dense(kernel: int) -> Published:
    return Published(
        lambda c, s, a: relu_conv_bn(c, c, kernel, s, a), lambda m, c, s: DenseCandidate(m, c, kernel)
    )


# In the order of alpha's columns in the authors' code. Cells of NAS-Bench-201 keep the resolution.
NASBENCH201 = Catalogue(
    MappingProxyType(
        {
            "none": NONE,
            "skip_connect": SKIP_CONNECT,
            "nor_conv_1x1": _dense(1),
            "nor_conv_3x3": _dense(3),
            "avg_pool_3x3": Published(lambda c, s, a: pool("avg", s), lambda m, c, s: MeanPoolCandidate()),
        }
    )
)
