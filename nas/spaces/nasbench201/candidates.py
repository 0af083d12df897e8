"""The candidate operations of NAS-Bench-201, each over the m edges of a source that hold it.

Shapes: B batch, C channels, H W space, m edges.
"""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from nas.errors import ConfigError, require
from nas.spaces.space import SKIP, ZERO
from nas.spaces.supernet.candidates import IdentityCandidate
from nas.spaces.supernet.fan_out import Candidate, Draw, Growth, Shared, Sums, Term, add, add_wide
from nas.spaces.supernet.stacked import StackedConv, StackedNorm


class DenseCandidate(Candidate):
    """ReLU, dense convolution, affine-free BN: one convolution C -> m*C and one BN for all edges."""

    def __init__(self, m: int, channels: int, kernel: int):
        super().__init__()
        self.conv = StackedConv(m, channels, channels, kernel)
        self.norm = StackedNorm(m, channels)

    def forward(self, shared: Shared, scales_M: Tensor, sums: Sums, targets: Sequence[int]) -> None:
        """Adds the scaled result of every edge."""
        h_BCHW = self.conv(shared.relu, self.conv.weight.flatten(0, 1))
        single = len(targets) == 1
        h_BCHW = self.norm(h_BCHW, 0, scales_M[0]) if single else self.norm.wide(h_BCHW, scales_M)
        if shared.execution.wide:
            add_wide(sums, targets, h_BCHW)
        elif single:
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
        return F.avg_pool2d(shared.x_BCHW, 3, 1, 1, count_include_pad=False)


def dense_candidate(name: str, m: int, channels: int, stride: int) -> Candidate:
    """Builds the stacked form of operation `name` for m edges; the cells of NAS-Bench-201 have no stride.

    Raises:
        ConfigError: there is no such candidate operation, or the stride is not 1.
    """
    require(stride == 1, f"stride={stride}: cells of NAS-Bench-201 keep the resolution")
    builders = {
        SKIP: IdentityCandidate,
        "nor_conv_1x1": lambda: DenseCandidate(m, channels, 1),
        "nor_conv_3x3": lambda: DenseCandidate(m, channels, 3),
        "avg_pool_3x3": MeanPoolCandidate,
    }
    if name not in builders:
        known = ", ".join(sorted([ZERO, *builders]))
        raise ConfigError(f"space.operations: unknown candidate operation {name!r}; known are {known}")
    return builders[name]()
