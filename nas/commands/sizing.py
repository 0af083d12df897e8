"""The choice of the sizes of one phase, a search or an evaluation: see `nas.commands.auto_size`."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf, open_dict

from nas.commands.memory_room import SMALLEST, largest_search_batch, largest_training_batch, room
from nas.commands.prices import method_of, search_price, training_price
from nas.commands.reading_time import reading_seconds
from nas.domains.choose import choose
from nas.domains.networks import fits, space_of
from nas.engine.machine.hardware import lack
from nas.engine.machine.peers import several
from nas.engine.progress import duration
from nas.errors import require
from nas.genotype import Genotype
from nas.measure.auto_rules import (
    FORESEEN,
    SEARCH,
    Choice,
    Phase,
    batch_for,
    begin_at,
    lighter,
    rescale_epochs,
    rungs_of,
)
from nas.running.config import plain, typed_keys

log = logging.getLogger(__name__)
# That timing the steps of one size may take, and the most of `time` that it may.
SECONDS, PART = 6.0, 0.1
# That of the smallest may, where a busy machine could not time any.
PATIENCE = 60.0
# Of `time`, what steps may take: starting, checkpoints and pictures take the rest.
SHARE = 0.85


class Sizing:
    """The choice of one phase; see the module.

    Args:
        config: a copy, which is changed in place.
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
        """Chooses and sets what was not typed.

        Raises:
            ConfigError: a typed time is too short or of no use here, or no batch fits the memory.
        """
        with open_dict(self.config):
            return self._choose()

    def _choose(self) -> Choice:
        config, choice = self.config, self.choice
        amount = self.domain.amount(self.source)
        if amount is None:
            choice.why = "how much data there is, is not known"
            return choice
        if self.phase is SEARCH and not method_of(config, space_of(config)).trains:
            choice.why = "nothing is trained"
            return choice
        amount = max(1, int(amount * config.dataset.get("fraction", 1.0)))
        rungs = self._rungs(amount)
        batch = None if self._decided(self.phase.batch_keys) else self._batch(amount, rungs[0])
        epochs = not self._decided(self.phase.epoch_keys)
        self._set(rungs[0])
        if batch:
            self._set({self.phase.batch_keys[0]: batch})
        alike = lack(config.hardware)
        if several(config.hardware):
            alike = "of several processes, which must be alike, and so by the data alone"
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
        """As large as the data suggest, their parts hold, and fits the memory beside the largest network."""
        tried = self.config.copy()
        for key, value in rung.items():
            OmegaConf.update(tried, key, value)
        given, dataset = plain(self.config), self.config.dataset
        if self.phase is SEARCH:
            amount = int(amount * dataset.split_ratio)
            held = self.domain.smallest_part(given, self.source)
            # What is configured may be more than there is.
            tried.dataset.batch_size = min(dataset.batch_size, held or dataset.batch_size)
        else:
            held = self.domain.largest_batch(given, self.source)
            share = dataset.get("fraction", 1.0) * (1 - (dataset.get("valid") or 0.0))
            held = None if held is None else max(1, int(held * share))
        limit = room(self.config.hardware, alone=not several(self.config.hardware))
        if limit is None:
            most = None
        elif self.phase is SEARCH:
            most = largest_search_batch(tried, limit, self.source)
        else:
            most = largest_training_batch(tried, limit, self.source, self.genotype)
        sizes = " ".join(f"{key}={value}" for key, value in rung.items()) or "these sizes"
        require(
            most is None or most >= SMALLEST,
            f"size=auto: not even {SMALLEST} {self.domain.unit}s a step fit the memory that is free with "
            f"{sizes}; type smaller ones",
        )
        limits = [one for one in (most, held) if one is not None]
        return batch_for(self.domain.name, amount, min(limits, default=None))

    def _time(self, rungs: Sequence[Mapping[str, Any]], amount: int, free: bool) -> None:
        """Takes the first sizes of which enough epochs fit into the time, and as many epochs as fit."""
        planned, seconds = int(self.config.trainer.max_epochs), 60 * self.minutes * SHARE
        workers = self.config.dataset.get("num_workers", 0)
        reading = reading_seconds(self.source, workers) * self.phase.read * amount
        least = min(self.phase.least, planned) if free else planned
        if self.phase is not FORESEEN:
            log.info("size=auto: timing steps on this device, some seconds for each size that is tried")
        each, timed = 0.0, None
        for rung in rungs:
            # In proportion to multiply-adds, and small networks take longer than that.
            expected = 0.0 if timed is None else (each - reading) * lighter(rung, timed) + reading
            if least * expected > seconds and rung is not rungs[-1]:
                continue
            self._set(rung)
            whole = self._whole(SECONDS)
            if whole is None:
                # A step of a smaller network may be short enough to be timed.
                continue
            each, timed = whole / planned + reading, rung
            if least * each <= seconds:
                break
        if timed is None and 60 * PART * self.minutes > SECONDS:
            whole = self._whole(PATIENCE)
            each, timed = (0.0, None) if whole is None else (whole / planned + reading, rungs[-1])
        if timed is None:
            self._unknown()
            return
        if least * each > seconds:
            self._too_short(least, each, reading)
        taken = max(least, min(planned, int(seconds / each) if each else planned)) if free else planned
        self.choice.seconds = taken * each
        if not free:
            return
        if self.phase is SEARCH:
            rescale_epochs(self.config, taken, self.typed)
        self._set({self.phase.epoch_keys[0]: taken})

    def _whole(self, most: float) -> float | None:
        """Seconds of all epochs that are configured; None, with the reason in `choice`, if nobody knows.

        Args:
            most: seconds that finding out may take.
        """
        seconds, whole = min(most, PART * 60 * self.minutes), None
        # The first time something may be compiled, which no later step pays for.
        for _ in range(2):
            if self.phase is SEARCH:
                whole, self.choice.why = search_price(self.config, seconds, self.source)
            else:
                whole, self.choice.why = training_price(self.config, seconds, self.genotype, self.source)
            if whole is not None:
                break
        return whole

    def _unknown(self) -> None:
        words = f"time={self.minutes:g}: {self.choice.why}"
        require(not self._asked(), f"{words}; so type sizes and epochs, and leave time out")
        log.warning("%s; epochs are as configured", words)

    def _too_short(self, least: int, each: float, reading: float) -> None:
        words = (
            f"time={self.minutes:g}: {least} epochs of the smallest {self.phase.what} take about "
            f"{duration(least * each / SHARE)} on this device"
        )
        alone = self._with_one_thread()
        if alone is not None and 2 * (alone + reading) < each:
            words += (
                f", and {duration(least * (alone + reading) / SHARE)} with hardware.threads=1, because "
                "threads wait for one another where others use the processors: type that, or wait for them"
            )
        require(not self._asked(), f"{words}; give it that long, or type sizes and epochs")
        log.warning("%s", words)

    def _with_one_thread(self) -> float | None:
        """Seconds of an epoch's steps with one thread; None where there is one, or nobody knows."""
        threads = torch.get_num_threads()
        if threads == 1 or self.config.hardware.accelerator != "cpu":
            return None
        why = self.choice.why
        torch.set_num_threads(1)
        try:
            whole = self._whole(SECONDS)
        finally:
            torch.set_num_threads(threads)
            self.choice.why = why
        return None if whole is None else whole / int(self.config.trainer.max_epochs)

    def _asked(self) -> bool:
        """Whether a time was typed for this very run, and not for one that may follow it."""
        return "time" in self.typed and self.phase is not FORESEEN

    def _decided(self, keys: Sequence[str]) -> bool:
        return any(one == key or one.startswith(f"{key}.") for one in self.typed for key in keys)

    def _set(self, numbers: Mapping[str, Any]) -> None:
        for key, value in numbers.items():
            OmegaConf.update(self.config, key, value)
        self.choice.numbers |= numbers
