"""`plan=true`: what a search would cost on this device, from a few measured steps and before anyone pays."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from nas.analysis.cost.complexity import Cost, count_cost
from nas.analysis.cost.counting import supernet_cost
from nas.analysis.cost.timing import Race, spread
from nas.engine.learning import check_steps
from nas.engine.machine.hardware import lack
from nas.engine.progress import duration
from nas.engine.stages import Leg, StageBuilder, attach, legs_of
from nas.errors import require_whole
from nas.measure.operation_times import time_operations
from nas.measure.steps import Numerics, SearchSteps, apply_hardware, numerics
from nas.measure.workload import Workload
from nas.methods.method import Method
from nas.spaces.space import Space, network_sizes, recipe_fits

ROUNDS = 3


def print_plan(
    config: Mapping, space: Space, method: Method, work: Workload, dataset: str, folder: Path
) -> None:
    """Prints sizes, memory and hours of the search that `config` describes; nothing is written.

    Args:
        config: the whole configuration of `nas.search` as plain containers.
        space: the search space.
        method: the search method; its alpha is moved by the measured steps.
        work: what the search reads.
        dataset: name of the data set.
        folder: the run folder that Hydra made; removed if it is empty.

    Raises:
        ConfigError: a setting cannot be used.
    """
    _remove_empty(folder)
    if method.trains:
        check_steps(config, method, work.epochs(config["trainer"]["max_epochs"]))
    table = Table(title=f"plan: {space.name}, {method.name}, {dataset}, {config['hardware']['name']}")
    table.add_column("quantity")
    table.add_column("value", justify="right")
    if method.stages is None:
        for row in _cost_rows("supernet", supernet_cost(space, work.inputs), work.unit):
            table.add_row(*row)
    recipe = config["recipe"]
    genotype = space.derive({name: torch.rand(group.shape) for name, group in space.groups.items()})
    # A recipe without the sizes of these networks is another space's.
    head = recipe_fits(space, recipe) and recipe.get("auxiliary_weight", 0) > 0
    sizes = network_sizes(space, recipe) | ({"auxiliary": True} if head else {})
    cost = count_cost(lambda: space.network(genotype, work.inputs, **sizes), work.inputs.example)
    for row in _cost_rows(f"a random network (recipe {recipe['name']})", cost, work.unit):
        table.add_row(*row)
    if method.trains:
        missing = lack(config["hardware"])
        rows = [(f"{work.items} to train on", work.size)]
        rows += work.memory_rows(space, method)
        if missing is None:
            rows += _search_rows(config, space, method, work)
        else:
            rows.append(("steps", f"not measured: {missing}"))
        for row in rows:
            table.add_row(*row)
    Console().print(table)


def _remove_empty(folder: Path) -> None:
    """Removes the folder that Hydra made, with its empty log, unless there is something in it."""
    for log in folder.glob("*.log"):
        if log.stat().st_size == 0:
            log.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()


def _cost_rows(name: str, cost: Cost, unit: str) -> list[tuple[str, str]]:
    return [
        (f"{name}: parameters", f"{cost.params:,}"),
        (f"{name}: multiply-adds {unit}", f"{cost.macs:,}"),
    ]


def _search_rows(config: Mapping, space: Space, method: Method, work: Workload) -> list[tuple[str, str]]:
    """Rows for every network that the search runs on, and for the whole of it."""
    hardware, trainer = config["hardware"], config["trainer"]
    where = numerics(hardware)
    weight, architecture, valid = work.batches(where)
    number = trainer["max_epochs"]
    require_whole("trainer.max_epochs", number, 1)
    steps, validation = work.epochs(number), work.validation()
    legs = legs_of(method, number)
    if method.stages is None:
        # What a sparse method will drop is not known: the time of the whole network is an upper bound.
        legs = [Leg(0, 0, number)]
    attach(method, space, work.inputs)
    StageBuilder(space, method, work.inputs, 0, lambda network: network, work.task).check()
    rows: list[tuple[str, str]] = []
    total = 0.0
    for leg in legs:
        # Which candidates go is not known yet, and makes little difference to the time.
        keep = None if method.stages is None else method.stages[leg.index].keep
        if keep is not None:
            method.prune(keep)

        def build(options: Mapping, index: int = leg.index) -> SearchSteps:
            stages = StageBuilder(
                space, method, work.inputs, 0, lambda network: apply_hardware(network, options), work.task
            )
            time_operations(method, config["dataset"]["batch_size"], where.device.type)
            supernet = stages.supernet(index)
            return SearchSteps(supernet, method, weight, architecture, where, work.task, valid)

        found, seconds = _measure(build, hardware, where)
        epochs = range(leg.first, leg.end)
        stage = f"stage {leg.index + 1}: " if len(legs) > 1 else ""
        if method.stages is not None:
            cost = supernet_cost(space, work.inputs, method.stages[leg.index].partial, method.kept())
            rows += [(stage + name, value) for name, value in _cost_rows("supernet", cost, work.unit)]
        rows += [(stage + name, value) for name, value in found]
        if steps is None or validation is None:
            rows += _thousand_rows(stage, method, work, seconds)
            continue
        moving = sum(steps[epoch] for epoch in epochs if method.active(epoch)) / method.weight_steps
        if method.joint:
            moving = 0  # alpha steps by the weights' own pass
        validations = len(epochs) // trainer["check_val_every_n_epoch"]
        total += sum(steps[epoch] for epoch in epochs) * seconds["weight"]
        total += moving * seconds.get("architecture", 0.0)
        total += validations * validation * seconds["validation"]
    if steps is None or validation is None:
        return [*rows, ("epochs", f"{number:,}")]
    few, many = min(steps), max(steps)
    return [
        *rows,
        ("steps per epoch", f"{few:,}" if few == many else f"{few:,} to {many:,}"),
        ("batches of a validation", f"{validation:,}"),
        ("epochs", f"{number:,}"),
        ("an epoch, validation included", duration(total / number)),
        ("the whole search", f"{total / 3600:.2f} h ({duration(total)})"),
    ]


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


def _measure(
    build: Callable[[Mapping], SearchSteps], hardware: Mapping, where: Numerics
) -> tuple[list[tuple[str, str]], dict[str, float]]:
    """What a network's steps cost: rows to print, and the median seconds of each step."""
    saved = build({**hardware, "compile": False}).counts().bytes_saved
    steps = build(hardware)
    race = Race(where.device, warmup=1)
    race.enter("weight", steps.weight)
    if not steps.method.joint:
        race.enter("architecture", steps.architecture)
    race.enter("validation", steps.validation)
    times = {
        name: spread(found) for name, found in race.seconds(dict.fromkeys(race.variants, ROUNDS)).items()
    }
    of_what = "" if where.device.type == "cuda" else ", libraries included"
    rows = [
        ("saved for the backward pass of a weight step", f"{saved / 2**20:,.0f} MiB"),
        (f"peak memory of a step{of_what}", f"{max(race.peaks.values()) / 2**20:,.0f} MiB"),
        *((f"{name} step (n={found['n']})", _seconds(found)) for name, found in times.items()),
    ]
    return rows, {name: found["median"] for name, found in times.items()}


def _seconds(found: Mapping[str, float]) -> str:
    return f"{found['median']:.3g} s ({found['min']:.3g} to {found['max']:.3g})"
