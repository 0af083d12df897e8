"""`plan=true`: what a search would cost on this device, within half a minute and before anyone pays.

Sizes and memory come from shapes alone, then a few steps are measured where memory and time allow, on a
smaller batch if need be. Hours are numbers of steps times seconds per step.
"""

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import torch
from rich.table import Table
from torch import nn

from nas.analysis.cost.complexity import Cost, count_cost
from nas.analysis.cost.counting import supernet_cost
from nas.analysis.cost.timing import spread
from nas.engine.learning import check_steps
from nas.engine.machine.execution import apply_execution
from nas.engine.machine.hardware import lack
from nas.engine.progress import console, duration
from nas.engine.stages import Leg, StageBuilder, attach, legs_of, space_of_stage
from nas.errors import ConfigError, require_whole
from nas.measure.footprint import Footprint
from nas.measure.planned_steps import (
    GIB,
    Deadline,
    Measured,
    OutOfTime,
    Point,
    free_bytes,
    measure_scaled,
    measure_steps,
)
from nas.measure.shapes import SMALL, price_step
from nas.measure.steps import SearchSteps, apply_hardware, numerics
from nas.measure.workload import Workload
from nas.methods.method import Method
from nas.spaces.space import ImageInputs, Inputs, Space, network_sizes, recipe_fits

# Of the half minute that a plan may take, the part after Python and torch have started.
SECONDS = 22.0
# Of that, what counting a network may take, and the estimate of a profile's own memory; of what a stage then
# has left, pricing it from shapes.
COUNT, ESTIMATE, PRICE = 0.25, 0.5, 0.5
# The part that what architectures of the space cost may take in any case.
COST = 0.3
WHOLE = "the whole search"
# A side of images on which every step is quick, and which every stem and its reductions divide.
SIDE = 32


def print_plan(
    config: Mapping,
    space: Space,
    method: Method,
    work: Workload,
    dataset: str,
    costs: Iterable[tuple[str, str]] = (),
) -> None:
    """Prints sizes, memory and hours of the search that `config` describes; nothing is written.

    Args:
        config: the whole configuration of `nas.search` as plain containers.
        space: the search space.
        method: the search method; its alpha is moved by the measured steps.
        work: what the search reads.
        dataset: name of the data set.
        costs: rows of what architectures cost; what finds them may take some seconds.

    Raises:
        ConfigError: a setting cannot be used.
    """
    end = time.monotonic() + SECONDS
    if method.trains:
        check_steps(config, method, work.epochs(config["trainer"]["max_epochs"]))
    table = Table(title=f"plan: {space.name}, {method.name}, {dataset}, {config['hardware']['name']}")
    table.add_column("quantity")
    table.add_column("value", justify="right")
    if method.stages is None:
        for row in _cost_rows("supernet", lambda: supernet_cost(space, work.inputs), work.unit):
            table.add_row(*row)
    recipe = config["recipe"]
    genotype = space.derive({name: torch.rand(group.shape) for name, group in space.groups.items()})
    # A recipe without the sizes of these networks is another space's.
    head = recipe_fits(space, recipe) and recipe.get("auxiliary_weight", 0) > 0
    sizes = network_sizes(space, recipe) | ({"auxiliary": True} if head else {})

    def network_cost() -> Cost:
        return count_cost(lambda: space.network(genotype, work.inputs, **sizes), work.inputs.example)

    for row in _cost_rows(f"a random network (recipe {recipe['name']})", network_cost, work.unit):
        table.add_row(*row)
    rows = []
    if method.trains:
        rows = [(f"{work.items} to train on", work.size)]
        rows += _estimate_rows(space, method, work, time.monotonic() + ESTIMATE * SECONDS)
        rows += _search_rows(config, space, method, work, end)[0]
    # Priced in the time that the steps have left, and shown before them.
    for row in (*_rows_in_time(costs, max(end, time.monotonic() + COST * SECONDS)), *rows):
        table.add_row(*row)
    console().print(table)


def search_seconds(
    config: Mapping, space: Space, method: Method, work: Workload, seconds: float
) -> tuple[float | None, str]:
    """How long a search takes on this device, and how that is known; None, and why, where it is not.

    Args:
        config: the whole configuration of `nas.search` as plain containers.
        space: the search space.
        method: the search method; its alpha is moved by the measured steps.
        work: what the search reads.
        seconds: that finding out may take.

    Raises:
        ConfigError: a setting cannot be used.
    """
    if not method.trains:
        return 0.0, "nothing is trained"
    check_steps(config, method, work.epochs(config["trainer"]["max_epochs"]))
    rows, total = _search_rows(config, space, method, work, time.monotonic() + seconds)
    if total is not None:
        return total, dict(rows)[WHOLE].rpartition("; ")[2].rstrip(")")
    why = next((value for name, value in rows if name.endswith("steps")), "")
    return None, why or f"{work.items} to train on: {work.size}"


def _estimate_rows(space: Space, method: Method, work: Workload, until: float) -> list[tuple[str, str]]:
    """Whether it fits the memory that the profile names, which takes tiny steps on a CPU."""
    try:
        with Deadline(until):
            return work.memory_rows(space, method)
    except OutOfTime:
        return [("device memory by the operators of tiny steps", "not estimated: it would take too long")]


