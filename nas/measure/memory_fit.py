"""Whether a run fits the memory of its device, estimated from its own steps before it starts and on no GPU.

    needed = taken + SLACK * (peak of the step's tensors)

The peak comes from `nas.measure.footprint`: the very steps of this run, second order and auxiliary head
included, with the profile's options and precision. `taken` is what is there before a step: images that rest
on the device and what the libraries keep for themselves. The last, and SLACK, are assumptions: no GPU was at
hand to measure them on. Of searches and evaluations on images.
"""

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nas.data.sources import ImageSource
from nas.engine.machine.hardware import GPU
from nas.engine.machine.peers import several
from nas.engine.stages import StageBuilder, attach, space_of_stage
from nas.engine.tasks import Task
from nas.errors import ConfigError
from nas.measure.footprint import Footprint, measure_footprint
from nas.measure.shapes import primed
from nas.measure.steps import PRECISIONS, EvaluationSteps, Numerics, SearchSteps, apply_hardware, numerics
from nas.methods.method import Method
from nas.spaces.space import EdgeGroup, ImageInputs, Space

log = logging.getLogger(__name__)

GIB = 2**30
# Assumed, not measured. CUDA's context with the kernels of torch, cuDNN and cuBLAS, and workspaces that
# cuDNN's trial of algorithms settles on; on a CPU interpreter and libraries.
LIBRARIES = {"cuda": 0.8 * GIB, "cpu": 0.4 * GIB}
# Assumed: what the allocator loses by rounding blocks up and by gaps between them.
SLACK = 1.05
LABEL_BYTES = 8
HALF = {"16-mixed": "bf16-mixed", "16-true": "bf16-true"}


@dataclass(frozen=True)
class Room:
    """The memory of a device.

    Attributes:
        limit: bytes there are.
        taken: bytes that are in use before a step.
    """

    limit: float
    taken: float

    def needed(self, footprint: Footprint, batch_size: int) -> float:
        """Bytes at the peak of a step on this many images."""
        return self.taken + SLACK * footprint.peak(batch_size)

    def largest_batch(self, footprint: Footprint) -> int:
        """The most images per step that fits; 0 if not one does."""
        return footprint.largest_batch((self.limit - self.taken) / SLACK)


@dataclass(frozen=True)
class Demand:
    """What one network of a run asks for.

    Attributes:
        stage: which, in words; empty where a run has one.
        footprint: of its steps.
        partial_key: the setting of K, None where the network has none.
        partials: larger values of K that the space's channels allow, ascending.
        with_partial: K -> the footprint it would have.
    """

    stage: str
    footprint: Footprint
    partial_key: str | None = None
    partials: Sequence[int] = ()
    with_partial: Callable[[int], Footprint] | None = None

    def smallest_partial(self, room: Room, batch_size: int) -> int | None:
        """The smallest larger K at which the step fits; None if none does."""
        fitting, low, high = None, 0, len(self.partials) - 1
        # A larger K never asks for more.
        while low <= high:
            middle = (low + high) // 2
            assert self.with_partial is not None  # where there are `partials`
            if room.needed(self.with_partial(self.partials[middle]), batch_size) <= room.limit:
                fitting, high = self.partials[middle], middle - 1
            else:
                low = middle + 1
        return fitting


def check_search(
    config: Mapping,
    space: Space,
    method: Method,
    source: ImageSource,
    images: int,
) -> float | None:
    """Refuses a search with a step that does not fit the device; each stage is looked at.

    Args:
        config: the whole configuration of `nas.search` as plain containers.
        space: the search space.
        method: the search method; it is copied and stays as it is.
        source: the data set; only asked for its shape.
        images: how many rest on the device.

    Returns:
        The bytes that its largest stage is estimated to need; None where there is no memory to compare with.

    Raises:
        ConfigError: a step needs more than `hardware.memory_gib` or than the GPU has; says what would fit.
    """
    room = _room(config, source, images)
    if room is None or not method.trains:
        return None
    size = config["dataset"]["batch_size"]
    return max(
        _check(config["hardware"], room, demand, size, "dataset.batch_size")
        for demand in _search_demands(config, space, method, source)
    )


