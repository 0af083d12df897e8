"""More epochs, or fewer, for a run that is continued: what its schedules make of that."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from nas.engine.checkpoints import newest_readable
from nas.engine.decay import optimizer_of
from nas.engine.restarts import length_of, rates, restarts_of
from nas.errors import require, require_one_of, require_whole
from nas.running.config import ConfigError, instantiate, plain
from nas.running.parts import part_paths
from nas.running.signatures import target_of

log = logging.getLogger(__name__)
# Where a command's configuration has the weights' optimiser and its schedule.
SCHEDULES = {
    "search": ("method.weight_optimizer", "method.weight_scheduler"),
    "evaluate": ("recipe.optimizer", "recipe.scheduler"),
}


def set_length(saved: DictConfig, folder: Path, epochs: int | None, mode: str | None) -> None:
    """Gives a run another number of epochs, in place, where its schedules allow that.

    Args:
        saved: the run's configuration.
        folder: the run folder.
        epochs: `trainer.max_epochs` as typed now; None where nothing was typed.
        mode: `resume_schedule`; `restart` begins a new cosine of the learning rate at the epoch that the run
            has reached, and writes that down in `restarts`.

    Raises:
        ConfigError: a schedule has a length of its own and no restart is asked for, or there is nothing to
            restart.
    """
    require_one_of("resume_schedule", mode, (None, "restart"))
    before = saved.trainer.max_epochs
    require(type(before) is int, f"{folder / 'config.yaml'}: trainer.max_epochs={before}: no whole number")
    restarts = restarts_of(plain(saved.restarts))
    done_before = bool(restarts) and restarts[-1].epochs == before
    if epochs in (None, before):
        # The command that began the added epochs may be typed again after a kill.
        require(
            mode is None or (done_before and epochs is not None),
            f"resume_schedule=restart: for a run that gets more epochs than its {before}, or fewer; set "
            "trainer.max_epochs too",
        )
        return
    require_whole("trainer.max_epochs", epochs, 1)
    require(
        saved.command != "search" or not saved.method.get("stages"),
        f"trainer.max_epochs={epochs}: this search has {before} epochs by its method.stages, which a resumed "
        "run keeps; start a new run",
    )
    _, done = newest_readable(folder / "checkpoints", to_go_on=True)
    require(
        epochs > done,
        f"trainer.max_epochs={epochs}: the run has {done} epochs behind it already, of {before}",
    )
    part = _scheduled(saved)
    require(
        part is None or epochs == before,
        f"trainer.max_epochs={epochs}: {part} of this run follows a schedule of {before} epochs; start a new "
        "run of the whole length",
    )
    limited = _limited(saved, before, epochs)
    if mode == "restart":
        _restart(saved, done, before, epochs)
    else:
        require(
            not limited,
            f"trainer.max_epochs={epochs}: {limited} of this run was made for {before} epochs; start a new "
            "run of the whole length, or add resume_schedule=restart (a new cosine, from the last learning "
            "rate, over the epochs that are left)",
        )
    saved.trainer.max_epochs = epochs


def _scheduled(saved: DictConfig) -> str | None:
    """The part of a method whose schedule has the length of the search; None where none has."""
    method = saved.get("method")
    for path in part_paths(method) if isinstance(method, DictConfig) else ():
        node = OmegaConf.select(method, path)
        if isinstance(node, DictConfig) and getattr(target_of(node), "scheduled", False):
            return f"method.{path}"
    return None


def _limited(saved: DictConfig, before: int, epochs: int) -> str:
    """Which schedule of a run has a length that another number of epochs does not keep to; empty for none."""
    if saved.command == "evaluate" and saved.recipe.get("drop_path"):
        return "drop-path (recipe.drop_path)"
    key = SCHEDULES[saved.command][1]
    build, optimizer = _schedule(saved)
    if build is None:
        return ""
    if saved.restarts:
        return f"the learning rate (restarts, {key})"
    length = length_of(build(optimizer()))
    # One that has ended long before goes on as in a longer run; one that is longer still has not ended.
    if length is None or length < min(before, epochs) or length >= max(before, epochs) > before:
        return ""
    constant = len({tuple(one) for one in rates(build, optimizer(), [], max(before, epochs))}) == 1
    return "" if constant else f"the learning rate ({key})"


def _schedule(saved: DictConfig) -> tuple[Any, Callable]:
    """Optimiser -> schedule, and what makes an optimiser of a layer; None for a method without any."""
    optimizer: Any
    optimizer, build = (
        None if OmegaConf.select(saved, key) is None else instantiate(OmegaConf.select(saved, key))
        for key in SCHEDULES[saved.command]
    )
    return build, lambda: optimizer_of(optimizer, torch.nn.Linear(1, 1))


def _restart(saved: DictConfig, done: int, before: int, epochs: int) -> None:
    require(
        done > 0,
        f"resume_schedule=restart: the run has no epoch behind it whose learning rate it could go on from; "
        f"start a new run with trainer.max_epochs={epochs}",
    )
    build, optimizer = _schedule(saved)
    # A run whose newest checkpoints are lost may be behind a restart.
    earlier = [one for one in plain(saved.restarts) if one["at"] < done]
    given = [*earlier, {"at": done, "before": before, "epochs": epochs}]
    try:
        table = rates(build, optimizer(), restarts_of(given))
    except TypeError as error:
        key = SCHEDULES[saved.command][1]
        raise ConfigError(
            f"resume_schedule=restart: the rates of {key} do not depend on the epoch alone ({error})"
        ) from error
    saved.restarts = given
    log.info(
        "epochs %d to %d: a new cosine of the learning rate, from %.3g to %.3g",
        done + 1,
        epochs,
        table[done][0],
        table[-1][0],
    )
