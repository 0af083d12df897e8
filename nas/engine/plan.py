"""`plan=true`: what a search would cost on this device, from a few measured steps and before anyone pays."""

import contextlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from nas.analysis.complexity import Cost, count_cost
from nas.analysis.counting import supernet_cost
from nas.analysis.timing import Race, spread
from nas.data.sources import ImageSource
from nas.data.splits import split
from nas.engine.benchmark import Numerics, SearchSteps, apply_hardware, numerics
from nas.engine.progress import duration
from nas.engine.stages import Leg, Stages, legs_of
from nas.methods.method import Method
from nas.spaces.space import Space

# So that a plan needs no images. Others are counted by reading them.
NUM_IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "imagenet16_120": 151_700, "imagenet": 1_281_167}
ROUNDS = 3


def print_plan(config: Mapping, space: Space, method: Method, source: ImageSource, folder: Path) -> None:
    """Prints sizes, memory and hours of the search that `config` describes; nothing is written.

    Args:
        config: the whole configuration of `nas.search` as plain containers.
        space: the search space.
        method: the search method; its alpha is moved by the measured steps.
        source: the data set; only asked for its images if their number is not known.
        folder: the run folder that Hydra made; removed if it is empty.

    Raises:
        ConfigError: a setting cannot be used.
    """
    _remove_empty(folder)
    table = Table(title=f"plan: {space.name}, {method.name}, {source.name}, {config['hardware']['name']}")
    table.add_column("quantity")
    table.add_column("value", justify="right")
    if method.stages is None:
        for row in _cost_rows("supernet", supernet_cost(space, source.image_shape, source.num_classes)):
            table.add_row(*row)
    recipe = config["recipe"]
    name = f"a random network (recipe {recipe['name']})"
    for row in _cost_rows(name, _network_cost(recipe, space, source)):
        table.add_row(*row)
    if method.trains:
        for row in _search_rows(config, space, method, source):
            table.add_row(*row)
    Console().print(table)


def _remove_empty(folder: Path) -> None:
    """Removes the folder that Hydra made, with its empty log, unless there is something in it."""
    for log in folder.glob("*.log"):
        if log.stat().st_size == 0:
            log.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()


def _cost_rows(name: str, cost: Cost) -> list[tuple[str, str]]:
    return [
        (f"{name}: parameters", f"{cost.params:,}"),
        (f"{name}: multiply-adds an image", f"{cost.macs:,}"),
    ]


def _network_cost(recipe: Mapping, space: Space, source: ImageSource) -> Cost:
    genotype = space.derive({name: torch.rand(group.shape) for name, group in space.groups.items()})
    fits = all(name in recipe for name in space.recipe_sizes)
    sizes = {name: recipe[name] for name in space.recipe_sizes} if fits else {}
    return count_cost(
        lambda: space.network(
            genotype,
            source.image_shape,
            source.num_classes,
            auxiliary=recipe["auxiliary_weight"] > 0 and fits,
            **sizes,
        ),
        source.image_shape,
    )


