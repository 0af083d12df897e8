"""The steps that `nas.bench` times and `plan=true` prices: on made-up batches, without Lightning or data."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nas.analysis.cost.counting import Operators, count_operators, count_saved_bytes
from nas.engine.decay import optimizer_of
from nas.engine.machine.execution import apply_execution
from nas.engine.step import Step
from nas.engine.tasks import Classification, Task
from nas.errors import require
from nas.methods.method import Method
from nas.methods.sparsity import guard
from nas.methods.updates import FirstOrder, Unrolled, Update
from nas.spaces.space import ImageInputs, Space

Batch = tuple[Tensor, Tensor]
PRECISIONS = {
    "32": (torch.float32, None),
    "32-true": (torch.float32, None),
    "64": (torch.float64, None),
    "64-true": (torch.float64, None),
    "bf16-true": (torch.bfloat16, None),
    "bf16-mixed": (torch.float32, torch.bfloat16),
}


@dataclass(frozen=True)
class Numerics:
    """Where and in which numbers a step computes.

    Attributes:
        device: CPU or GPU.
        dtype: of parameters and images.
        autocast: what autocast computes in, None for off.
        channels_last: memory format of images.
    """

    device: torch.device
    dtype: torch.dtype
    autocast: torch.dtype | None
    channels_last: bool

    def cast(self) -> AbstractContextManager:
        """Autocast, if there is any."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.autocast)

    def batch(self, size: int, inputs: ImageInputs, seed: int) -> Batch:
        """Normal noise and uniform labels: a step takes as long on them as on real images."""
        require(size >= 1, f"dataset.batch_size={size}: must be at least 1")
        generator = torch.Generator().manual_seed(seed)
        images_BCHW = torch.randn(size, *inputs.image_shape, generator=generator)
        labels_B = torch.randint(inputs.num_classes, (size,), generator=generator)
        images_BCHW = images_BCHW.to(self.device, self.dtype).contiguous(memory_format=self.layout())
        return images_BCHW, labels_B.to(self.device)

    def layout(self) -> torch.memory_format:
        """The memory format as torch names it."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def matrix_type(self) -> torch.dtype:
        """The type in which most arithmetic is done."""
        return self.autocast or self.dtype


def numerics(hardware: Mapping) -> Numerics:
    """What a hardware profile stands for.

    Raises:
        ConfigError: the precision is not one that a step can be timed in.
    """
    precision = str(hardware["precision"])
    require(
        precision in PRECISIONS,
        f"hardware.precision={precision}: cannot be measured; known are {', '.join(PRECISIONS)}",
    )
    device = torch.device("cuda" if hardware["accelerator"] in ("gpu", "cuda") else "cpu")
    return Numerics(device, *PRECISIONS[precision], hardware["channels_last"])


def apply_hardware(network: nn.Module, hardware: Mapping) -> nn.Module:
    """Moves a network to a hardware profile's device and type, and gives it the profile's options."""
    where = numerics(hardware)
    network = network.to(where.device, where.dtype)
    return apply_execution(network, hardware)


@dataclass(frozen=True)
class Counts:
    """Exact counts of one weight step: its forward and backward pass, without clipping and optimiser."""

    operators: Operators
    bytes_saved: int


class SearchSteps:
    """The steps of a search, on batches that stay the same: `nas.engine.step.Step` is what they run.

    Args:
        supernet: `forward(inputs, op_weights)`, with the options of `hardware` applied.
        method: owns alpha; moved to the device here. It has been told what it asks of the space.
        weight_batch: batch of the weight split.
        architecture_batch: batch of the architecture split.
        where: device and numbers.
        task: what is learnt; None for classes of images.
        validation_batch: batch of a validation; None for that of the architecture split.

    Raises:
        ConfigError: the method trains nothing.
    """

    def __init__(
        self,
        supernet: nn.Module,
        method: Method,
        weight_batch: Any,
        architecture_batch: Any,
        where: Numerics,
        task: Task | None = None,
        validation_batch: Any = None,
    ):
        require(method.trains, f"method={method.name}: it trains nothing, so it has no steps to measure")
        self.supernet = supernet.train()
        self.method = method.to(where.device, where.dtype)
        self.weight_batch = weight_batch
        self.architecture_batch = architecture_batch
        self.validation_batch = architecture_batch if validation_batch is None else validation_batch
        self.where = where
        self.task = Classification() if task is None else task
        self.taken = Step(supernet, method, self.task)
        self.taken.build_optimizers()
        self.unrolled = method.update if isinstance(method.update, Unrolled) else Unrolled()

    @property
    def weights(self) -> list[Tensor]:
        """The supernet's parameters."""
        return self.taken.weights

    @property
    def alphas(self) -> list[Tensor]:
        """The method's parameters."""
        return self.taken.alphas

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """That of the weights."""
        return self.taken.weight_optimizer

    @property
    def architecture_optimizer(self) -> torch.optim.Optimizer:
        """That of alpha."""
        return self.taken.architecture_optimizer

    def step(self, name: str) -> Callable[[], None] | None:
        """The step of a name (`weight`, `first_order`, ...); None for one that this search does not have."""
        return getattr(self, name) if self.method.has_step(name) else None

    def forward_weight(self) -> Tensor:
        """The forward pass of a weight step."""
        with self.where.cast():
            return self.taken.forward(self.weight_batch)

    def weight(self) -> None:
        """One weight step; of a joint method one step of weights and alpha."""
        with self.where.cast():
            if self.method.joint:
                self.taken.joint(self.weight_batch)
            else:
                self.taken.weight(self.weight_batch)

    def first_order(self) -> None:
        """One architecture step with the weights taken for converged."""
        self._architecture(FirstOrder())

    def second_order(self) -> None:
        """One architecture step through a virtual weight step."""
        self._architecture(self.unrolled)

    def second_order_exact(self) -> None:
        """The same with the exact product by double backward, on operators that have second derivatives."""
        of = self.unrolled
        self._architecture(Unrolled(of.xi, "exact", momentum=of.momentum, clip=of.clip))

    def architecture(self) -> None:
        """One architecture step as the method is configured; a joint method has none of its own."""
        update = self.method.update
        if update is not None and not update.joint:
            self._architecture(update)

    def search(self) -> None:
        """All that a batch of the search costs where alpha moves."""
        self.architecture()
        self.weight()

    @torch.no_grad()
    def validation(self) -> None:
        """The forward pass of a batch of validation."""
        self.supernet.eval()
        with self.where.cast():
            self.taken.run(self.validation_batch, train=False)
        self.supernet.train()

    def _architecture(self, update: Update) -> None:
        with self.where.cast():
            self.taken.architecture(self.weight_batch, self.architecture_batch, update)

    def counts(self) -> Counts:
        """Counts one weight step. Compiled code hides its operators: count before compiling."""
        self.optimizer.zero_grad()
        known = [*self.weights, *self.supernet.buffers()]
        bytes_saved = count_saved_bytes(self.forward_weight, known)
        operators = count_operators(lambda: self.forward_weight().backward())
        self.optimizer.zero_grad()
        return Counts(operators, bytes_saved)


