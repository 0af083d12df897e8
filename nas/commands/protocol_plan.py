"""`python -m nas.protocol plan=true`: how many runs there would be, and what they would take here."""

import time
from collections.abc import Mapping, Sequence

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from nas.analysis.protocols import CALLED
from nas.domains.choose import choose
from nas.domains.networks import fits, network_of, source_of, space_of
from nas.engine.machine.hardware import lack
from nas.measure.plan import search_seconds
from nas.measure.planned_runs import training_seconds
from nas.measure.steps import EvaluationSteps, apply_hardware, numerics
from nas.methods.layout import layout_of
from nas.running.config import instantiate, plain
from nas.running.procedure import Step

# That finding out what one run takes may take.
SECONDS = 20.0


def print_plan(
    name: str, phases: Sequence[tuple[str, Sequence[Step]]], configs: Mapping[str, DictConfig]
) -> None:
    """Prints the number of runs of each phase times the hours of one, and the sum.

    Of the settings of a grid one is measured: they change no shape.

    Args:
        name: of the protocol, or its row.
        phases: with their runs, in their order.
        configs: name of a run -> its configuration.

    Raises:
        ConfigError: a setting cannot be used.
    """
    table = Table(title=f"plan: {name}")
    for heading in ("phase", "runs", "hours of one", "hours in all", "how that is known"):
        table.add_column(heading, justify="right" if "hours" in heading or heading == "runs" else "left")
    total, known = 0.0, True
    for phase, steps in phases:
        config = configs[steps[0].name]
        seconds, why = _search(config) if phase == "search" else _training(config)
        one = whole = ""
        if seconds is None:
            known = False
        else:
            total += len(steps) * seconds
            one, whole = (f"{value / 3600:,.2f}" for value in (seconds, len(steps) * seconds))
        table.add_row(CALLED[phase][1], f"{len(steps):,}", one, whole, why)
    runs = sum(len(steps) for _, steps in phases)
    table.add_section()
    how = "one after the other" if known else "one after the other, without what is not known"
    table.add_row("in all", f"{runs:,}", "", f"{total / 3600:,.2f}", how)
    Console().print(table)


def _search(config: DictConfig) -> tuple[float | None, str]:
    """Seconds of a search, and how they are known."""
    space, source = space_of(config), source_of(config)
    method = instantiate(
        config.method,
        shapes={name: group.shape for name, group in space.groups.items()},
        layout=layout_of(space.groups),
    )
    method.epochs = config.trainer.max_epochs
    given = plain(config)
    work = choose(space, source).workload(given, space, method, source)
    return search_seconds(given, space, method, work, SECONDS)


def _training(config: DictConfig) -> tuple[float | None, str]:
    """Seconds of a training from scratch, validations and the test left out, and how they are known."""
    space, source, given = space_of(config), source_of(config), plain(config)
    domain = choose(space, source)
    steps, size = domain.training_steps(given, source)
    missing = lack(config.hardware)
    if steps is None or missing is not None:
        return None, size if missing is None else f"not measured: {missing}"
    hardware, recipe = given["hardware"], config.recipe
    where, options = numerics(hardware), {**hardware, "compile": False}
    genotype = space.derive({name: torch.rand(group.shape) for name, group in space.groups.items()})

    def build(batch_size: int) -> EvaluationSteps:
        network = apply_hardware(network_of(config, space, genotype, source), options)
        set_drop_path = getattr(network, "set_drop_path", None)
        if set_drop_path is not None:
            set_drop_path(recipe.get("drop_path", 0.0))
        return EvaluationSteps(
            network,
            instantiate(recipe.optimizer),
            domain.task(space, recipe, None, source),
            recipe.clip,
            domain.batch(config, source, where, batch_size, 1),
            where,
            recipe.get("auxiliary_weight", 0.0) if fits(config, space) else 0.0,
        )

    until = time.monotonic() + SECONDS
    seconds, origin = training_seconds(build, config.dataset.batch_size, where.device, until)
    return None if seconds is None else steps * seconds, origin
