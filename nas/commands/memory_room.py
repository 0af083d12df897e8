"""How many images or columns a step may have, for it to fit the memory that a device has free."""

from typing import Any

import torch
from omegaconf import DictConfig

from nas.analysis.cost.counting import count_saved_bytes
from nas.commands.prices import method_of, training_steps
from nas.domains.choose import choose
from nas.domains.networks import space_of
from nas.engine.machine.execution import apply_execution
from nas.engine.machine.hardware import lack
from nas.engine.stages import StageBuilder, attach
from nas.measure.footprint import Footprint
from nas.measure.memory_fit import GIB, LIBRARIES
from nas.measure.planned_steps import SHARE, free_bytes
from nas.measure.shapes import price_step, primed
from nas.measure.steps import numerics
from nas.running.config import plain

# A batch norm has no statistics of one.
SMALLEST = 2


def room(hardware: DictConfig, alone: bool = True) -> float | None:
    """Bytes that steps may take: what `hardware.memory_gib` leaves beside libraries, and what is free here.

    Args:
        hardware: the profile.
        alone: whether what is free here counts, as it may not where several are to be alike.

    Returns:
        None where neither is known.
    """
    known = []
    if hardware.get("memory_gib") is not None:
        gpu = hardware.accelerator in ("gpu", "cuda")
        known.append(hardware.memory_gib * GIB - LIBRARIES["cuda" if gpu else "cpu"])
    if alone and lack(hardware) is None:
        free = free_bytes(numerics(plain(hardware)).device)
        known += [] if free is None else [SHARE * free]
    return min(known, default=None)


def largest_search_batch(config: DictConfig, limit: float, source: Any) -> int:
    """The most images or columns of a step, of the most demanding stage, within so many bytes."""
    space, given = space_of(config), plain(config)
    method = method_of(config, space)
    work = choose(space, source).workload(given, space, method, source)
    method.needs_no_times()
    attach(method, space, work.inputs)
    options = {**given["hardware"], "compile": False, "native": False}
    stages = StageBuilder(
        space, method, work.inputs, 0, lambda network: apply_execution(network, options), work.task
    )
    dtype, found = numerics(given["hardware"]).dtype, []
    for index, stage in enumerate(method.stages.stages if method.stages is not None else [None]):
        if stage is not None and stage.keep is not None:
            method.prune(stage.keep)
        found.append(price_step(stages, index, work.batches, dtype).largest_batch(limit))
    return min(found)


def largest_training_batch(config: DictConfig, limit: float, source: Any, genotype: Any = None) -> int:
    """The same of the training of an evaluation network, a drawn one's without a genotype."""
    steps = training_steps(config, genotype, source)(SMALLEST)
    held = primed(steps.network, steps.optimizer)
    known = [*steps.network.parameters(), *steps.network.buffers()]
    kept = count_saved_bytes(steps.loss, known)
    fixed = sum(one.nbytes for one in held)
    sizes = (torch.tensor([one], dtype=torch.float64) for one in (fixed, kept / SMALLEST))
    return Footprint(*sizes).largest_batch(limit)
