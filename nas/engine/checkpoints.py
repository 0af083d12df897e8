"""Checkpoints at the end of epochs, and finding one that can be read."""

import io
import logging
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from nas.engine.divergence import Diverged, first_broken
from nas.engine.measured import Measured
from nas.errors import ConfigError, require
from nas.files import subfolder, write_bytes
from nas.printable import shown
from nas.reading.files import check_regular
from nas.reading.plain import is_whole, read_key

log = logging.getLogger(__name__)
PATTERN = re.compile(r"epoch=([0-9]{1,9})\.ckpt")


def _list_of(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(item, kind) for item in value)


# What weights are kept in where training is in nothing else; other precisions keep float32.
WHOLLY = {
    "64": torch.float64, "64-true": torch.float64, "16-true": torch.float16, "bf16-true": torch.bfloat16,
}  # fmt: skip
# Without these a run would go on from its start, or with fresh optimisers, and say nothing of it.
NEEDED = ("epoch", "global_step", "optimizer_states", "lr_schedulers", "loops")
UNFIT = "checkpoint {path}: it does not fit the network that config.yaml describes"
# What is read of a checkpoint beside its weights: key, whether a value fits, what does in words.
CONTENT = (
    ("epoch", is_whole, "a whole number"),
    ("global_step", is_whole, "a whole number"),
    ("optimizer_states", _list_of(dict), "a list of mappings"),
    ("lr_schedulers", _list_of(dict), "a list of mappings"),
    ("loops", lambda value: isinstance(value, dict), "a mapping"),
    ("callbacks", lambda value: isinstance(value, dict), "a mapping"),
    ("monitors", lambda value: isinstance(value, dict), "a mapping"),
    ("frozen", _list_of(str), "a list of names"),
)


class EpochCheckpoints(Checkpoint):
    """Saves through Lightning every few epochs, after the last and where a run stops; keeps the newest few.

    A module may name further epochs whose checkpoints it needs (`needed_epochs`), and say of an epoch that it
    is given up (`gives_up`), which leaves no checkpoint. Lightning calls this after every other callback, so
    an epoch's tables are on disk before its checkpoint is.

    Args:
        folder: where checkpoints go.
        every: epochs between checkpoints.
        keep: how many to keep.

    Raises:
        ConfigError: a number is below 1.
    """

    def __init__(self, folder: Path, every: int = 1, keep: int = 2):
        require(every >= 1, f"checkpoint.every={every}: must be at least 1")
        require(keep >= 1, f"checkpoint.keep={keep}: must be at least 1")
        self.folder = folder
        self.every = every
        self.keep = keep

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Deletes what a run has left that was killed between saving and deleting."""
        if trainer.ckpt_path is not None and trainer.is_global_zero:
            self._delete_before(Path(trainer.ckpt_path), self._needed(pl_module))

    def _needed(self, pl_module: pl.LightningModule) -> set[Path]:
        assert isinstance(pl_module, Measured)
        return {path_of(self.folder, epoch + 1) for epoch in pl_module.needed_epochs()}

    def _delete_before(self, newest: Path, needed: set[Path]) -> None:
        """Keeps the newest few, counted from one that can be read."""
        known = list_checkpoints(self.folder)
        for old in known[known.index(newest) + self.keep :] if newest in known else ():
            if old not in needed:
                old.unlink(missing_ok=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves, then deletes what is older than the newest few."""
        done = trainer.current_epoch + 1
        assert isinstance(pl_module, Measured)
        needed = self._needed(pl_module)
        path = path_of(self.folder, done)
        last = done == trainer.max_epochs or trainer.should_stop
        if pl_module.gives_up or (done % self.every and not last and path not in needed):
            return
        refuse_broken(pl_module, trainer.current_epoch)
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            self._delete_before(path, needed)
        # The next stage of a search begins with every process reading the newest.
        trainer.strategy.barrier("checkpoint")


class WholeCheckpoints(TorchCheckpointIO):
    """Writes Lightning's checkpoints as all other files: whoever kills the run finds whole ones only.

    Its own way takes a temporary file in the system's folder for those, where a killed process leaves it, and
    makes folders that have gone.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Raises `WriteFailed` where the run's folder has gone, or the disk is full."""
        save(checkpoint, subfolder(Path(path).parent) / Path(path).name)


def save(content: Any, path: Path) -> None:
    """Writes what `torch.load` reads, whole or not at all.

    Raises:
        WriteFailed: the folder is missing or cannot be written to, or the disk is full.
    """
    # Not straight to the file: where that breaks off torch complains of its own archive and not of the disk.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getbuffer())


def refuse_broken(module: nn.Module, epoch: int) -> None:
    """Keeps weights, alpha and running statistics that are no numbers out of the checkpoints.

    Raises:
        Diverged: a parameter or a buffer is NaN or infinite.
    """
    name = first_broken(module)
    if name is not None:
        raise Diverged(f"{name} became nan or infinite at the end of epoch {epoch}")


