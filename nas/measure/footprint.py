"""The memory that a training step asks of a device, from the bytes that are alive after each operator.

A step takes the same operators at every batch size, and each tensor is either as large as before or grows
with the number of images. So two steps on tiny batches, on a CPU, give for each moment of the step a line: so
many bytes anyway, so many per image. The peak at another batch size is the highest of these lines there.
"""

import gc
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# A single image would leave batch norms at 1 x 1 pixels nothing to take statistics of.
BATCHES = (2, 3)


class LiveBytes(TorchDispatchMode):
    """Follows the storages of tensors inside the block, from the operator that makes one until it is freed.

    What operators allocate and free within themselves is not seen: workspaces of libraries, for one.

    Args:
        known: tensors that are there already.

    Attributes:
        moments: bytes alive after each operator.
    """

    def __init__(self, known: Iterable[Tensor] = ()):
        super().__init__()
        self.alive = 0
        self.moments: list[int] = []
        self._sizes: dict[int, int] = {}
        for tensor in known:
            self._follow(tensor)

    def _follow(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self.alive += self._sizes[key]
            weakref.finalize(storage, self._forget, key).atexit = False

    def _forget(self, key: int) -> None:
        self.alive -= self._sizes.pop(key, 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Runs one operator and takes note of what it made."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._follow(leaf)
        self.moments.append(self.alive)
        return made


@contextmanager
def uncollected() -> Iterator[None]:
    """Keeps Python from freeing cycles at moments that differ from run to run."""
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass(frozen=True)
class Footprint:
    """Bytes of tensors at the peak of a step, as a function of the number of images per batch.

    Attributes:
        fixed_M: bytes at each moment of the step whatever the batch, float64.
        image_M: bytes that one more image adds at that moment, float64.
    """

    fixed_M: Tensor
    image_M: Tensor

    def peak(self, batch_size: int) -> int:
        """Bytes at the peak of a step on this many images."""
        return round(float((self.fixed_M + batch_size * self.image_M).max()))

    def largest_batch(self, limit: float) -> int:
        """The largest batch whose peak is within `limit` bytes; 0 where a single image is above it."""
        if self.peak(1) > limit:
            return 0
        grows_M = self.image_M > 0
        most_M = (limit - self.fixed_M[grows_M]) / self.image_M[grows_M]
        return int(most_M.min())


def measure_footprint(
    prepare: Callable[[int], tuple[Iterable[Tensor], Callable[[], None]]],
) -> Footprint:
    """Follows two tiny steps; returns what a step of any batch size needs.

    Args:
        prepare: batch size -> the tensors that are there before the step, and the step; it takes the same
            operators each time.
    """
    moments = []
    for size in BATCHES:
        known, run = prepare(size)
        with uncollected(), LiveBytes(known) as live:
            run()
        moments.append(torch.tensor(live.moments, dtype=torch.float64))
        del known, run
    few_M, more_M = moments
    if len(few_M) != len(more_M):
        # Work that depends on the batch (a library's choice): the line through both peaks is what is left.
        few_M, more_M = few_M.max()[None], more_M.max()[None]
    image_M = (more_M - few_M) / (BATCHES[1] - BATCHES[0])
    return Footprint(few_M - BATCHES[0] * image_M, image_M)
