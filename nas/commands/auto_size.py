"""`size=auto`: sizes of networks, batches and epochs from the data, the memory and the time there is.

Amounts of data decide where on a ladder of sizes to begin, and how large a batch may be. Then a step is timed
on this device; the first network of the ladder of which enough epochs fit into `time` is taken, with as many
epochs as fit. What was typed stays.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from nas.commands.memory_room import SMALLEST, largest_search_batch, largest_training_batch, room
from nas.commands.prices import search_price, training_price
from nas.commands.reading_time import reading_seconds
from nas.domains.choose import choose
from nas.domains.networks import fits, source_of, space_of
from nas.engine.machine.hardware import lack
from nas.engine.machine.peers import several
from nas.engine.progress import duration
from nas.errors import require
from nas.genotype import Genotype
from nas.measure.auto_rules import (
    EVALUATION,
    FORESEEN,
    SEARCH,
    Phase,
    batch_for,
    begin_at,
    rescale_epochs,
    rungs_of,
)
from nas.printable import shown
from nas.reading.plain import is_number
from nas.running.config import typed_keys
from nas.running.session import MINUTES as MOST_MINUTES

log = logging.getLogger(__name__)
# That timing the steps of one size may take.
SECONDS = 6.0
# Of `time`, what steps may take: starting, checkpoints and pictures take the rest.
SHARE = 0.85


@dataclass
class Choice:
    """What was chosen of one phase.

    Attributes:
        numbers: key -> value.
        seconds: what its steps will take; None where it is not known.
        why: how they are known, or why not.
    """

    numbers: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    why: str = ""


def settle_sizes(config: DictConfig, command: str, genotype: Genotype | None = None) -> dict[str, Any]:
    """Puts plain numbers in the place of `size=auto`, in place, and says which.

    Args:
        config: of a search or an evaluation that begins.
        command: `search` or `evaluate`.
        genotype: that is evaluated.

    Returns:
        What `summary.json` says of it; nothing where sizes are as configured.

    Raises:
        ConfigError: `size` or `time` cannot be used, or the time is too short for what it was typed for.
    """
    size, typed = config.get("size"), typed_keys()
    require(
        size in (None, "auto"), f"size={shown(str(size))}: must be auto, or null for the configured sizes"
    )
    if size is None:
        require("time" not in typed, f"time={config.get('time')}: only with size=auto")
        return {}
    minutes = config.time
    require(
        is_number(minutes, 0, MOST_MINUTES) and minutes > 0,
        f"time={shown(str(minutes))}: must be a number of minutes above 0, at most {MOST_MINUTES:,}",
    )
    with torch.random.fork_rng(devices=[]), open_dict(config):
        config.size = None
        found, source = {}, source_of(config)
        if command == "search":
            found["search"] = _Sizing(config, source, SEARCH, minutes, apart=True).choose()
            found["evaluate"] = _Sizing(
                _as_evaluation(config), source, FORESEEN, minutes, apart=False
            ).choose()
            for key, value in found["evaluate"].numbers.items():
                OmegaConf.update(config, key, value)
        else:
            found["evaluate"] = _Sizing(config, source, EVALUATION, minutes, True, genotype).choose()
    _tell(found, minutes, command)
    return {
        "sized_for_minutes": minutes,
        "sized": {name: choice.numbers for name, choice in found.items()},
        "sized_seconds": {name: choice.seconds for name, choice in found.items()},
    }


def _one_of_several(hardware: DictConfig) -> str:
    """Why seconds that this process measures would not do for all: empty where it is alone."""
    if several(hardware):
        return "of several processes, which must be alike, and so by the data alone"
    job = HydraConfig.get()
    swept = job.mode == RunMode.MULTIRUN or not OmegaConf.is_missing(job.job, "num")
    return "of several jobs, which must be alike, and so by the data alone" if swept else ""


def _as_evaluation(config: DictConfig) -> DictConfig:
    """The evaluation that follows a search, as far as its steps depend on it."""
    trained = config.copy()
    trained.dataset.batch_size = trained.recipe.batch_size
    trained.dataset.valid = 0.0
    trained.trainer.max_epochs = trained.recipe.epochs
    trained.trainer.limit_train_batches = 1.0
    return trained


class _Sizing:
    """The choice of one phase; see the module.

    Args:
        config: changed in place.
        source: the data set.
        phase: what is sized.
        minutes: it may take.
        apart: whether its network has sizes of its own, which are then chosen.
        genotype: what an evaluation trains.
    """

    def __init__(
        self,
        config: DictConfig,
        source: Any,
        phase: Phase,
        minutes: float,
        apart: bool,
        genotype: Genotype | None = None,
    ):
        self.config, self.phase, self.minutes, self.genotype = config, phase, minutes, genotype
        self.typed = typed_keys()
        space, self.source = space_of(config), source
        self.domain = choose(space, self.source)
        self.group = "recipe" if phase is not SEARCH and fits(config, space) else "space"
        self.apart = apart or self.group == "recipe"
        self.partial = getattr(space, "partial", None) or 1
        self.choice = Choice()

    def choose(self) -> Choice:
        """Chooses and sets what was not typed."""
        config, choice = self.config, self.choice
        amount = self.domain.amount(self.source)
        if amount is None:
            choice.why = "how much data there is, is not known"
            return choice
        amount = max(1, int(amount * config.dataset.get("fraction", 1.0)))
        rungs = self._rungs(amount)
        batch = None if self._decided(self.phase.batch_keys) else self._batch(amount, rungs[0])
        epochs = not self._decided(self.phase.epoch_keys)
        self._set(rungs[0])
        if batch:
            self._set({self.phase.batch_keys[0]: batch})
        alike = _one_of_several(config.hardware) or lack(config.hardware)
        if alike:
            require("time" not in self.typed, f"time={self.minutes:g}: sizes are {alike}; leave time out")
            choice.why = alike
        elif epochs or len(rungs) > 1:
            self._time(rungs, amount, epochs)
        return choice

    def _rungs(self, amount: int) -> Sequence[Mapping[str, Any]]:
        """The sizes to be tried, from the one that suits the amount of data down; what was typed stays."""
        config = self.config
        stages = config.method.get("stages") or () if self.phase is SEARCH else ()
        multiples = [self.partial, *(stage["partial"] for stage in stages)]
        ladder = rungs_of(config[self.group], self.phase, multiples) if self.apart else []
        budget = any(value is not None for value in (config.get("budget") or {}).values())
        left: list[Mapping[str, Any]] = []
        for rung in ladder[min(begin_at(self.domain.name, amount), len(ladder) - 1) :] if ladder else ():
            kept = {f"{self.group}.{name}": value for name, value in rung.items()}
            kept = {key: value for key, value in kept.items() if key not in self.typed}
            if budget:
                # The width is what keeps it.
                kept.pop("recipe.init_channels", None)
            left += [] if kept in left else [kept]
        return left or [{}]

    def _batch(self, amount: int, rung: Mapping[str, Any]) -> int:
        """As large as the data suggest, and as fits the memory beside the largest network of the ladder."""
        tried = self.config.copy()
        for key, value in rung.items():
            OmegaConf.update(tried, key, value)
        if self.phase is SEARCH:
            amount = int(amount * self.config.dataset.split_ratio)
        limit = room(self.config.hardware, alone=not _one_of_several(self.config.hardware))
        if limit is None:
            most = None
        elif self.phase is SEARCH:
            most = largest_search_batch(tried, limit, self.source)
        else:
            most = largest_training_batch(tried, limit, self.source, self.genotype)
        require(
            most is None or most >= SMALLEST,
            f"size=auto: not even {SMALLEST} {self.domain.unit}s a step fit the memory that is free with "
            f"{' '.join(_words(rung)) or 'these sizes'}; type smaller ones",
        )
        return batch_for(self.domain.name, amount, most)

    def _time(self, rungs: Sequence[Mapping[str, Any]], amount: int, free: bool) -> None:
        """Takes the first sizes of which enough epochs fit into the time, and as many epochs as fit."""
        planned, seconds = int(self.config.trainer.max_epochs), 60 * self.minutes * SHARE
        workers = self.config.dataset.get("num_workers", 0)
        reading = reading_seconds(self.source, workers) * self.phase.read * amount
        least = min(self.phase.least, planned) if free else planned
        each = 0.0
        for rung in rungs:
            self._set(rung)
            # The first time something may be compiled, which no later step pays for.
            for _ in range(2):
                whole, self.choice.why = self._price()
                if whole is not None:
                    break
            if whole is None:
                self._unknown()
                return
            each = whole / planned + reading
            if least * each <= seconds:
                break
        if least * each > seconds:
            self._too_short(least, each)
        taken = max(least, min(planned, int(seconds / each) if each else planned)) if free else planned
        self.choice.seconds = taken * each
        if not free:
            return
        if self.phase is SEARCH:
            rescale_epochs(self.config, taken, self.typed)
        self._set({self.phase.epoch_keys[0]: taken})

    def _price(self) -> tuple[float | None, str]:
        if self.phase is SEARCH:
            return search_price(self.config, SECONDS, self.source)
        return training_price(self.config, SECONDS, self.genotype, self.source)

    def _unknown(self) -> None:
        words = f"time={self.minutes:g}: {self.choice.why}"
        require("time" not in self.typed, f"{words}; so type sizes and epochs, and leave time out")
        log.warning("%s; epochs are as configured", words)

    def _too_short(self, least: int, each: float) -> None:
        words = (
            f"time={self.minutes:g}: {least} epochs of the smallest {self.phase.what} take about "
            f"{duration(least * each / SHARE)} on this device"
        )
        require("time" not in self.typed, f"{words}; give it that long, or type sizes and epochs")
        log.warning("%s", words)

    def _decided(self, keys: Sequence[str]) -> bool:
        return any(one == key or one.startswith(f"{key}.") for one in self.typed for key in keys)

    def _set(self, numbers: Mapping[str, Any]) -> None:
        for key, value in numbers.items():
            OmegaConf.update(self.config, key, value)
        self.choice.numbers |= numbers


def _words(numbers: Mapping[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in numbers.items()]


def _tell(found: Mapping[str, Choice], minutes: float, command: str) -> None:
    for name, choice in found.items():
        words = " ".join(_words(choice.numbers)) or "everything was typed"
        takes = f"about {duration(choice.seconds)}" if choice.seconds is not None else choice.why
        later = "" if name == command else " later"
        log.info("size=auto, time=%g: %s%s: %s (%s)", minutes, name, later, words, takes)
