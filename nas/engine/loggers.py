"""Views beside the CSV record: TensorBoard and Weights & Biases."""

import importlib.util
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from matplotlib.image import imread
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from nas.analysis import plots
from nas.engine.pictures import draw_weights
from nas.engine.run_folder import RunFolder
from nas.errors import ConfigError, installation, require
from nas.genotype import Genotype
from nas.methods.method import Method
from nas.spaces.space import Space

log = logging.getLogger(__name__)
# Loggers whose packages are extras of the same names.
EXTRAS = ("tensorboard", "wandb")
LOG_IN = "log in with `wandb login`, or set logger.offline=true"


# The logger that the caller's Python gave, in the place of the configured one.
GIVEN: ContextVar[Logger | None] = ContextVar("given", default=None)


@contextmanager
def using(logger: Logger | Sequence[Logger] | None) -> Iterator[None]:
    """Inside the block, and this thread, `build_logger` returns this logger, or these as one.

    Raises:
        ConfigError: it is none of Lightning's.
    """
    given: list[Any] = [] if logger is None else [logger]
    if isinstance(logger, Iterable) and not isinstance(logger, Logger):
        given = list(logger)
    for item in given:
        require(
            isinstance(item, Logger),
            f"logger: {type(item).__module__}.{type(item).__qualname__} is no logger of Lightning's",
        )
    token = GIVEN.set(given[0] if len(given) == 1 else Several(given) if given else None)
    try:
        yield
    finally:
        GIVEN.reset(token)