def check_evaluation(
    config: Mapping, network: nn.Module, source: ImageSource, images: int, task: Task, optimizer: Callable
) -> None:
    """Refuses an evaluation whose training step does not fit the device.

    Args:
        config: the whole configuration of `nas.evaluate` as plain containers.
        network: the evaluation network, before the hardware's options are applied; it is copied.
        source: the data set; only asked for its shape.
        images: how many rest on the device.
        task: what is learnt.
        optimizer: parameters -> optimiser.

    Raises:
        ConfigError: a step needs more than `hardware.memory_gib` or than the GPU has; says what would fit.
    """
    room = _room(config, source, images)
    if room is None:
        return
    recipe = config["recipe"]
    where, options = _on_cpu(config["hardware"])

    def prepare(size: int) -> tuple[Iterable[Tensor], Callable[[], None]]:
        trained = apply_hardware(copy.deepcopy(network), options)
        trained.set_drop_path(recipe["drop_path"])  # type: ignore[operator]  # of an evaluation network
        batch = where.batch(size, ImageInputs(source.image_shape, source.num_classes), seed=1)
        auxiliary = recipe["auxiliary_weight"]
        steps = EvaluationSteps(trained, optimizer, task, recipe["clip"], batch, where, auxiliary)
        return [*primed(trained, steps.optimizer), *batch], steps.train

    demand = Demand("", _measured(prepare))
    _check(config["hardware"], room, demand, config["dataset"]["batch_size"], "dataset.batch_size")


@dataclass(frozen=True)
class Need:
    """What one network of a search is estimated to need.

    Attributes:
        stage: which, in words; empty where a search has one.
        step: bytes of a step's tensors at their peak.
        device: bytes of the device, with libraries and what rests there.
        limit: bytes that the device has.
    """

    stage: str
    step: float
    device: float
    limit: float


def search_needs(
    config: Mapping, space: Space, method: Method, source: ImageSource, images: int
) -> list[Need]:
    """The same estimates as numbers, of every stage; empty where there is no limit to compare with.

    Arguments are those of `check_search`. Nothing limits the time that it takes.
    """
    room = _room(config, source, images)
    if room is None or not method.trains:
        return []
    size = config["dataset"]["batch_size"]
    return [
        Need(one.stage, one.footprint.peak(size), room.needed(one.footprint, size), room.limit)
        for one in _search_demands(config, space, method, source)
    ]


def fit_rows(
    config: Mapping,
    space: Space,
    method: Method,
    source: ImageSource,
    images: int,
) -> list[tuple[str, str]]:
    """What a plan says of a search's memory: name and value; nothing where there is no limit to compare with.

    Arguments are those of `check_search`. The GPU need not be there if `hardware.memory_gib` says what it
    has.
    """
    room = _room(config, source, images)
    if room is None or not method.trains:
        return []
    batch_size, rows = config["dataset"]["batch_size"], []
    for demand in _search_demands(config, space, method, source):
        head = f"{demand.stage}: " if demand.stage else ""
        needed = room.needed(demand.footprint, batch_size)
        verdict = "fits" if needed <= room.limit else "does not fit"
        rows += [
            (
                f"{head}device memory at batch {batch_size}, estimated",
                f"{needed / GIB:.2f} GiB of {room.limit / GIB:.1f}: {verdict}",
            ),
            (f"{head}largest dataset.batch_size that fits", f"{room.largest_batch(demand.footprint):,}"),
        ]
        if needed > room.limit and demand.partial_key is not None:
            least = demand.smallest_partial(room, batch_size)
            rows.append(
                (f"{head}smallest {demand.partial_key} that fits", "none" if least is None else f"{least}")
            )
    return rows


def _check(hardware: Mapping, room: Room, demand: Demand, batch_size: int, key: str) -> float:
    """The bytes that are needed, where they are there."""
    needed = room.needed(demand.footprint, batch_size)
    log.info(
        "%sa step needs about %.2f GiB of %.1f (estimated)",
        f"{demand.stage}: " if demand.stage else "",
        needed / GIB,
        room.limit / GIB,
    )
    if needed <= room.limit:
        return needed
    largest = room.largest_batch(demand.footprint)
    ways = [f"{key}={largest} at most" if largest else f"not even {key}=1"]
    if demand.partial_key is not None:
        least = demand.smallest_partial(room, batch_size)
        ways.append(
            f"or {demand.partial_key}={least} at least with {key}={batch_size}"
            if least
            else f"and no {demand.partial_key} with {key}={batch_size}"
        )
    memory = hardware.get("memory_gib")
    raise ConfigError(
        f"hardware={hardware['name']}: {demand.stage or 'a step'} needs about {needed / GIB:.1f} GiB with "
        f"{key}={batch_size} (estimated), and there are {room.limit / GIB:.1f} (hardware.memory_gib="
        f"{'null' if memory is None else memory}); what fits: {', '.join(ways)}. hardware.check_memory=false "
        "starts it all the same"
    )