def _search_rows(config: Mapping, space: Space, method: Method, source: ImageSource) -> list[tuple[str, str]]:
    """Rows for every network that the search runs on, and for the whole of it."""
    hardware = config["hardware"]
    where = numerics(hardware)
    shape, classes = source.image_shape, source.num_classes
    batches = [where.batch(config["dataset"]["batch_size"], shape, classes, seed) for seed in (1, 2)]
    train, valid = _batches(config, source)
    trainer = config["trainer"]
    epochs = trainer["max_epochs"]
    legs = legs_of(method, epochs)
    if method.stages is None:
        # What a sparse method will drop is not known: the time of the whole network is an upper bound.
        legs = [Leg(0, 0, epochs)]
    Stages(space, method, (shape, classes), 0, lambda network: network).check()
    rows: list[tuple[str, str]] = []
    total = 0.0
    for leg in legs:
        # Which candidates go is not known yet, and makes little difference to the time.
        if method.stages is not None and method.stages[leg.index].keep is not None:
            method.prune(method.stages[leg.index].keep)

        def build(options: Mapping, index: int = leg.index) -> SearchSteps:
            stages = Stages(
                space, method, (shape, classes), 0, lambda network: apply_hardware(network, options)
            )
            return SearchSteps(stages.supernet(index), method, *batches, where)

        found, seconds = _measure(build, hardware, where)
        moving = sum(method.active(epoch) for epoch in range(leg.first, leg.end)) / method.weight_steps
        if method.joint:
            moving = 0  # alpha steps by the weights' own pass
        validations = (leg.end - leg.first) // trainer["check_val_every_n_epoch"]
        total += train * ((leg.end - leg.first) * seconds["weight"] + moving * seconds["architecture"])
        total += validations * valid * seconds["validation"]
        stage = f"stage {leg.index + 1}: " if len(legs) > 1 else ""
        if method.stages is not None:
            partial = method.stages[leg.index].partial
            cost = supernet_cost(space, shape, classes, partial, method.kept())
            rows += [(stage + name, value) for name, value in _cost_rows("supernet", cost)]
        rows += [(stage + name, value) for name, value in found]
    return [
        *rows,
        ("steps an epoch", f"{train:,}"),
        ("epochs", f"{epochs:,}"),
        ("an epoch, validation included", duration(total / epochs)),
        ("the whole search", f"{total / 3600:.2f} h ({duration(total)})"),
    ]


def _measure(
    build: Callable[[Mapping], SearchSteps], hardware: Mapping, where: Numerics
) -> tuple[list[tuple[str, str]], dict[str, float]]:
    """What a network's steps cost: rows to print, and the median seconds of each step."""
    saved = build({**hardware, "compile": False}).counts().bytes_saved
    steps = build(hardware)
    race = Race(where.device, warmup=1)
    race.enter("weight", steps.weight)
    race.enter("architecture", steps.architecture)
    race.enter("validation", steps.validation)
    times = {
        name: spread(found) for name, found in race.seconds(dict.fromkeys(race.variants, ROUNDS)).items()
    }
    rows = [
        ("saved for the backward pass of a weight step", f"{saved / 2**20:,.0f} MiB"),
        ("peak memory of a step" + _of_what(where), f"{max(race.peaks.values()) / 2**20:,.0f} MiB"),
        *((f"{name} step (n={found['n']})", _seconds(found)) for name, found in times.items()),
    ]
    return rows, {name: found["median"] for name, found in times.items()}


def _batches(config: Mapping, source: ImageSource) -> tuple[int, int]:
    """Steps of an epoch and batches of a validation, on every process."""
    dataset, trainer, hardware = config["dataset"], config["trainer"], config["hardware"]
    known = NUM_IMAGES.get(source.name)
    labels_N = source.train().labels if known is None else torch.arange(known) % source.num_classes
    parts = split(
        labels_N, dataset["split"], dataset["split_ratio"], dataset["fraction"], config["split_seed"]
    )
    devices = hardware["devices"] if isinstance(hardware["devices"], int) else 1
    size = dataset["batch_size"]
    images = [
        math.ceil(len(part) / (devices * hardware["num_nodes"]))
        for part in (parts.weight, parts.architecture)
    ]
    if config["overfit"]:
        images = [min(size, number) for number in images]
    # The loader drops a last training batch of one image.
    train = images[0] // size if size > 1 and images[0] % size == 1 else math.ceil(images[0] / size)
    return _limited(train, trainer["limit_train_batches"]), _limited(
        math.ceil(images[1] / size), trainer["limit_val_batches"]
    )


def _limited(number: int, limit: float) -> int:
    """Lightning's rule: a whole number is a number, a fraction is a share."""
    return min(number, limit) if isinstance(limit, int) else int(number * limit)


def _of_what(where: Any) -> str:
    return "" if where.device.type == "cuda" else ", libraries included"


def _seconds(found: Mapping[str, float]) -> str:
    return f"{found['median']:.3g} s ({found['min']:.3g} to {found['max']:.3g})"
