"""Lightning's Trainer from a hardware profile, and what its exceptions mean."""

import inspect
import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from PIL import Image
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.trainer.states import TrainerStatus
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from nas.engine.checkpoints import EpochCheckpoints, WholeCheckpoints
from nas.engine.measured import Measured
from nas.engine.progress import Bar, Clock, wants_bar
from nas.engine.seeding import SeedEpochs
from nas.errors import ConfigError, require, require_whole

log = logging.getLogger(__name__)


# What `build_trainer` says itself.
OURS = (
    "self",
    "accelerator",
    "strategy",
    "devices",
    "num_nodes",
    "precision",
    "plugins",
    "logger",
    "enable_checkpointing",
    "enable_model_summary",
    "num_sanity_val_steps",
    "gradient_clip_val",
    "deterministic",
    "benchmark",
    "use_distributed_sampler",
)


class Stopped(Exception):
    """The run was interrupted by Ctrl-C or a signal, or its time is up; it can be resumed."""


class OutOfTime(Stopped):
    """The run has used up its `time_limit`."""


def quiet() -> None:
    """Drops Lightning's advice and notices that mean nothing to users of this project."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("lightning").setLevel(logging.WARNING)
    # "No CUDA runtime is found": said on every machine that has a CUDA toolkit and no GPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    for message in (
        ".*does not have many workers.*",
        ".*PyTorch Profiler default schedule will be overridden.*",
        ".*Profiler clears events at the end of each cycle.*",
        ".*Starting from v1.9.0, `tensorboardX` has been removed.*",
        ".*The number of training batches.*is smaller than the logging interval.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*found in the `last_batch`.*",
        ".*treespec, LeafSpec.*",
        ".*isinstance.treespec.*",
    ):
        warnings.filterwarnings("ignore", message=message)
    # Pictures are read up to twice the size that pillow warns of, and refused in words beyond.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def trainer_class() -> type:
    """Lightning's Trainer, whose signature says what the `trainer` keys are."""
    return pl.Trainer


def trainer_arguments() -> tuple[str, ...]:
    """The arguments of Lightning's Trainer that the `trainer` keys may set."""
    return tuple(name for name in inspect.signature(pl.Trainer).parameters if name not in OURS)


def build_trainer(
    hardware: Mapping,
    trainer: Mapping,
    checkpoint: Mapping,
    folder: Path,
    seed: int,
    clock: Clock,
    callbacks: Sequence[Callback],
    clip: float | None = None,
) -> pl.Trainer:
    """Builds the Trainer.

    Args:
        hardware: the `hardware` group.
        trainer: the `trainer` keys.
        checkpoint: the `checkpoint` keys.
        folder: where checkpoints go.
        seed: reseeds every epoch.
        clock: measures epochs.
        callbacks: more callbacks, called before checkpoints are saved.
        clip: global gradient norm, for automatic optimisation only.

    Raises:
        ConfigError: Lightning does not accept a value.
    """
    for item in callbacks:
        require(
            isinstance(item, Callback),
            f"trainer.callbacks: {type(item).__module__}.{type(item).__name__} is no callback of Lightning's",
        )
    # Callbacks that write go into the run folder unless they are told otherwise.
    options: dict[str, Any] = {"default_root_dir": folder.parent} | dict(trainer)
    bar = options.pop("enable_progress_bar") and wants_bar()
    progress = [Bar(clock)] if bar else []
    epochs = options["max_epochs"]
    require_whole("trainer.max_epochs", epochs, 1)
    share = options["limit_train_batches"]
    require(
        isinstance(share, int | float) and share > 0,
        f"trainer.limit_train_batches={share}: must be above 0, a share (1.0) or a number (10) of batches",
    )
    try:
        return pl.Trainer(
            accelerator=hardware["accelerator"],
            devices=hardware["devices"],
            num_nodes=hardware["num_nodes"],
            strategy=hardware["strategy"],
            precision=hardware["precision"],
            deterministic=hardware["deterministic"],
            benchmark=hardware["benchmark"],
            gradient_clip_val=clip,
            callbacks=[
                clock,
                SeedEpochs(seed),
                *callbacks,
                *progress,
                EpochCheckpoints(folder, checkpoint["every"], checkpoint["keep"]),
            ],
            plugins=[WholeCheckpoints()],
            # Set later: opening one writes files, and everything else is to be refused before.
            logger=False,
            enable_progress_bar=bool(bar),
            enable_checkpointing=True,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            **options,
        )
    except ConfigError:
        raise
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise ConfigError(f"trainer, hardware={hardware['name']}: {error}") from error


def check_optimizers(module: pl.LightningModule, keys: str) -> None:
    """Builds the optimisers once, so that bad numbers are found before a run.

    Raises:
        ConfigError: an optimiser or schedule does not accept a value; `keys` says where it is set.
    """
    try:
        module.configure_optimizers()
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{keys}: {error}") from error


def fit(
    trainer: pl.Trainer, module: pl.LightningModule, data: pl.LightningDataModule, checkpoint: Path | None
) -> bool:
    """Trains, from a checkpoint if there is one.

    Returns:
        Whether to go on with what comes after the trainer's epochs: a callback, or a limit of Lightning's,
        may have ended the training.

    Raises:
        Stopped: Ctrl-C or SIGTERM, or the time is up.
    """
    with stoppable(trainer):
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    clocks = (c for c in trainer.callbacks if isinstance(c, Clock))  # type: ignore[attr-defined]
    if any(clock.out_of_time and trainer.current_epoch < clock.epochs for clock in clocks):
        raise OutOfTime("no time left")
    if trainer.received_sigterm:
        # It came too late for Lightning, which looks at the ends of batches and epochs.
        raise Stopped("interrupted")
    done = trainer.current_epoch
    assert trainer.max_epochs is not None  # `build_trainer` has checked it
    # In the last epoch of a stage a callback may end the whole search.
    ended = trainer.should_stop and done >= (trainer.min_epochs or 0)
    whole = done >= trainer.max_epochs and not ended
    if not (whole or (isinstance(module, Measured) and module.gives_up)):
        log.info("the training was ended after %d epochs", done)
    return whole


def test(trainer: pl.Trainer, module: pl.LightningModule, data: pl.LightningDataModule) -> dict[str, float]:
    """Tests and returns the numbers.

    Raises:
        Stopped: Ctrl-C or SIGTERM.
    """
    with stoppable(trainer):
        trainer.test(module, datamodule=data, verbose=False)
    # What Lightning returns is what it logs, which is nothing: the run's own record goes to the loggers.
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


@contextmanager
def stoppable(trainer: pl.Trainer) -> Iterator[None]:
    """Turns Lightning's way of ending the process on Ctrl-C or SIGTERM into `Stopped`.

    The run folder must be finished first.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if trainer.state.status != TrainerStatus.INTERRUPTED:
            raise
        raise Stopped("interrupted") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