def _rows_in_time(costs: Iterable[tuple[str, str]], until: float) -> list[tuple[str, str]]:
    """The rows that are there in time; the last one says so where they are not."""
    rows = []
    try:
        with Deadline(until):
            for row in costs:
                rows.append(row)
    except OutOfTime:
        rows.append(("all architectures", "not priced: it would take too long"))
    return rows


def _cost_rows(name: str, count: Callable[[], Cost], unit: str) -> list[tuple[str, str]]:
    try:
        with Deadline(time.monotonic() + COUNT * SECONDS):
            cost = count()
    except OutOfTime:
        return [(name, "not counted: it would take too long")]
    return [
        (f"{name}: parameters", f"{cost.params:,}"),
        (f"{name}: multiply-adds per {unit}", f"{cost.macs:,}"),
    ]


def _search_rows(
    config: Mapping, space: Space, method: Method, work: Workload, end: float
) -> tuple[list[tuple[str, str]], float | None]:
    """Rows for every network that the search runs on and for all of it, and its seconds, made until `end`."""
    trainer, number = config["trainer"], config["trainer"]["max_epochs"]
    require_whole("trainer.max_epochs", number, 1)
    missing = lack(config["hardware"])
    steps, validation = work.epochs(number), work.validation()
    legs = legs_of(method, number)
    if method.stages is None:
        # What a sparse method will drop is not known: the time of the whole network is an upper bound.
        legs = [Leg(0, 0, number)]
    # Times say which candidates go, not how long a step takes.
    method.needs_no_times()
    attach(method, space, work.inputs)
    StageBuilder(space, method, work.inputs, 0, lambda network: network, work.task).check()
    rows: list[tuple[str, str]] = []
    seconds: Mapping[str, float] = {}
    total, measured, extrapolated = 0.0, missing is None, False
    for place, leg in enumerate(legs):
        stage = f"stage {leg.index + 1}: " if len(legs) > 1 else ""
        if method.stages is not None:
            partial, keep = method.stages[leg.index].partial, method.stages[leg.index].keep
            # Which candidates go is not known yet, and makes little difference to the time.
            if keep is not None:
                method.prune(keep)
            sized = space_of_stage(space, method, leg.index)
            count = functools.partial(supernet_cost, sized, work.inputs, partial, method.kept())
            rows += [(stage + name, value) for name, value in _cost_rows("supernet", count, work.unit)]
        until = time.monotonic() + (end - time.monotonic()) / (len(legs) - place)
        more, timed = _network_rows(config, space, method, work, leg.index, until, missing)
        rows += [(stage + name, value) for name, value in more]
        if timed is None:
            measured = False
            continue
        extrapolated |= not timed.whole
        seconds = timed.seconds()
        if steps is None or validation is None:
            rows += _thousand_rows(stage, method, work, seconds)
            continue
        epochs = range(leg.first, leg.end)
        moving = sum(steps[epoch] for epoch in epochs if method.active(epoch)) / method.weight_steps
        if method.joint:
            moving = 0  # alpha steps by the weights' own pass
        validations = len(epochs) // trainer["check_val_every_n_epoch"]
        total += sum(steps[epoch] for epoch in epochs) * seconds["weight"]
        total += moving * seconds.get("architecture", 0.0)
        total += validations * validation * seconds["validation"]
    if steps is None or validation is None:
        return [*rows, ("epochs", f"{number:,}")], None
    few, many = min(steps), max(steps)
    rows += [
        ("steps per epoch", f"{few:,}" if few == many else f"{few:,} to {many:,}"),
        ("batches of a validation", f"{validation:,}"),
        ("epochs", f"{number:,}"),
    ]
    compared, selecting = _selection_rows(method, number, validation, seconds if measured else None)
    rows += compared
    if not measured:
        return rows, None
    whole = total + selecting
    origin = "steps x seconds, these extrapolated" if extrapolated else "steps x measured seconds"
    rows += [
        ("an epoch, validation included", duration(total / number)),
        (WHOLE, f"{whole / 3600:.2f} h ({duration(whole)}; {origin})"),
    ]
    return rows, whole


def _selection_rows(
    method: Method, epochs: int, validation: int, seconds: Mapping[str, float] | None
) -> tuple[list[tuple[str, str]], float]:
    """What comparing architectures takes beside the epochs: rows, and seconds if a step's are known."""
    passes = {} if method.selection is None else method.selection.passes(epochs, validation)
    rows = [(f"passes to select, each a {name} step", f"at most {count:,}") for name, count in passes.items()]
    if not passes or seconds is None:
        return rows, 0.0
    # Alpha that steps by the weights' own pass has no step of its own to be timed.
    taken = sum(count * seconds.get(name, seconds["weight"]) for name, count in passes.items())
    return [*rows, ("the selection, beside epochs", f"at most {duration(taken)}")], taken