def _room(config: Mapping, source: ImageSource, images: int) -> Room | None:
    """The device's memory as the profile or the device itself has it; None where nothing is to be checked."""
    hardware = config["hardware"]
    given, gpu = hardware.get("memory_gib"), hardware["accelerator"] in GPU
    limit = None if given is None else given * GIB
    if gpu and torch.cuda.device_count():
        total = torch.cuda.get_device_properties(0).total_memory
        limit = total if limit is None else min(limit, total)
    known = HALF.get(str(hardware["precision"]), str(hardware["precision"])) in PRECISIONS
    if not hardware.get("check_memory", True) or not known:
        limit = None
    if limit is None:
        return None
    taken = LIBRARIES["cuda" if gpu else "cpu"]
    width = 4 if getattr(source, "floats", False) else 1
    return Room(limit, taken + images * (torch.Size(source.image_shape).numel() * width + LABEL_BYTES))


def _search_demands(config: Mapping, space: Space, method: Method, source: ImageSource) -> Iterator[Demand]:
    """One for each stage, in order."""
    inputs = ImageInputs(source.image_shape, source.num_classes)
    where, options = _on_cpu(config["hardware"])
    stages = [None] if method.stages is None else list(method.stages.stages)
    method = copy.deepcopy(method)
    if method.stages is not None:
        _prefer_convolutions(method, space.groups)
    method.needs_no_times()
    for index, stage in enumerate(stages):
        if stage is not None and stage.keep is not None:
            method.prune(stage.keep)

        method = copy.deepcopy(method)

        def measured(partial: int | None, stage: int = index, method: Method = method) -> Footprint:
            def prepare(size: int) -> tuple[Iterable[Tensor], Callable[[], None]]:
                own = copy.deepcopy(method)
                attach(own, space, inputs)
                built = StageBuilder(space, own, inputs, 0, lambda network: apply_hardware(network, options))
                if partial is None:
                    supernet = built.supernet(stage)
                else:
                    sized = space_of_stage(space, own, stage)
                    network = sized.supernet(inputs, partial=partial, kept=own.kept(), **own.supernet_options)
                    supernet = apply_hardware(network, options)
                batches = [where.batch(size, inputs, seed) for seed in (1, 2)]
                steps = SearchSteps(supernet, own, batches[0], batches[1], where)
                known = [*primed(supernet, steps.optimizer, several(config["hardware"])), *steps.alphas]
                return [*known, *(tensor for batch in batches for tensor in batch)], steps.search

            return _measured(prepare)

        present = getattr(space, "partial", None) if stage is None else stage.partial
        channels = getattr(space, "init_channels", 0)
        larger = [] if present is None else [k for k in range(present + 1, channels + 1) if channels % k == 0]
        key = "space.partial" if stage is None else f"method.stages[{index}].partial"
        yield Demand(
            "" if len(stages) == 1 else f"stage {index + 1}",
            measured(None),
            key if larger else None,
            larger,
            measured,
        )


def _prefer_convolutions(method: Method, groups: Mapping[str, EdgeGroup]) -> None:
    """Makes pruning keep what asks for most: which candidates a search will keep is not known."""
    with torch.no_grad():
        for name, alpha_EO in method.alpha.items():
            heavy = [[float("conv" in word) for word in row] for row in groups[name].operations]
            alpha_EO.copy_(torch.tensor(heavy))


def _measured(prepare: Callable[[int], tuple[Iterable[Tensor], Callable[[], None]]]) -> Footprint:
    # A run with a check and one without draw the same numbers.
    with torch.random.fork_rng(devices=[]):
        return measure_footprint(prepare)


def _on_cpu(hardware: Mapping) -> tuple[Numerics, dict[str, Any]]:
    """The same operators and numbers on a CPU; uncompiled, since compiled code hides what it keeps."""
    gpu = hardware["accelerator"] in GPU
    options = {
        **hardware,
        "accelerator": "cpu",
        "precision": HALF.get(str(hardware["precision"]), hardware["precision"]),
        "compile": False,
        "recompute": hardware["recompute"] and not hardware["compile"],
        "native": hardware["native"] and not gpu,
    }
    return numerics(options), options
