"""Trained weights that an evaluation starts from, and epochs in which those that were taken rest."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from nas.engine import checkpoints
from nas.engine.heads import Head
from nas.engine.language_evaluation import STATE
from nas.errors import ConfigError, require
from nas.printable import shown
from nas.reading.files import check_regular

log = logging.getLogger(__name__)
# Of the module that trains the network, and so of the names in its checkpoints.
NETWORK = "network."
# Names in a message; all of them are in summary.json.
LISTED = 6


@dataclass(frozen=True)
class Taken:
    """What a network was given.

    Attributes:
        file: that held the weights.
        names: of the network's tensors that were taken, parameters and running statistics.
        parameters: numbers in the parameters among them.
        anew: the network's tensors that the file lacks or has in another shape, which begin at random.
        begun: numbers in the parameters among these.
        unused: the file's tensors that the network lacks or has in another shape, or that were left.
        head: what became of the last layer; empty where nothing was to be decided.
    """

    file: Path
    names: tuple[str, ...]
    parameters: int
    anew: tuple[str, ...]
    begun: int
    unused: tuple[str, ...]
    head: str = ""

    def words(self) -> str:
        """One line for people."""
        found = f"{len(self.names)} tensors with {self.parameters:,} parameters taken from {self.file}"
        if self.anew:
            found += f"; {len(self.anew)} with {self.begun:,} begin anew: {_listed(self.anew)}"
        if self.unused:
            found += f"; {len(self.unused)} of the file not used: {_listed(self.unused)}"
        return f"{found}; {self.head}" if self.head else found

    def to_dict(self) -> dict[str, Any]:
        """For `summary.json`."""
        return {
            "from": str(self.file),
            "tensors": len(self.names),
            "parameters": self.parameters,
            "anew": list(self.anew),
            "unused": list(self.unused),
            **({"head": self.head} if self.head else {}),
        }


def _listed(names: Collection[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(shown(one, 80) for one in list(names)[:LISTED]) + (
        f" and {more} more" if more > 0 else ""
    )


def read_weights(place: Path, where: str) -> tuple[Path, dict[str, Tensor]]:
    """The weights of an evaluation network by the names in it; nothing is unpickled, no class built.

    Args:
        place: the run folder of an evaluation (its newest checkpoint that can be read), one of its
            checkpoints, or a safetensors file of `nas.export`.
        where: what a message begins with, such as `init=<file>`.

    Returns:
        The file that was read; of an evaluation of text its best weights on the validation text.

    Raises:
        ConfigError: it is none of these, or damaged.
    """
    if place.is_dir():
        return _newest(place, where)
    require(place.exists(), f"{where}: there is no such file or folder")
    if place.suffix == ".safetensors":
        return place, _safetensors(place, where)
    return place, _of_network(checkpoints.load(place), where)


def _newest(folder: Path, where: str) -> tuple[Path, dict[str, Tensor]]:
    exported = sorted(folder.glob("*.safetensors"))
    if not (folder / "checkpoints").is_dir() and len(exported) == 1:
        return exported[0], _safetensors(exported[0], where)
    for file in checkpoints.list_checkpoints(folder / "checkpoints"):
        try:
            return file, _of_network(checkpoints.load(file), where)
        except ConfigError as error:
            log.warning("warning: %s; falling back to the one before", error)
    raise ConfigError(f"{where}: this folder holds no checkpoint of nas.evaluate that can be read")


def _safetensors(file: Path, where: str) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ConfigError(f"{where}: needs safetensors (pip install -e '.[export]')") from error
    check_regular(file, where)
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"{where}: no safetensors file, or damaged ({shown(str(error), 120)})") from error


def _of_network(checkpoint: Mapping[str, Any], where: str) -> dict[str, Tensor]:
    best = (checkpoint.get(STATE) or {}).get("best") or {}
    state = {name: one for name, one in checkpoint["state_dict"].items() if name.startswith(NETWORK)}
    found = {name.removeprefix(NETWORK): one for name, one in state.items()} | dict(best.get("weights") or {})
    require(
        bool(found) and all(isinstance(one, Tensor) for one in found.values()),
        f"{where}: not one of nas.evaluate (a search's holds a supernet, not an architecture's weights)",
    )
    return found


def take(
    network: nn.Module, weights: Mapping[str, Tensor], file: Path, where: str, head: Head | None = None
) -> tuple[Taken, dict[str, Tensor]]:
    """Gives a network the weights whose names and shapes agree with its own.

    Args:
        network: is changed.
        weights: tensors by name.
        file: that held them.
        where: what a message begins with.
        head: what is to be done with the last layer; None to take it as any other.

    Returns:
        What was taken, in words and as tensors by name.

    Raises:
        ConfigError: no kernel and no matrix agrees (scales, biases and running statistics do so by chance),
            or one that does is no number.
    """
    own = network.state_dict()
    fitted, left, told = (weights, frozenset[str](), "") if head is None else head.fitted(weights)
    agree = {
        name: one
        for name, one in fitted.items()
        if name in own
        and name not in left
        and one.shape == own[name].shape
        and one.is_floating_point() == own[name].is_floating_point()
    }
    parameters = {name: one.numel() for name, one in network.named_parameters()}
    require(
        any(one.ndim > 1 for one in agree.values()),
        f"{where}: none of its {len(weights)} tensors has the name and shape of a kernel or matrix of this "
        "network: it is of another genotype, space or size (recipe.*), which run=<the evaluation's folder> "
        "would bring along",
    )
    broken = next((name for name, one in agree.items() if not bool(one.isfinite().all())), None)
    require(broken is None, f"{where}: {shown(str(broken), 80)} is nan or infinite")
    network.load_state_dict(agree, strict=False)
    anew = tuple(name for name in own if name not in agree)
    taken = Taken(
        file,
        tuple(name for name in own if name in agree),
        sum(parameters.get(name, 0) for name in agree),
        anew,
        sum(parameters.get(name, 0) for name in anew),
        tuple(name for name in weights if name not in agree),
        told,
    )
    return taken, agree


class Resting(pl.Callback):
    """Lets the weights that were taken rest for the first epochs.

    They get no gradient, so that neither descent, momentum nor weight decay moves them, and norms whose
    running statistics were taken are in evaluation mode. What begins anew trains alone, the gradient's norm
    that `recipe.clip` looks at is its own, and schedules go on.

    With one process nothing is derived for them either. With several, where every process has told the others
    at the start for which weights it will bring gradients, these are computed and let fall.

    Args:
        epochs: how many, from the first.
        names: of the tensors of the module's `network`; those of a checkpoint where the run goes on from one.
    """

    def __init__(self, epochs: int, names: Collection[str] = ()):
        self.epochs = epochs
        self.names = frozenset(names)
        self._weights: list[nn.Parameter] = []
        self._norms: list[nn.Module] = []

    def state_dict(self) -> dict[str, Any]:
        """Which they are."""
        return {"names": sorted(self.names)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes them back."""
        self.names = frozenset(state_dict["names"])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Rest begins, or ends."""
        rests = trainer.current_epoch < self.epochs
        if not rests and not self._weights:
            return
        network: nn.Module = pl_module.network
        self._weights = [one for name, one in network.named_parameters() if name in self.names]
        self._norms = [one for name, one in network.named_modules() if f"{name}.running_mean" in self.names]
        if trainer.world_size == 1:
            for weight in self._weights:
                weight.requires_grad_(not rests)
        for norm in self._norms:
            norm.train(not rests)
        if not rests:
            self._weights, self._norms = [], []
            if trainer.is_global_zero:
                log.info("epoch %d: the weights that were taken train too", trainer.current_epoch)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Without a gradient an optimiser passes a weight by, before any decay or momentum."""
        for weight in self._weights:
            weight.grad = None
