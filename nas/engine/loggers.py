"""Views beside the CSV record: TensorBoard and Weights & Biases."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from nas.analysis import plots
from nas.engine.run_folder import RunFolder
from nas.errors import ConfigError
from nas.genotype import Genotype
from nas.spaces.space import Space

log = logging.getLogger(__name__)


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
    name = settings["name"]
    if name == "csv":
        return False
    if name == "tensorboard":
        return TensorBoardLogger(folder.path, name="tensorboard", version="")
    if name != "wandb":
        raise ConfigError(f"logger.name={name}: unknown logger; known are csv, tensorboard, wandb")
    # Importing it takes a second, which runs without it should not pay.
    import wandb

    tags = [job_type, config["space"]["name"], config["dataset"]["name"], *settings["tags"]]
    if "method" in config:
        tags.append(config["method"]["name"])
    logger = WandbLogger(
        save_dir=folder.path,
        name=folder.path.name,
        offline=settings["offline"],
        project=settings["project"],
        entity=settings["entity"],
        group=settings["group"],
        job_type=job_type,
        tags=tags,
        config=dict(config),
        # The default of 90 s looks like a hanging run to someone without a network.
        settings=wandb.Settings(init_timeout=30, silent=True),
    )
    try:
        _ = logger.experiment
    except Exception as error:
        if type(error).__module__.split(".")[0] != "wandb":
            raise
        raise ConfigError(
            f"logger=wandb: cannot start ({error}); log in with `wandb login`, or set logger.offline=true"
        ) from error
    return logger


def close_logger(
    logger: Logger | bool | None, summary: Mapping, pictures: Sequence[Path], failed: bool
) -> None:
    """Hands summary and pictures to the logger and closes it, whatever became of the run."""
    if isinstance(logger, WandbLogger):
        for key, value in summary.items():
            if isinstance(value, int | float | str | bool):
                logger.experiment.summary[key] = value
        for picture in pictures:
            logger.log_image(picture.stem, [str(picture)])
        logger.experiment.finish(exit_code=int(failed))
    elif isinstance(logger, Logger) and Path(logger.save_dir or "").is_dir():
        # In a run folder that has gone it would make another one.
        numbers = {k: v for k, v in summary.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        logger.log_metrics({f"summary/{name}": value for name, value in numbers.items()})
        logger.finalize("failed" if failed else "success")


def log_row(trainer: pl.Trainer, row: Mapping[str, Any]) -> None:
    """Copies an epoch's row to the logger; the step is the epoch's last."""
    if trainer.logger is not None:
        numbers = {name: value for name, value in row.items() if value is not None}
        trainer.logger.log_metrics(numbers, step=trainer.fit_loop.epoch_loop.total_batch_idx + 1)


def log_heatmap(trainer: pl.Trainer, strengths: Mapping[str, Any], space: Space, genotype: Genotype) -> None:
    """Sends the op weights and the present genotype as pictures to wandb; no other logger wants them."""
    if not isinstance(trainer.logger, WandbLogger):
        return
    groups = space.groups
    with tempfile.TemporaryDirectory() as folder:
        weights, cells = Path(folder, "op_weights.png"), Path(folder, "genotype.png")
        plots.draw_op_weights(
            {name: strengths[name].tolist() for name in groups},
            {name: group.operations for name, group in groups.items()},
            {name: group.edges for name, group in groups.items()},
            weights,
            title=f"epoch {trainer.current_epoch}",
        )
        plots.draw_genotype(genotype, cells, title=f"epoch {trainer.current_epoch}")
        trainer.logger.log_image("op_weights", [str(weights)])
        trainer.logger.log_image("genotype", [str(cells)])
