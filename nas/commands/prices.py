"""What a search or a training will take on this device: its steps times seconds that are measured."""

import time
from collections.abc import Callable
from typing import Any

import torch
from omegaconf import DictConfig

from nas.domains.choose import choose
from nas.domains.networks import fits, network_of, source_of, space_of
from nas.engine.machine.hardware import lack
from nas.genotype import Genotype
from nas.measure.plan import search_seconds
from nas.measure.planned_runs import training_seconds
from nas.measure.steps import EvaluationSteps, apply_hardware, numerics
from nas.methods.layout import layout_of
from nas.running.config import instantiate, plain

# That finding out what one run takes may take.
SECONDS = 20.0


def method_of(config: DictConfig, space: Any) -> Any:
    """The method of a search's configuration, for a space."""
    return instantiate(
        config.method,
        shapes={name: group.shape for name, group in space.groups.items()},
        layout=layout_of(space.groups),
    )


def search_price(
    config: DictConfig, seconds: float = SECONDS, source: Any = None
) -> tuple[float | None, str]:
    """Seconds of a search, and how they are known; None, and why, where they are not.

    Args:
        config: of `nas.search`.
        seconds: that finding out may take.
        source: the data set, where it has been made.

    Raises:
        ConfigError: a setting cannot be used.
    """
    space, source = space_of(config), source_of(config) if source is None else source
    method = method_of(config, space)
    method.epochs = config.trainer.max_epochs
    given = plain(config)
    work = choose(space, source).workload(given, space, method, source)
    return search_seconds(given, space, method, work, seconds)


def training_price(
    config: DictConfig, seconds: float = SECONDS, genotype: Genotype | None = None, source: Any = None
) -> tuple[float | None, str]:
    """Seconds of a training from scratch, validations and the test left out, and how they are known.

    Args:
        config: with the data set, the recipe and the trainer of `nas.evaluate`.
        seconds: that finding out may take.
        genotype: what is trained; None for one that is drawn.
        source: the data set, where it has been made.

    Returns:
        None, and why, where it is not known.

    Raises:
        ConfigError: a setting cannot be used.
    """
    source = source_of(config) if source is None else source
    given = plain(config)
    steps, size = choose(space_of(config), source).training_steps(given, source)
    missing = lack(config.hardware)
    if steps is None or missing is not None:
        return None, size if missing is None else f"not measured: {missing}"
    build, device = training_steps(config, genotype, source), numerics(given["hardware"]).device
    until = time.monotonic() + seconds
    step, origin = training_seconds(build, config.dataset.batch_size, device, until)
    return None if step is None else steps * step, origin


def training_steps(
    config: DictConfig, genotype: Genotype | None = None, source: Any = None
) -> Callable[[int], EvaluationSteps]:
    """Number of images or columns -> the training step on made-up ones; arguments as for `training_price`."""
    space, given = space_of(config), plain(config)
    source = source_of(config) if source is None else source
    domain, recipe, hardware = choose(space, source), config.recipe, given["hardware"]
    where, options = numerics(hardware), {**hardware, "compile": False}
    if genotype is None:
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

    return build