def _thousand_rows(
    stage: str, method: Method, work: Workload, seconds: Mapping[str, float]
) -> list[tuple[str, str]]:
    """What a thousand images or words of the weight part cost, where nobody knows how many there are."""
    share = 1000 / work.step_items
    moving = 0.0 if method.joint else seconds["architecture"] / method.weight_steps
    rows = [(f"{stage}1,000 {work.items} for the weights, alpha at rest", share * seconds["weight"])]
    rows.append(
        (f"{stage}1,000 {work.items} for the weights, alpha moving", share * (seconds["weight"] + moving))
    )
    return [(name, f"{value:.3g} s") for name, value in rows]


def _network_rows(
    config: Mapping,
    space: Space,
    method: Method,
    work: Workload,
    index: int,
    until: float,
    missing: str | None,
) -> tuple[list[tuple[str, str]], Measured | None]:
    """What a stage's network needs and takes: rows, and its steps where they could be measured.

    Compiling takes longer than a plan may, so the steps are taken without it.
    """
    hardware, size = config["hardware"], config["dataset"]["batch_size"]
    options, where = {**hardware, "compile": False}, numerics(hardware)

    def stages(execution: Callable[[nn.Module], nn.Module]) -> StageBuilder:
        return StageBuilder(space, method, work.inputs, 0, execution, work.task)

    # On no device there is no compiled kernel, which keeps less.
    dry = stages(lambda network: apply_execution(network, {**options, "native": False}))
    try:
        with Deadline(time.monotonic() + PRICE * (until - time.monotonic())):
            footprint = price_step(dry, index, work.batches, where.dtype)
    except OutOfTime:
        return [("steps", "neither estimated nor measured: their shapes alone take too long")], None
    free = None if missing else free_bytes(where.device)
    rows = [
        (f"memory of a step at batch {size}, from shapes", _verdict(footprint.peak(size), free, hardware))
    ]
    if missing:
        return [*rows, ("steps", f"not measured: {missing}")], None
    timed = _timed(config, space, method, work, index, until, footprint)
    if isinstance(timed, str):
        return [*rows, ("steps", f"not measured: {timed}")], None
    if hardware["compile"]:
        rows.append(("hardware.compile", "left out: compiling takes longer than a plan"))
    if not timed.scaled:
        for point in timed.points[-1:] if timed.whole else timed.points[-2:]:
            rows += _point_rows(point, where.device)
    if not timed.whole:
        rows += [
            (f"{name} step, extrapolated from {timed.origin}", f"{value:.3g} s")
            for name, value in timed.seconds().items()
        ]
    return rows, timed


def _timed(
    config: Mapping,
    space: Space,
    method: Method,
    work: Workload,
    index: int,
    until: float,
    footprint: Footprint,
) -> Measured | str:
    """What is known of the seconds of a stage's steps, or why nothing is."""
    size, where = config["dataset"]["batch_size"], numerics(config["hardware"])
    options = {**config["hardware"], "compile": False}

    def supernet(inputs: Inputs) -> nn.Module:
        return StageBuilder(
            space, method, inputs, 0, lambda network: apply_hardware(network, options), work.task
        ).supernet(index)

    scaled, shape = None, work.inputs.example().shape[-2:]
    if isinstance(work.inputs, ImageInputs) and shape.numel() > SMALL:
        channels, height, _ = work.inputs.image_shape
        side = (1, SIDE**2) if height == 1 else (SIDE, SIDE)
        small = replace(work.inputs, image_shape=(channels, *side))

        def build_small() -> SearchSteps:
            weight, architecture = (where.batch(2, small, seed) for seed in (1, 2))
            return SearchSteps(supernet(small), method, weight, architecture, where, work.task)

        of_what = "2 images of {}x{}".format(*side)
        scaled = measure_scaled(build_small, shape.numel() / SIDE**2, of_what, size, where.device, until)
        if scaled is not None and 2 * sum(scaled.seconds(2).values()) > until - time.monotonic():
            return scaled
    network = functools.cache(lambda: supernet(work.inputs))

    def build(size: int) -> SearchSteps:
        weight, architecture, valid = work.batches(where, size)
        return SearchSteps(network(), method, weight, architecture, where, work.task, valid)

    try:
        return measure_steps(build, footprint, size, where.device, until, first=work.first)
    except ConfigError as error:
        return str(error) if scaled is None else scaled


def _verdict(needed: float, free: int | None, hardware: Mapping) -> str:
    words = f"{'at most ' if hardware['native'] else ''}{needed / GIB:.2f} GiB"
    if free is None:
        return words
    return f"{words} of {free / GIB:.1f} free: {'fits' if needed <= free else 'does not fit'}"


def _point_rows(point: Point, device: torch.device) -> list[tuple[str, str]]:
    of_what = "" if device.type == "cuda" else " (libraries included)"
    spreads = {name: spread(values) for name, values in point.seconds.items()}
    return [
        (f"peak memory at batch {point.size}, measured", f"{point.peak / 2**20:,.0f} MiB{of_what}"),
        *(
            (
                f"{name} step at batch {point.size}, measured (n={seconds['n']})",
                f"{seconds['median']:.3g} s ({seconds['min']:.3g} to {seconds['max']:.3g})",
            )
            for name, seconds in spreads.items()
        ),
    ]