def draw_alive(space: Space, share: float, seed: int) -> dict[str, Tensor]:
    """A random share of each group's candidates, guards kept and cleaned: {group: bool [E, O]}.

    Args:
        space: whose connections.
        share: of them that is drawn, in (0, 1]; cleaning may leave fewer.
        seed: of the draw.

    Raises:
        ConfigError: the share is out of range.
    """
    require(0 < share <= 1, f"bench.alive: {share} is not a share of live connections, in (0, 1]")
    generator = torch.Generator().manual_seed(seed)
    # 1 - a draw of [0, 1), so that none is 0, which stands for a dead one.
    drawn = {name: 1 - torch.rand(group.shape, generator=generator) for name, group in space.groups.items()}
    left = {}
    for name, drawn_EO in drawn.items():
        ranks_EO = drawn_EO.flatten().argsort(descending=True).argsort().view_as(drawn_EO)
        left[name] = drawn_EO.where(ranks_EO < round(share * drawn_EO.numel()), 0.0)
    guarded = guard(drawn, left, {name: group.guards for name, group in space.groups.items()})
    return space.clean({name: left_EO != 0 for name, left_EO in guarded.items()})


class EvaluationSteps:
    """A training step of an evaluation network, and a pass of inference.

    Args:
        network: as its task runs it, drop-path set.
        optimizer: parameters -> optimiser.
        task: loss.
        clip: global gradient norm, None for none.
        batch: as the task reads it.
        where: device and numbers.
        auxiliary_weight: weight of the auxiliary head's loss.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Callable,
        task: Task,
        clip: float | None,
        batch: Any,
        where: Numerics,
        auxiliary_weight: float = 0.0,
    ):
        self.network = network.train()
        self.optimizer = optimizer_of(optimizer, network)
        self.task = task
        self.auxiliary_weight = auxiliary_weight
        self.clip = clip
        self.batch = batch
        self.where = where

    def train(self) -> None:
        """One training step."""
        self.optimizer.zero_grad()
        self.loss().backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimizer.step()

    @torch.no_grad()
    def infer(self) -> None:
        """What the network says of the batch, as it is tested."""
        self.network.eval()
        with self.where.cast():
            self.task.measure(self.network, self.batch)
        self.network.train()

    def loss(self) -> Tensor:
        """What is trained for, at the current weights."""
        with self.where.cast():
            return self.task.train(self.network, self.batch, self.auxiliary_weight).objective
