"""What a GPU would take for a step, predicted from the stream of its operators: nothing is computed.

Every operator below autograd reads and writes bytes, does arithmetic, and is launched. On a card it takes the
longest of three: its bytes at a share of the memory's speed, its arithmetic at a share of the peak, and the
shortest time that a kernel takes; and where the host hands operators in one by one, a step takes at least as
long as that. All shares are assumptions, which `Assumed` states; where a card is at hand `make gpu-check`
puts the measurement beside the prediction.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
CONVOLUTIONS = frozenset({aten.convolution, aten.convolution_backward})
# Torch has no shapes of these two on the device `meta`; they are small.
SAMPLERS = frozenset({aten._sample_dirichlet, aten._dirichlet_grad})
EMPTY = frozenset({aten.empty, aten.empty_like, aten.new_empty, aten.empty_strided, aten.new_empty_strided})


@dataclass(frozen=True)
class Card:
    """The peaks of a card by its maker's data sheet.

    Attributes:
        name: in tables.
        bandwidth: of its memory, bytes a second.
        single: float32 operations a second, outside tensor cores.
        matrix: operations a second of matrix products in the precision that the profile has there.
        bytes_per_number: of activations in that precision.
    """

    name: str
    bandwidth: float
    single: float
    matrix: float
    bytes_per_number: int


# NVIDIA's pages: GeForce GTX 1080 Ti (11.3 TFLOP/s, 484 GB/s), A100 40 GB SXM (19.5 TFLOP/s, 312 in bfloat16,
# 1,555 GB/s), H100 SXM (67 TFLOP/s, 989 in bfloat16 without sparsity, 3,350 GB/s).
CARDS = (
    Card("GTX 1080 Ti, float32", 484e9, 11.3e12, 11.3e12, 4),
    Card("A100 40 GB, bf16-mixed", 1555e9, 19.5e12, 312e12, 2),
    Card("H100 SXM, bf16-mixed", 3350e9, 67e12, 989e12, 2),
)


@dataclass(frozen=True)
class Assumed:
    """What is taken for granted of any card.

    Attributes:
        memory: share of the memory's speed that an operator reaches.
        matrix: share of the matrix peak that products and dense convolutions reach at these sizes.
        depthwise: share of the float32 peak that depthwise convolutions reach, which no tensor core serves.
        kernel: seconds that the smallest kernel takes.
        launch: seconds that the host takes to hand in an operator, Python and autograd included.
    """

    memory: float = 0.6
    matrix: float = 0.3
    depthwise: float = 0.1
    kernel: float = 3e-6
    launch: float = 10e-6


@dataclass(frozen=True)
class Operator:
    """One launch.

    Attributes:
        name: of the operator.
        numbers: floating-point numbers read and written.
        other: bytes of anything else.
        flops: multiplications and additions of products and convolutions.
        depthwise: whether it is a convolution of many groups.
    """

    name: str
    numbers: int
    other: int
    flops: int
    depthwise: bool

    def seconds(self, card: Card, assumed: Assumed) -> float:
        """How long it takes on a card once it has been handed in."""
        moved = self.numbers * card.bytes_per_number + self.other
        if self.depthwise:
            work = self.flops / (card.single * assumed.depthwise)
        else:
            work = self.flops / (card.matrix * assumed.matrix)
        return max(moved / (card.bandwidth * assumed.memory), work, assumed.kernel)


class Stream(TorchDispatchMode):
    """Notes every operator inside the block that is no view: what it moves and computes.

    Attributes:
        operators: in their order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operators: list[Operator] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Runs one operator and notes it."""
        kwargs, packet = kwargs or {}, func.overloadpacket
        sampled = packet in SAMPLERS and args[0].is_meta
        made = torch.empty_like(args[0]) if sampled else func(*args, **kwargs)
        if not (func.is_view or func is aten._unsafe_view.default or packet in EMPTY):
            self.operators.append(_noted(packet, args, kwargs, made))
        return made


def _noted(packet: Any, args: tuple, kwargs: dict, made: Any) -> Operator:
    touched: dict[int, Tensor] = {}
    for leaf in (*tree_leaves((args, kwargs)), *tree_leaves(made)):
        if isinstance(leaf, Tensor):
            touched[id(leaf)] = leaf
    numbers = sum(t.numel() for t in touched.values() if t.is_floating_point())
    other = sum(t.nbytes for t in touched.values() if not t.is_floating_point())
    count = _backward_flops if packet is aten.convolution_backward else flop_registry.get(packet)
    flops = 0 if count is None else count(*args, **kwargs, out_val=made)
    groups = 1
    if packet in CONVOLUTIONS:
        groups = args[8] if packet is aten.convolution else args[9]
    return Operator(str(packet), numbers, other, flops, groups > 1 and _is_depthwise(packet, args))


def _backward_flops(
    gradient: Tensor, x: Tensor, weight: Tensor, *others: Any, out_val: Any, **kwargs: Any
) -> int:
    """As many as forward for each gradient asked for; torch counts a weight's `groups` times too high."""
    asked = sum(one is not None for one in out_val[:2])
    # Behind a transposed convolution, whose weight is applied to each of its inputs.
    pixels = x if others[4] else gradient
    return asked * 2 * pixels.numel() * weight[0].numel()


def _is_depthwise(packet: Any, args: tuple) -> bool:
    """Whether each filter reads one channel."""
    weight = args[1] if packet is aten.convolution else args[2]
    return weight.shape[1] == 1


@dataclass(frozen=True)
class Step:
    """A step's operators.

    Attributes:
        operators: in their order.
    """

    operators: tuple[Operator, ...]

    @property
    def launches(self) -> int:
        """How many there are."""
        return len(self.operators)

    @property
    def flops(self) -> int:
        """Of products and convolutions."""
        return sum(operator.flops for operator in self.operators)

    def moved(self, card: Card) -> int:
        """Bytes read and written in a card's precision."""
        return sum(one.numbers * card.bytes_per_number + one.other for one in self.operators)

    def seconds(self, card: Card, assumed: Assumed, graph: bool) -> float:
        """How long the step takes, handed in operator by operator or as one graph."""
        computing = sum(operator.seconds(card, assumed) for operator in self.operators)
        return computing if graph else max(computing, assumed.launch * self.launches)


def stream_of(run: Callable[[], Any]) -> Step:
    """The operators of one call."""
    with _quiet(), Stream() as stream:
        run()
    return Step(tuple(stream.operators))


@contextmanager
def _quiet() -> Iterator[None]:
    """Leaves random generators as they were."""
    with torch.random.fork_rng(devices=[]):
        yield
