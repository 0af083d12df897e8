"""`size=auto`: sizes of networks, batches and epochs from the data, the memory and the time there is.

Amounts of data decide where on a ladder of sizes to begin, and how large a batch may be. Then a step is timed
on this device; the first network of the ladder of which enough epochs fit into `time` is taken, with as many
epochs as fit. What was typed stays. It is the default of data sets whose own file says so (`dataset.sizing`).
"""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from nas.commands.shared_sizes import in_common
from nas.commands.sizing import SHARE, Sizing
from nas.engine.progress import Clock, duration
from nas.errors import require
from nas.genotype import Genotype
from nas.measure.auto_rules import EVALUATION, FORESEEN, SEARCH, Choice, rescale_epochs
from nas.printable import shown
from nas.reading.plain import is_number
from nas.running.config import typed_keys
from nas.running.session import MINUTES as MOST_MINUTES
from nas.running.session import Session
from nas.running.words import pasted, word

log = logging.getLogger(__name__)
# What time=null stands for.
USUAL_MINUTES = 20.0
# What `summary.json` says of sizes that were chosen.
TOLD = ("sized_for_minutes", "sized", "sized_seconds")


def is_wanted(config: DictConfig) -> bool:
    """Whether sizes are to be chosen: where that was said, or where the data set's own file has it.

    Beside an experiment the data set has no say: the numbers there are that file's.

    Args:
        config: of a search or an evaluation that begins.

    Raises:
        ConfigError: neither `auto` nor null, or `dataset.sizing` was typed where it has no say.
    """
    size, node = config.get("size"), config._get_node("size")
    # By the root's own line, which nobody has said anything against.
    usual = node is not None and node._is_interpolation()
    key = "dataset.sizing" if usual else "size"
    require(
        size in (None, "auto"), f"{key}={shown(str(size))}: must be auto, or null for the configured sizes"
    )
    experiment = HydraConfig.get().runtime.choices.get("experiment")
    wanted = size is not None and not (usual and experiment is not None)
    sizing = config.dataset.get("sizing")
    require(
        "dataset.sizing" not in typed_keys() or wanted == (sizing is not None),
        f"dataset.sizing={shown(word(sizing))}: without effect beside size=, experiment=, debug= and run= or "
        f"in nas.protocol, which decide before it; say size={shown(word(sizing))} in its place",
    )
    return wanted


def settle_sizes(
    config: DictConfig, command: str, source: Any, genotype: Genotype | None = None
) -> dict[str, Any]:
    """Puts plain numbers in the place of `size=auto`, in place, and says which.

    Args:
        config: of a search or an evaluation that begins.
        command: `search` or `evaluate`.
        source: the data set.
        genotype: that is evaluated.

    Returns:
        What `summary.json` says of it; nothing where sizes are as configured.

    Raises:
        ConfigError: `size` or `time` cannot be used, or the time is too short for what it was typed for.
    """
    wanted, typed = is_wanted(config), typed_keys()
    config.size = None
    if not wanted:
        require("time" not in typed, f"time={config.get('time')}: only with size=auto")
        return {}
    minutes = USUAL_MINUTES if config.time is None else config.time
    require(
        is_number(minutes, 0, MOST_MINUTES) and minutes > 0,
        f"time={shown(str(minutes))}: must be a number of minutes above 0, at most {MOST_MINUTES:,}",
    )

    def choose() -> dict[str, Choice]:
        tried = config.copy()
        if command == "evaluate":
            return {"evaluate": Sizing(tried, source, EVALUATION, minutes, True, genotype).choose()}
        chosen = {"search": Sizing(tried, source, SEARCH, minutes, apart=True).choose()}
        later = Sizing(_as_evaluation(tried), source, FORESEEN, minutes, apart=False)
        return chosen | {"evaluate": later.choose()}

    with torch.random.fork_rng(devices=[]), open_dict(config):
        found = in_common(config, minutes, choose)
        numbers = {name: _put(config, name == "search", choice, typed) for name, choice in found.items()}
    _tell(found, numbers, minutes, command)
    if not any(numbers.values()):
        return {}
    return {
        "sized_for_minutes": minutes,
        "sized": numbers,
        "sized_seconds": {name: choice.seconds for name, choice in found.items()},
    }


def note_sizes(session: Session, source: Any, genotype: Genotype | None = None) -> None:
    """Settles the sizes of a run that begins; its summary says which, also after it was resumed.

    Raises:
        ConfigError: as `settle_sizes`.
    """
    if session.resuming:
        session.summary |= {key: session.earlier[key] for key in TOLD if key in session.earlier}
    else:
        session.summary |= settle_sizes(session.config, session.config.command, source, genotype)


def clock_of(session: Session) -> Clock:
    """The clock of a run, which says when it ends by what was timed as it was sized."""
    # What a run that goes on needs is less than was foreseen for the whole.
    told = {} if session.resuming else session.summary.get("sized_seconds", {})
    seconds = told.get(session.config.command)
    expected = None if seconds is None else seconds / SHARE
    epochs = session.config.trainer.max_epochs
    return Clock(epochs, session.deadline, expected=expected, again=session.again())


def _put(config: DictConfig, search: bool, choice: Choice, typed: set[str]) -> dict[str, Any]:
    """Sets what was chosen, in place; returns it, with what follows from it."""
    followed: dict[str, Any] = {}
    for key, value in choice.numbers.items():
        if search and key == SEARCH.epoch_keys[0]:
            followed = rescale_epochs(config, value, typed)
        else:
            OmegaConf.update(config, key, value)
    return choice.numbers | followed


def _as_evaluation(config: DictConfig) -> DictConfig:
    """The evaluation that follows a search, as far as its steps depend on it."""
    trained = config.copy()
    trained.dataset.batch_size = trained.recipe.batch_size
    trained.dataset.valid = 0.0
    trained.trainer.max_epochs = trained.recipe.epochs
    trained.trainer.limit_train_batches = 1.0
    return trained


def _tell(
    found: Mapping[str, Choice], numbers: Mapping[str, Mapping[str, Any]], minutes: float, command: str
) -> None:
    log.info(
        "size=auto time=%g: minutes for each; size=null takes the configured sizes, typed numbers stay",
        minutes,
    )
    for name, choice in found.items():
        words = pasted([f"{key}={word(value)}" for key, value in numbers[name].items()])
        takes = f"about {duration(choice.seconds)}" if choice.seconds is not None else choice.why
        later = "" if name == command else " later"
        log.info("%s%s: %s%s", name, later, words or "everything was typed", f" ({takes})" if takes else "")
