"""What shapes alone say: whether a network can be trained at all, and what its steps hold in memory.

On torch's device `meta` nothing is allocated or computed, so the answers come as soon for large images as for
small ones.
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nas.analysis.cost.counting import count_saved_bytes
from nas.engine.stages import StageBuilder
from nas.engine.tasks import Task
from nas.errors import ConfigError
from nas.measure.footprint import Footprint
from nas.measure.steps import Numerics
from nas.methods.method import Method
from nas.methods.updates import Unrolled
from nas.spaces.space import ImageInputs, Inputs, Space

# (numbers, images or columns) -> what a task reads; of several batches that of the weights comes first.
Batches = Callable[[Numerics, int], Any]
# Pixels of images on which a pass of two costs next to nothing.
SMALL = 64 * 64
# Bytes of weights and what belongs to them, up to which a supernet is built in earnest to be priced.
LIGHT = 2**28
# Copies of the weights that an unrolled step holds besides: its start, a gradient, the product's vector.
UNROLLED_COPIES = 3


def on(device: str, dtype: torch.dtype = torch.float32) -> Numerics:
    """Plain numbers on a device, `meta` for none."""
    return Numerics(torch.device(device), dtype, None, False)


def check_supernet(
    space: Space, method: Method, inputs: Inputs, task: Task, batch: Batches, batch_size: int
) -> None:
    """Refuses a search whose supernet, of any stage, fails on the smallest batch that it is trained on.

    Args:
        space: builds supernets.
        method: says which stages there are.
        inputs: what the networks are sized by.
        task: what is learnt.
        batch: (numbers, images or columns) -> a batch as the task reads it.
        batch_size: `dataset.batch_size`.

    Raises:
        ConfigError: it fails; says what to change.
    """
    stages = StageBuilder(space, method, inputs, 0, lambda network: network, task)

    def run(where: Numerics, size: int) -> None:
        for index in range(len(method.stages or (None,))):
            with where.device:
                supernet = stages.supernet(index).train()
                op_weights = {name: torch.ones(group.shape) for name, group in space.groups.items()}
            task.run(supernet, batch(where, size), op_weights)

    sizes = [f"space.{name}" for name in space.recipe_sizes] or [f"space={space.name}"]
    _check(run, inputs, batch_size, sizes)


def check_network(
    network: nn.Module,
    inputs: Inputs,
    task: Task,
    batch: Batches,
    batch_size: int,
    auxiliary_weight: float = 0.0,
) -> None:
    """The same of an evaluation network, which is copied; `auxiliary_weight` is that of the recipe."""

    def run(where: Numerics, size: int) -> None:
        copied = copy.deepcopy(network).to(where.device).train()
        task.train(copied, batch(where, size), auxiliary_weight)

    _check(run, inputs, batch_size, ["the sizes of the recipe"])


def _check(
    run: Callable[[Numerics, int], None], inputs: Inputs, batch_size: int, sizes: Sequence[str]
) -> None:
    # A last batch of one is left out where the others are larger.
    least = min(batch_size, 2)
    # Somebody's code may want numbers to look at: then the pass is made in earnest.
    devices = ("cpu",) if _is_small(inputs) else ("meta", "cpu")
    with torch.random.fork_rng(devices=[]):
        error = _failure(run, least, devices)
        if error is None:
            return
        if least == 1 and _failure(run, 2, devices) is None:
            raise ConfigError(
                "dataset.batch_size=1: a batch norm of this network would have a single value per channel to "
                "normalise by (one image on a map of one pixel); set dataset.batch_size=2 at least, or "
                f"change {', '.join(sizes)}"
            ) from error
    raise ConfigError(
        f"{', '.join(sizes)}: such a network cannot be trained on these inputs with dataset.batch_size="
        f"{batch_size} ({error})"
    ) from error


def _failure(run: Callable[[Numerics, int], None], size: int, devices: Sequence[str]) -> Exception | None:
    """Why a pass fails on all of these devices, as the last one says it; None if it does not."""
    for device in devices:
        try:
            run(on(device), size)
        except ConfigError:
            raise
        except Exception as error:
            failed = error
        else:
            return None
    return failed


def _is_small(inputs: Inputs) -> bool:
    # Operators without a device take a millisecond each, more than those on a small image.
    return not isinstance(inputs, ImageInputs) or math.prod(inputs.image_shape[1:]) <= SMALL


def price_step(stages: StageBuilder, index: int, batches: Batches, dtype: torch.dtype) -> Footprint:
    """Bytes of tensors at the peak of a step of a stage, with torch's own operators and no autocast.

    What the forward pass keeps for the backward pass, where the peak is; weights, gradients, what the
    optimiser remembers, and the copies of the weights that a second-order step makes.

    Args:
        stages: builds the supernet.
        index: of the stage.
        batches: (numbers, images or columns) -> batches, that of the weights first.
        dtype: of parameters and images.
    """
    method, size = stages.method, 2
    with torch.random.fork_rng(devices=[]):
        with torch.device("meta"):
            supernet = stages.supernet(index).train().to(dtype)
        assert method.weight_optimizer is not None  # of a method that trains
        weights = list(supernet.parameters())
        held = primed(supernet, method.weight_optimizer(weights))
        if isinstance(method.update, Unrolled):
            held += weights * UNROLLED_COPIES
        fixed = sum(tensor.nbytes for tensor in held)
        where = on("cpu" if _is_small(stages.inputs) and fixed < LIGHT else "meta", dtype)
        with where.device:
            supernet = stages.supernet(index).train().to(dtype)
            op_weights = {
                name: torch.ones(group.shape, dtype=dtype, requires_grad=True)
                for name, group in stages.space.groups.items()
            }
        batch, *_ = batches(where, size)
        known = [*supernet.parameters(), *supernet.buffers()]
        kept = count_saved_bytes(lambda: stages.task.run(supernet, batch, op_weights).objective, known)
    return Footprint(*(torch.tensor([value], dtype=torch.float64) for value in (fixed, kept / size)))


def primed(network: nn.Module, optimizer: torch.optim.Optimizer, shared: bool = False) -> list[Tensor]:
    """Gives weights the gradients and the momentum that a first step leaves; all tensors there are then.

    Args:
        network: whose weights.
        optimizer: of them.
        shared: whether several processes average gradients, in buckets beside them.
    """
    weights = list(network.parameters())
    gradients = [torch.zeros_like(weight) for weight in weights]
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    optimizer.step()
    state = [value for own in optimizer.state.values() for value in own.values() if isinstance(value, Tensor)]
    buckets = [torch.zeros_like(gradient) for gradient in gradients] if shared else []
    return [*weights, *network.buffers(), *gradients, *state, *buckets]
