"""The monitors of a search: told what each epoch has measured, and what comes of what they decide.

A search that a monitor ends is a finished one. That it has ended, and which epoch its result is of, lies in
its last checkpoint, so that a run that is killed before it is summed up does not go on searching.
"""

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.engine import checkpoints
from nas.errors import ConfigError, require
from nas.methods.monitors import Decision, Monitor, Seen
from nas.methods.monitors.eigenvalue import EIGENVALUE
from nas.reading.json_text import read_object
from nas.reading.plain import is_whole, read_key

log = logging.getLogger(__name__)
# Of a checkpoint.
KEY = "monitors"
# Measured of the weight optimiser, and no column of a table.
SETTINGS = ("weight_decay",)


@dataclass(frozen=True)
class Back:
    """Where a search goes back to.

    Attributes:
        epoch: goes on after this one, counted from 0.
        scale: what settings of the weight optimiser are multiplied with.
        record: as the summary tells it.
    """

    epoch: int
    scale: Mapping[str, float]
    record: Mapping[str, Any]


class Watch:
    """Tells monitors of each epoch, and holds what they have decided.

    Args:
        monitors: by the names of the configuration.

    Attributes:
        values: of the present epoch, by the columns of `metrics.csv`.
        ended_by: the monitor that has ended the search, and why; None while it goes on.
        result: the epoch that the result is of; None for the last one.
        back: where to go back to, before anything else; never in a checkpoint.
        went_back: each time that it has, as the summary tells it.
    """

    def __init__(self, monitors: Mapping[str, Monitor]):
        self.monitors = monitors
        self.values: Mapping[str, Any] = {}
        self.ended_by: str | None = None
        self.result: int | None = None
        self.back: Back | None = None
        self.went_back: list[dict[str, Any]] = []

    def wants(self, name: str, epoch: int) -> bool:
        """Whether a monitor wants this measured at the end of an epoch."""
        return any(name in monitor.needs and monitor.due(epoch) for monitor in self.monitors.values())

    @property
    def stops(self) -> bool:
        """Whether the training ends here, to be summed up or to go back."""
        return self.ended_by is not None or self.back is not None

    def end_epoch(self, seen: Seen) -> None:
        """Asks those that have what they need; the first that stops or goes back is followed."""
        decisions: dict[str, Decision] = {}
        for name, monitor in self.monitors.items():
            ready = all(need in seen.values for need in monitor.needs)
            if ready and (decision := monitor.end_epoch(seen)) is not None:
                decisions[name] = decision
        for decision in decisions.values():
            self.result = self.result if decision.result is None else decision.result
        for name, decision in decisions.items():
            where = f"method.monitors.{name}"
            if decision.back_to is not None:
                self.back = self._back(name, decision, decision.back_to, seen)
                log.info("%s: back to epoch %d (%s)", where, decision.back_to, _words(decision.scale))
                return
            if decision.stop is not None:
                self.ended_by = f"{where}: {decision.stop}"
                self.result = self.result if decision.result is None else decision.result
                log.info("%s: the search ends after epoch %d: %s", where, seen.epoch, decision.stop)
                return

    @staticmethod
    def _back(name: str, decision: Decision, to: int, seen: Seen) -> Back:
        known = ((key, seen.values.get(key), factor) for key, factor in decision.scale.items())
        settings = {key: value * factor for key, value, factor in known if value is not None}
        return Back(to, decision.scale, {"monitor": name, "at": seen.epoch, "to": to} | settings)

    def keeps(self) -> set[int]:
        """The epochs whose checkpoints are needed yet."""
        kept = {epoch for monitor in self.monitors.values() for epoch in monitor.keeps()}
        return kept if self.result is None else kept | {self.result}

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "states": {name: monitor.state() for name, monitor in self.monitors.items()},
            "ended_by": self.ended_by,
            "result": self.result,
            "went_back": self.went_back,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from what a checkpoint holds.

        Raises:
            ConfigError: it is that of other monitors, or damaged.
        """
        try:
            for name, monitor in self.monitors.items():
                monitor.restore(state["states"][name])
            self.ended_by = None if state["ended_by"] is None else str(state["ended_by"])
            self.result = None if state["result"] is None else int(state["result"])
            self.went_back = [dict(record) for record in state["went_back"]]
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            raise ConfigError(
                f"checkpoint: what it holds of method.monitors does not fit them ({type(error).__name__}: "
                f"{error})"
            ) from error

    def summary(self) -> dict[str, Any]:
        """What `summary.json` says of it; nothing where no monitor has acted."""
        values = {"ended_by": self.ended_by, "result_epoch": self.result, "went_back": self.went_back}
        return {key: value for key, value in values.items() if value is not None and value != []}


def leg_of_result(watch: Watch, legs: Sequence[Any], epochs: int) -> Any:
    """The one of the legs of a search of so many epochs in which its result is.

    Raises:
        ConfigError: there is no such epoch, as the checkpoint of a search that has run its length may say.
    """
    for leg in legs:
        if watch.result is not None and leg.first <= watch.result < min(leg.end, epochs):
            return leg
    raise ConfigError(
        f"checkpoint: what it holds of method.monitors is damaged: the result of the search is that of epoch "
        f"{watch.result}, and it has {epochs}"
    )


def _words(scale: Mapping[str, float]) -> str:
    return ", ".join(f"{key} times {factor:g}" for key, factor in scale.items()) or "same settings"


def check_monitors(
    monitors: Mapping[str, Monitor], measured: Collection[str], validated: Collection[str], config: Mapping
) -> None:
    """Refuses monitors that would never be told what they need.

    Args:
        monitors: of the method.
        measured: the columns of the search's `metrics.csv`.
        validated: those of them that epochs with a validation have.
        config: the whole configuration of `nas.search` as plain containers.

    Raises:
        ConfigError: it is not measured in this search, never, or cannot be.
    """
    limit, least = config["trainer"]["limit_val_batches"], config["trainer"].get("min_epochs")
    require(
        not (monitors and least),
        f"trainer.min_epochs={least}: the search is to be ended by method.monitors; null",
    )
    for name, monitor in monitors.items():
        where = f"method.monitors.{name}"
        for need in monitor.needs:
            require(
                need in measured or need in SETTINGS,
                f"{where}: needs {need}, which this search does not measure; it measures "
                f"{', '.join([*measured, *SETTINGS])}",
            )
            require(
                need not in validated or limit != 0,
                f"{where}: needs {need}, and trainer.limit_val_batches=0 leaves no batch to measure it on; "
                f"validate, or set {where}=null",
            )
        require(
            EIGENVALUE not in monitor.needs or not config["hardware"]["compile"],
            f"{where}: needs {EIGENVALUE}, and hardware.compile=true leaves a network no second derivatives",
        )


def ended(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a monitor has ended the search that a checkpoint is of."""
    state = checkpoint.get(KEY)
    return isinstance(state, Mapping) and state.get("ended_by") is not None


