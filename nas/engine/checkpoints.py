"""Checkpoints at the end of epochs, and finding one that can be read."""

import logging
import pickle
import re
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from nas.errors import ConfigError, require

log = logging.getLogger(__name__)
PATTERN = re.compile(r"epoch=(\d+)\.ckpt")


class EpochCheckpoints(Checkpoint):
    """Saves through Lightning every few epochs and after the last, keeping the newest few.

    Lightning calls it after every other callback, so the tables of an epoch are on disk before its checkpoint is.
    """

    def __init__(self, folder: Path, every: int = 1, keep: int = 2):
        require(every >= 1, f"checkpoint.every={every}: must be at least 1")
        require(keep >= 1, f"checkpoint.keep={keep}: must be at least 1")
        self.folder = folder
        self.every = every
        self.keep = keep

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        done = trainer.current_epoch + 1
        if done % self.every and done != trainer.max_epochs:
            return
        trainer.save_checkpoint(self.folder / f"epoch={done:04d}.ckpt")
        if trainer.is_global_zero:
            for path in list_checkpoints(self.folder)[self.keep :]:
                path.unlink(missing_ok=True)


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, newest first."""
    found = [path for path in folder.glob("*.ckpt") if PATTERN.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(PATTERN.fullmatch(path.name)[1]), reverse=True)


def newest_readable(folder: Path) -> tuple[Path | None, int]:
    """The newest checkpoint that loads, and the number of epochs it has behind it; (None, 0) if there is none.

    Damaged ones are named in a warning and passed over.

    Raises:
        ConfigError: there are checkpoints, but all are damaged.
    """
    paths = list_checkpoints(folder)
    for path in paths:
        try:
            load(path)
        except ConfigError as error:
            log.warning("%s; falling back to the one before", error)
            continue
        return path, int(PATTERN.fullmatch(path.name)[1])
    if paths:
        raise ConfigError(
            f"resume={folder.parent}: none of its {len(paths)} checkpoints can be read; "
            f"delete {folder} to start this run over"
        )
    return None, 0


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint, which holds plain containers and tensors only.

    Raises:
        ConfigError: the file is damaged.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ConfigError(f"checkpoint {path}: damaged ({_short(error)})") from error
    require(
        isinstance(checkpoint, dict) and "state_dict" in checkpoint,
        f"checkpoint {path}: not one of Lightning's",
    )
    return checkpoint


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__