def check_fits(module: nn.Module, path: Path, precision: str | None = None) -> None:
    """Loads a checkpoint's parameters into a module, to find out before the run whether they belong there.

    Args:
        module: is changed.
        path: of the checkpoint.
        precision: of the run that goes on, as `hardware.precision`: weights in another one are converted, and
            that is said; None where nobody is to be told.

    Raises:
        ConfigError: they are those of another network, of other edges or operations, integers, or no numbers.
    """
    words, content = UNFIT.format(path=path), load(path)
    state = content["state_dict"]
    try:
        load_into(module, state, words)
    except ConfigError as error:
        raise ConfigError(str(error).replace("checkpoint:", f"checkpoint {path}:", 1)) from error
    broken, kept = first_broken(module), len(content.get("optimizer_states", ()))
    require(broken is None, f"checkpoint {path}: {broken} is nan or infinite")
    if isinstance(module, Measured):
        wanted = module.num_optimizers
        require(kept == wanted, f"checkpoint {path}: it has the states of {kept} optimisers, not of {wanted}")
    for name, own in module.state_dict().items():
        if not isinstance(own, Tensor):
            continue
        found, kind = state[name].dtype, own.dtype
        alike = found.is_floating_point == kind.is_floating_point
        require(alike, f"{words} ({name} is {_word(found)}, not {_word(kind)})")
        kept_in = WHOLLY.get(str(precision), kind) if kind.is_floating_point else kind
        if precision is not None and found != kept_in:
            log.warning(
                "warning: checkpoint %s: its weights are %s, and hardware.precision=%s keeps %s: converted",
                path, _word(found), precision, _word(kept_in),
            )  # fmt: skip
            return


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def load_into(module: nn.Module, state: Mapping[str, Any], words: str, advice: str = "") -> None:
    """Loads parameters into a module.

    Args:
        module: is changed.
        state: tensors by name.
        words: what is said where they do not fit; the first that does not is named after them.
        advice: what is said last.

    Raises:
        ConfigError: they do not fit.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise ConfigError(f"{words} ({' '.join(lines[1:2])[:200]}){advice}") from error


def path_of(folder: Path, epochs: int) -> Path:
    """Where the checkpoint lies that has so many epochs behind it."""
    return folder / f"epoch={epochs:04d}.ckpt"


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, newest first."""
    return [path for _, path in _numbered(folder)]


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """The same, each with the epochs that it comes after."""
    matches = [(match, path) for path in folder.glob("*.ckpt") if (match := PATTERN.fullmatch(path.name))]
    numbered = [(int(match[1]), path) for match, path in matches]
    return sorted(numbered, key=lambda pair: pair[0], reverse=True)


def newest_readable(folder: Path, to_go_on: bool = False) -> tuple[Path | None, int]:
    """The newest checkpoint that loads, and how many epochs it has behind it; (None, 0) if there is none.

    Damaged ones are named in a warning and passed over.

    Args:
        folder: of the checkpoints.
        to_go_on: whether training is to go on from it, which takes more than its weights.

    Raises:
        ConfigError: there are checkpoints, but all are damaged; or, to go on, a folder is where one belongs,
            which none could be written over.
    """
    numbered = _numbered(folder)
    for epochs, path in numbered:
        require(not to_go_on or not path.is_dir(), f"checkpoint {path}: a folder; move it away, or delete it")
        try:
            content = load(path)
            if to_go_on:
                check_whole(content, epochs, path)
        except ConfigError as error:
            log.warning("warning: %s; falling back to the one before", error)
            continue
        return path, epochs
    if numbered:
        raise ConfigError(
            f"resume={folder.parent}: none of its {len(numbered)} checkpoint(s) can be read; "
            f"delete {folder} to repeat this run from its start"
        )
    return None, 0


def check_whole(content: Mapping[str, Any], epochs: int, path: Path) -> None:
    """Raises `ConfigError` where training cannot go on from what a checkpoint after so many epochs holds."""
    missing = [key for key in NEEDED if key not in content]
    require(not missing, f"checkpoint {path}: damaged (it lacks {', '.join(missing)})")
    epoch = content["epoch"]
    require(epoch == epochs - 1, f"checkpoint {path}: damaged (it is of epoch {epoch}, not {epochs - 1})")


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint, which holds plain containers and tensors only.

    Raises:
        ConfigError: the file is damaged, no regular file, or holds something else under one of Lightning's
            keys.
    """
    where = f"checkpoint {path}"
    check_regular(path, where)
    try:
        # torch checks no sums: a flipped bit would load as another weight.
        with zipfile.ZipFile(path) as archive:
            _check_stored(archive, path)
            broken = archive.testzip()
        require(broken is None, f"{where}: damaged ({broken} differs from its checksum)")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except ConfigError:
        raise
    except Exception as error:
        # Damaged bytes reach parsers that raise what they like (struct.error, IndexError, zlib.error ...).
        raise ConfigError(f"{where}: damaged ({_short(error)})") from error
    require(isinstance(checkpoint, dict) and "state_dict" in checkpoint, f"{where}: not one of Lightning's")
    state = checkpoint["state_dict"]
    require(
        isinstance(state, dict) and all(isinstance(name, str) for name in state),
        f"{where}: its state_dict must be tensors by name",
    )
    for key, fits, allowed in CONTENT:
        read_key(checkpoint, key, fits, allowed, where)
    return checkpoint


def _check_stored(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuses archives that unpack to more than they are; torch's are not compressed."""
    members = archive.infolist()
    whole = all(
        info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size for info in members
    )
    require(
        whole and sum(info.file_size for info in members) <= path.stat().st_size,
        f"checkpoint {path}: damaged (its archive unpacks to more than the file holds)",
    )


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return shown(lines[0], 120) if lines else type(error).__name__