def go_back(folder: Path, back: Back) -> None:
    """Makes the checkpoint of an earlier epoch the newest of a run, with changed settings.

    A run that is killed in the middle of this is left with checkpoints of that epoch or later, as they were,
    and decides the same again.

    Args:
        folder: of the checkpoints.
        back: where to.

    Raises:
        ConfigError: the checkpoint is missing or damaged, or the weight optimiser has no such setting.
    """
    path = checkpoints.path_of(folder, back.epoch + 1)
    content = checkpoints.load(path)
    checkpoints.check_whole(content, back.epoch + 1, path)
    try:
        for group in content["optimizer_states"][0]["param_groups"]:
            for key, factor in back.scale.items():
                require(
                    key in group, f"method.monitors: the weight optimiser has no setting {key!r} to be scaled"
                )
                group[key] *= factor
        content[KEY]["went_back"] = [*map(dict, content[KEY]["went_back"]), dict(back.record)]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path}: what it holds of the weight optimiser or of method.monitors is damaged "
            f"({type(error).__name__}: {error}), so the search cannot go back to epoch {back.epoch}"
        ) from error
    for later in checkpoints.list_checkpoints(folder):
        if later.name > path.name:
            later.unlink()
    checkpoints.save(content, path)


def of_result(run: Path) -> tuple[Path | None, int]:
    """The checkpoint of the epoch that the result of a search is of, and how many epochs it has behind it.

    Args:
        run: its run folder; where it names no epoch, the newest checkpoint that can be read.

    Raises:
        ConfigError: it is missing, or the summary is damaged.
    """
    folder, summary = run / "checkpoints", run / "summary.json"
    content = read_object(summary) if os.path.lexists(summary) else {}
    epoch = read_key(content, "result_epoch", is_whole, "a whole number", str(summary))
    if epoch is None:
        return checkpoints.newest_readable(folder)
    path = checkpoints.path_of(folder, epoch + 1)
    require(path.is_file(), f"{path}: missing; the result of {run} is that of epoch {epoch}")
    return path, epoch + 1
