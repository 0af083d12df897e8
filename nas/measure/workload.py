"""What a search reads, as `plan=true` has to know it: how many steps, and batches to time."""

import math
from collections.abc import Mapping
from typing import Any, Protocol

from nas.engine.tasks import Task
from nas.measure.steps import Numerics
from nas.methods.method import Method
from nas.spaces.space import Inputs, Space


class Workload(Protocol):
    """What a search reads.

    Attributes:
        unit: what multiply-adds are counted of, such as "image".
        items: what a step reads, in the plural.
        step_items: how many of them a weight step of usual size reads, all processes together.
        size: how many there are to train on and where that number comes from, or that nobody knows, in words.
        inputs: what the space's networks are sized by.
        task: what is learnt.
        first: images or columns of the first batch that is timed: few enough for slow machines, and enough
            for the seconds to be those of what is in it.
    """

    unit: str
    items: str
    step_items: int
    size: str
    first: int

    @property
    def inputs(self) -> Inputs: ...

    @property
    def task(self) -> Task: ...

    def epochs(self, number: int) -> list[int] | None:
        """Steps of every epoch, on every process; None where nobody knows how much data there is."""
        ...

    def validation(self) -> int | None:
        """Batches of a validation, on every process; None likewise."""
        ...

    def memory_rows(self, space: Space, method: Method) -> list[tuple[str, str]]:
        """What a plan says of the memory of a step: names and values; nothing where it is not estimated."""
        ...

    def batches(self, where: Numerics, size: int) -> tuple[Any, Any, Any]:
        """Made-up batches of weights, architecture and validation, of `size` images or columns."""
        ...


def image_steps(config: Mapping, images: int) -> int:
    """Steps per epoch of a search whose weight part has so many images per process.

    The loader drops a last training batch of one image.
    """
    size = config["dataset"]["batch_size"]
    steps = images // size if size > 1 and images % size == 1 else math.ceil(images / size)
    return limited(steps, config["trainer"]["limit_train_batches"])


def processes_of(config: Mapping) -> int:
    """Processes of a run, as far as its configuration says."""
    hardware = config["hardware"]
    devices = hardware["devices"] if isinstance(hardware["devices"], int) else 1
    return devices * hardware["num_nodes"]


def limited(number: int, limit: float) -> int:
    """Lightning's rule: a whole number is a number, a fraction is a share."""
    return min(number, limit) if isinstance(limit, int) else int(number * limit)
