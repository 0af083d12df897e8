"""Random numbers that depend on the seed and the epoch alone, so that a resumed run draws the same ones."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch


def derive_seed(*numbers: int) -> int:
    """One seed from several numbers, independent of those from any others."""
    return int(np.random.SeedSequence([int(n) for n in numbers]).generate_state(1, np.uint32)[0])


def seed_run(seed: int) -> None:
    """Seeds every generator of this process and of its loaders' workers."""
    pl.seed_everything(seed, workers=True, verbose=False)


class SeedEpochs(pl.Callback):
    """Reseeds torch's generators at the start of every epoch from (seed, epoch, rank).

    Augmentation, drop-path and sampled op weights draw from them. A module may have a generator that all
    processes share (`seed_shared`), which is seeded as that of process 0. As an epoch's numbers depend on
    nothing that came before, a run that is resumed at an epoch's start continues bit by bit.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seeds the epoch."""
        self._seed(trainer, pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seeds the validation, apart from training."""
        self._seed(trainer, pl_module, 1)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seeds the test."""
        torch.manual_seed(derive_seed(self.seed, trainer.global_rank, 2))

    def _seed(self, trainer: pl.Trainer, module: Any, *part: int) -> None:
        epoch = trainer.current_epoch
        torch.manual_seed(derive_seed(self.seed, epoch, trainer.global_rank, *part))
        if trainer.world_size > 1 and hasattr(module, "seed_shared"):
            module.seed_shared(derive_seed(self.seed, epoch, 0, *part))
