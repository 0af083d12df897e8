"""Sizes that jobs of one multirun have in common: the first one chooses them, the others take its numbers.

Jobs that differ in seeds or cells alone are compared, and so must be alike; a step that is timed twice never
takes the same time. The numbers lie in the multirun's folder.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from nas.errors import require
from nas.files import this_process, write_text
from nas.measure.auto_rules import Choice, is_number_of
from nas.reading.json_text import read_object
from nas.reading.plain import is_number
from nas.running.config import plain, typed_keys
from nas.running.words import key_of

# Below the folder of a multirun, out of sight of what looks for runs.
PLACE = ".sizes"
# How far above a run's folder that of its multirun may lie.
ABOVE = 3
# That a phase may be said to take: 31 years, of which a clock can still be made.
MOST_SECONDS = 10**9
# What sizes depend on.
PARTS = ("space", "method", "dataset", "recipe", "budget", "hardware")
LENGTHS = ("max_epochs", "limit_train_batches", "limit_val_batches", "check_val_every_n_epoch")


def in_common(
    config: DictConfig, minutes: float, choose: Callable[[], dict[str, Choice]]
) -> dict[str, Choice]:
    """What `choose` returns, or what it returned in a job that is like this one but for seeds and cells.

    Args:
        config: of a search or an evaluation, before anything has been chosen.
        minutes: that it may take.
        choose: phase -> what is chosen of it.

    Raises:
        ConfigError: what an earlier job left cannot be read.
    """
    place = None if config.get("plan") else _place()
    if place is None:
        return choose()
    file = place / f"{_likeness(config, minutes)}.json"
    if not file.exists():
        # Of jobs side by side the first to know decides.
        _leave(file, choose())
    return _read(file)


def _place() -> Path | None:
    """The folder of the numbers; None for a run that is none of several."""
    job = HydraConfig.get()
    named = any(key_of(str(one)) == "hydra.sweep.dir" for one in job.overrides.hydra)
    if job.mode == RunMode.MULTIRUN or named:
        return Path(job.sweep.dir).absolute() / PLACE
    # A job that is run again by itself.
    above = Path(job.runtime.output_dir).absolute().parents[:ABOVE]
    return next((one / PLACE for one in above if (one / PLACE).is_dir()), None)


def _likeness(config: DictConfig, minutes: float) -> str:
    """The same for jobs whose sizes are to be the same."""
    known = {part: plain(config[part]) for part in PARTS if part in config}
    # A job that is run again by itself may have more of the machine.
    known["hardware"].pop("threads", None)
    known["trainer"] = {key: OmegaConf.select(config.trainer, key) for key in LENGTHS}
    known |= {"command": config.command, "minutes": minutes, "typed": sorted(typed_keys())}
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _leave(file: Path, found: Mapping[str, Choice]) -> None:
    """Writes the numbers, unless another job has done so in the meantime."""
    text = json.dumps({name: choice.to_dict() for name, choice in found.items()}, indent=1)
    own = file.with_name(f"{file.stem}.{this_process()}.json")
    write_text(own, f"{text}\n", parents=True)
    try:
        with suppress(FileExistsError):
            os.link(own, file)
    except OSError:
        # A file system without links: the last to write decides among those that wrote at once.
        os.replace(own, file)
    own.unlink(missing_ok=True)


def _read(file: Path) -> dict[str, Choice]:
    found: dict[str, Choice] = {}
    for name, given in read_object(file).items():
        numbers: Any = given.get("numbers") if isinstance(given, Mapping) else None
        sound = name in ("search", "evaluate") and isinstance(numbers, Mapping)
        sound = sound and all(is_number_of(key, value) for key, value in numbers.items())
        seconds: Any = given.get("seconds") if sound else None
        sound = sound and (seconds is None or is_number(seconds, 0, MOST_SECONDS))
        require(sound, f"{file}: damaged ({name}); remove it, and sizes are chosen anew")
        known = None if seconds is None else float(seconds)
        found[name] = Choice(dict(numbers), known, str(given.get("why", "")))
    return found
