"""`init=` and `freeze_epochs=` of `nas.evaluate`: which weights a training starts from, and which rest."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from nas import genotype as genotypes
from nas.commands.described import read_described
from nas.engine import checkpoints
from nas.engine.heads import NAMES, Head, check_head, sides_of
from nas.engine.warm_start import NETWORK, Resting, Taken, read_weights, take
from nas.errors import ConfigError, require
from nas.files import subfolder
from nas.formats.description import Description, TextDescription
from nas.formats.weights import read_description
from nas.running.log_files import say
from nas.running.places import absolute
from nas.running.session import Session

log = logging.getLogger(__name__)
Described = Description | TextDescription
Outline = Mapping[str, tuple[int, ...]]
# Within a run's `checkpoints`, until the first of these is there: what was taken, so that the run goes on
# without the file that it was taken from.
KEPT = "init.ckpt"
# Its key for what was said of it, which `summary.json` has too.
TOLD = "init"


class WarmStart:
    """The weights that a training starts from.

    Args:
        session: of the evaluation.
        network: is given them, unless the run goes on from a checkpoint.
        about: what is said of the network: its genotype, and its classes or words.
        outline: more classes -> names and shapes of the tensors of the network for so many more.

    Attributes:
        taken: what was taken in this process; None where nothing was.

    Raises:
        ConfigError: they cannot be read, do not fit, or nothing would train.
    """

    def __init__(
        self, session: Session, network: nn.Module, about: Described, outline: Callable[[int], Outline]
    ):
        config, self.session = session.config, session
        self.taken: Taken | None = None
        self.epochs = config.freeze_epochs
        require(
            self.epochs == 0 or config.init is not None,
            f"freeze_epochs={self.epochs}: the weights that init= takes rest, and it is null",
        )
        check_head(config.init_head)
        require(
            config.init_head == NAMES or config.init is not None,
            f"init_head={config.init_head}: of the weights that init= takes, and it is null",
        )
        if config.init is None:
            return
        config.init = absolute(str(config.init))
        self.folder: Path = session.folder.checkpoints
        if session.resuming and checkpoints.list_checkpoints(self.folder):
            return
        where = f"init={config.init}"
        own = self.folder / KEPT
        kept = session.resuming and own.exists()
        file, weights = read_weights(own if kept else Path(config.init), where)
        # What was kept was fitted then.
        beside = None if kept else _described_beside(file)
        head = None
        if not kept:
            theirs = None if beside is None else _names(beside)
            head = Head(sides_of(outline(0), outline(1)), _names(about), theirs, config.init_head)
        self.taken, weights = take(network, weights, file, where, head)
        self.told = self.taken.to_dict()
        if kept:
            # Of the file that it was taken from.
            self.told = checkpoints.load(own).get(TOLD, self.told)
        require(
            self.epochs == 0 or any(name not in self.taken.names for name, _ in network.named_parameters()),
            f"freeze_epochs={self.epochs}: {where} has all weights of this network, so that nothing would "
            "train while they rest; leave it out",
        )
        found = None if kept else _genotype_beside(file, beside)
        if found not in (None, about.genotype):
            log.warning(
                "%s: of another genotype; what agrees in name and shape may do something else there", where
            )
        self.weights = weights

    def keep(self) -> None:
        """Writes what was taken into the run folder, before the run can be resumed."""
        if self.taken is None or not self.session.leads:
            return
        if not self.session.resuming:
            self.session.claim()
            content = {
                TOLD: self.told,
                "state_dict": {f"{NETWORK}{name}": one for name, one in self.weights.items()},
            }
            checkpoints.save(content, subfolder(self.folder) / KEPT)
        self.weights = {}

    def around(self, train: Callable[[], None]) -> None:
        """Trains, between telling what was taken and removing what checkpoints have made needless."""
        self._tell()
        train()
        if self.session.leads and self.session.config.init is not None:
            (self.folder / KEPT).unlink(missing_ok=True)

    def _tell(self) -> None:
        session = self.session
        if self.taken is None:
            if TOLD in session.earlier:
                session.summary[TOLD] = session.earlier[TOLD]
            return
        session.summary[TOLD] = self.told
        say(f"init:       {self.taken.words()}")
        if self.epochs:
            say(f"            these rest for {self.epochs} epoch{'s' if self.epochs > 1 else ''}")

    def rest(self, trainer: Any) -> None:
        """Lets them rest for the first epochs."""
        if self.epochs:
            trainer.callbacks.insert(0, Resting(self.epochs, () if self.taken is None else self.taken.names))


def _names(about: Described) -> tuple[str, ...] | None:
    return about.words if isinstance(about, TextDescription) else about.class_names


def _described_beside(file: Path) -> Described | None:
    """What a file of weights, or the run folder that it lies in, says of its network; None for nothing."""
    try:
        if file.suffix == ".safetensors":
            return read_description(file)
        return read_described(file.absolute().parent.parent)
    except ConfigError:
        return None


def _genotype_beside(file: Path, beside: Described | None) -> Any:
    """What the weights in a file belong to, where the file or its run folder says so."""
    if beside is not None or file.suffix == ".safetensors":
        return None if beside is None else beside.genotype
    stored = file.absolute().parent.parent / "genotype.json"
    return genotypes.load(stored) if stored.is_file() else None