class Several(Logger):
    """Loggers of Lightning's that are told the same."""

    def __init__(self, loggers: Sequence[Logger]):
        super().__init__()
        self.loggers = tuple(loggers)

    @property
    def name(self) -> str | None:
        """The names of all."""
        return "_".join(str(logger.name) for logger in self.loggers)

    @property
    def version(self) -> str:
        """The versions of all."""
        return "_".join(str(logger.version) for logger in self.loggers)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        for logger in self.loggers:
            logger.log_metrics(metrics, step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        for logger in self.loggers:
            logger.log_hyperparams(params, *args, **kwargs)

    def save(self) -> None:
        for logger in self.loggers:
            logger.save()

    def finalize(self, status: str) -> None:
        for logger in self.loggers:
            logger.finalize(status)


def check_logger(name: str, offline: bool = False) -> None:
    """Refuses a logger whose package, an extra of the same name, is missing, or that nobody is logged in to.

    Args:
        name: of the logger.
        offline: whether it sends nothing.

    Raises:
        ConfigError: with the command that installs it.
    """
    require(
        name not in EXTRAS or importlib.util.find_spec(name) is not None,
        f"logger={name}: {name} is not installed; {installation(name)}",
    )
    if name == "wandb" and not offline and os.environ.get("WANDB_MODE", "online") == "online":
        import wandb

        with _in_words():
            known = wandb.login(prompt=False)
        require(known, f"logger=wandb: no account is known on this machine; {LOG_IN}")


@contextmanager
def _in_words() -> Iterator[None]:
    """Makes a user's mistake of what wandb raises."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.split(".")[0] != "wandb":
            raise
        raise ConfigError(f"logger=wandb: cannot start ({error}); {LOG_IN}") from error


def build_logger(settings: Mapping, folder: RunFolder, config: Mapping, job_type: str) -> Logger | bool:
    """Builds the chosen logger; False for `csv`, which every run writes anyway.

    Args:
        settings: the `logger` group.
        folder: the run folder; loggers write inside it.
        config: the whole configuration as plain containers, stored with the run.
        job_type: `search` or `evaluate`.

    Raises:
        ConfigError: the logger is unknown or cannot start.
    """
    given = GIVEN.get()
    if given is not None:
        given.log_hyperparams(dict(config))
        return given
    name = settings["name"]
    if name == "csv":
        return False
    if name == "tensorboard":
        return TensorBoardLogger(folder.path, name="tensorboard", version="", default_hp_metric=False)
    if name != "wandb":
        raise ConfigError(f"logger.name={name}: unknown logger; known are csv, tensorboard, wandb")
    # Importing it takes a second, which runs without it should not pay.
    import wandb

    tags = [job_type, config["space"]["name"], config["dataset"]["name"], *settings["tags"]]
    if "method" in config:
        tags.append(config["method"]["name"])
    logger = WandbLogger(
        save_dir=folder.path,
        name=folder.title,
        offline=settings["offline"],
        project=settings["project"],
        entity=settings["entity"],
        group=settings["group"] or (folder.sweep.name if folder.sweep else None),
        job_type=job_type,
        tags=list(dict.fromkeys(tags)),
        notes=_notes(config, job_type, folder),
        config=dict(config),
        # The default of 90 s looks like a hanging run to someone without a network.
        settings=wandb.Settings(init_timeout=30, silent=True),
    )
    with _in_words():
        _ = logger.experiment
    return logger


def _notes(config: Mapping, job_type: str, folder: RunFolder) -> str:
    """What a run is, in a line that people read beside its name."""
    chosen = {key: config[key]["name"] for key in ("method", "space", "dataset", "recipe") if key in config}
    chosen |= {"seed": config["seed"]} if "seed" in config else {}
    words = " ".join(f"{key}={value}" for key, value in chosen.items())
    return f"nas.{job_type} {words} in {folder.title}"


def close_logger(
    logger: Logger | bool | None,
    config: Mapping,
    summary: Mapping,
    pictures: Sequence[Path],
    failed: bool,
) -> None:
    """Hands settings, summary and pictures to the logger and closes it, whatever became of the run.

    Args:
        logger: what `build_logger` returned.
        config: the whole configuration as plain containers, of which TensorBoard makes hyperparameters.
        summary: of the run.
        pictures: its files.
        failed: whether the run broke down.
    """
    plain = {k: v for k, v in summary.items() if isinstance(v, int | float | str | bool)}
    numbers = {k: v for k, v in plain.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    if logger is not None and logger is GIVEN.get():
        # Its owner closes it.
        assert isinstance(logger, Logger)
        logger.log_metrics({f"summary/{name}": value for name, value in numbers.items()})
        logger.save()
    elif isinstance(logger, WandbLogger):
        logger.experiment.summary.update(plain)
        _log_pictures(logger, {f"figures/{picture.stem}": picture for picture in pictures})
        logger.experiment.finish(exit_code=int(failed))
    elif isinstance(logger, TensorBoardLogger) and Path(logger.save_dir).is_dir():
        # In a run folder that has gone it would make another one.
        logger.log_hyperparams(dict(config), {f"summary/{name}": value for name, value in numbers.items()})
        for name, value in plain.items():
            if name not in numbers:
                logger.experiment.add_text(f"summary/{name}", str(value))
        _log_pictures(logger, {f"figures/{picture.stem}": picture for picture in pictures})
        logger.finalize("failed" if failed else "success")


def go_back(trainer: pl.Trainer) -> None:
    """Tells TensorBoard that the run goes on from here: what it showed of later steps is repeated.

    A run that was killed in its first epoch goes on from its start.
    """
    logger = trainer.logger
    if isinstance(logger, TensorBoardLogger) and any(Path(logger.log_dir).glob("events.out.tfevents.*")):
        writer = logger.experiment
        # The writer says so at the beginning of a file.
        writer.close()
        writer.purge_step = _step(trainer) + 1


def log_row(trainer: pl.Trainer, row: Mapping[str, Any]) -> None:
    """Copies an epoch's row to the logger; the step is the epoch's last."""
    if trainer.logger is not None:
        # Lightning sends the epoch with the numbers of batches: a second one there is too many.
        left_out = {"epoch"} if isinstance(trainer.logger, TensorBoardLogger) else set()
        numbers = {k: v for k, v in row.items() if v is not None and k not in left_out}
        trainer.logger.log_metrics(numbers, step=_step(trainer))


def log_architecture(
    trainer: pl.Trainer, space: Space, method: Method, genotype: Genotype, caption: str | None = None
) -> None:
    """Sends the op weights and the genotype of an epoch as pictures, where a logger shows them."""
    if trainer.logger is None:
        return
    title = f"epoch {trainer.current_epoch}"
    with tempfile.TemporaryDirectory() as folder:
        weights, cells = Path(folder, "op_weights.png"), Path(folder, "genotype.png")
        draw_weights(weights, space, method, genotype, title, caption)
        plots.draw_genotype(genotype, cells, title=title, caption=caption)
        pictures = {"epochs/op_weights": weights, "epochs/genotype": cells}
        _log_pictures(trainer.logger, pictures, _step(trainer))


def _step(trainer: pl.Trainer) -> int:
    """The last step of the weights, from 0; Lightning's own count has those of alpha too."""
    return trainer.fit_loop.epoch_loop.total_batch_idx


def _log_pictures(logger: Logger, pictures: Mapping[str, Path], step: int | None = None) -> None:
    for name, path in pictures.items():
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [str(path)], step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, np.atleast_3d(imread(path)), step, dataformats="HWC")
