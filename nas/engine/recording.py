"""What a run writes after each epoch: the tables, the present genotype, and copies for the loggers."""

import logging
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl

from nas.analysis.hessian import dominant_eigenvalue
from nas.engine.loggers import log_heatmap, log_row
from nas.engine.progress import Clock, epoch_line
from nas.engine.run_folder import RunFolder, Table, write_text
from nas.genotype import Genotype
from nas.methods.agreement import implicit_agreement
from nas.spaces.space import SKIP, Space

log = logging.getLogger(__name__)


class EpochRecorder(pl.Callback):
    """Writes one row of `metrics.csv` an epoch and tells the terminal and the loggers.

    Args:
        folder: the run folder.
        clock: says how long the rest takes.
        first_epoch: rows of this epoch and later are dropped: the run was resumed before them.
        lines: whether to print a line an epoch.
    """

    columns = (
        "epoch",
        "train_loss",
        "train_accuracy",
        "valid_loss",
        "valid_accuracy",
        "learning_rate",
        "drop_path",
    )

    def __init__(self, folder: RunFolder, clock: Clock, first_epoch: int, lines: bool):
        self.folder = folder
        self.clock = clock
        self.lines = lines
        self.first_epoch = first_epoch
        self.last_row: dict[str, Any] = {}
        self.table: Table | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the tables, cut back to where the run continues."""
        if trainer.is_global_zero:
            self.table = Table(self.folder / "metrics.csv", self.columns, self.first_epoch)

    def row(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """The numbers of this epoch."""
        logged = {
            name: float(value) for name, value in trainer.callback_metrics.items() if name in self.columns
        }
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        found = {"epoch": trainer.current_epoch, **logged, "learning_rate": float(rate)}
        found |= self.extras(trainer, pl_module)
        return {name: found.get(name) for name in self.columns if name in found or name in self.kept()}

    def kept(self) -> tuple[str, ...]:
        """Columns that appear even where an epoch has no value for them."""
        return ()

    def extras(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """More numbers of this epoch."""
        return {"drop_path": pl_module.drop_path * trainer.current_epoch / max(1, trainer.max_epochs)}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning calls this before the epoch's checkpoint is saved."""
        self.last_row = self.row(trainer, pl_module)
        if not trainer.is_global_zero:
            return
        self.table.add([self.last_row])
        log_row(trainer, self.last_row)
        if self.lines:
            log.info(epoch_line(self.last_row, trainer.max_epochs, self.clock.left(trainer)))


class SearchRecorder(EpochRecorder):
    """Adds the op weights an epoch (`architecture.csv`), the present genotype, and early warnings.

    Args:
        space: derives the genotype.
        hessian: keys `every`, `mode`, `batches`, `weight_decay` of `analysis.hessian`.
        implicit_every: steps between comparisons of the two implicit terms (`implicit.csv`); 0 for never.
    """

    columns = (
        "epoch",
        "weight_loss",
        "weight_accuracy",
        "architecture_step_loss",
        "architecture_loss",
        "architecture_accuracy",
        "learning_rate",
        "num_skip",
        "hessian_eigenvalue",
    )

    def __init__(self, *args: Any, space: Space, hessian: Mapping, implicit_every: int = 0, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.space = space
        self.hessian = dict(hessian)
        self.implicit_every = implicit_every
        self.columns = (*self.columns, *(f"{group}_entropy" for group in space.groups))
        self.weights_table: Table | None = None
        self.implicit_table: Table | None = None
        self.hessian_mode: str | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        if self.hessian["every"]:
            pl_module.keep_batches = self.hessian["batches"]
        if self.implicit_every:
            pl_module.keep_batches = max(1, pl_module.keep_batches)
        if trainer.is_global_zero:
            self.weights_table = Table(
                self.folder / "architecture.csv",
                ("epoch", "group", "source", "target", "operation", "weight"),
                self.first_epoch,
                append=True,
            )
            if self.implicit_every:
                self.implicit_table = Table(
                    self.folder / "implicit.csv",
                    ("epoch", "step", "cosine", "relative_error"),
                    self.first_epoch,
                    append=True,
                )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Compares the implicit terms every so many steps."""
        if not self.implicit_every or int(pl_module.iteration) % self.implicit_every:
            return
        found = implicit_agreement(pl_module.bilevel(), *pl_module.recent_batches[-1])
        if trainer.is_global_zero:
            step = int(pl_module.iteration)
            self.implicit_table.add([{"epoch": trainer.current_epoch, "step": step, **found}])

    def extras(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Skips, entropy and curvature."""
        strengths = pl_module.method.strengths()
        genotype = self.space.derive(strengths)
        found: dict[str, Any] = {"num_skip": count_skips(genotype)}
        found |= {f"{group}_entropy": value for group, value in pl_module.method.entropy().items()}
        every = self.hessian["every"]
        if every and (trainer.current_epoch + 1) % every == 0:
            found["hessian_eigenvalue"] = self._eigenvalue(pl_module)
        if trainer.is_global_zero:
            write_text(self.folder / "genotype.json", genotype.to_json() + "\n")
            self.weights_table.add(weight_rows(self.space, strengths, trainer.current_epoch))
            log_heatmap(trainer, strengths, self.space, genotype)
        return found

    def kept(self) -> tuple[str, ...]:
        return ("hessian_eigenvalue",) if self.hessian["every"] else ()

    def _eigenvalue(self, pl_module: pl.LightningModule) -> float:
        was_training = pl_module.supernet.training
        pl_module.supernet.train()
        buffers = [b.clone() for b in pl_module.supernet.buffers()]
        losses = [lambda batch=batch: pl_module.loss(batch) for _, batch in pl_module.recent_batches]
        found = dominant_eigenvalue(
            losses, pl_module.method.alphas(), self.hessian["mode"], self.hessian["weight_decay"]
        )
        for buffer, value in zip(pl_module.supernet.buffers(), buffers, strict=True):
            buffer.copy_(value)
        pl_module.supernet.train(was_training)
        self.hessian_mode = found.mode
        return found.value


def weight_rows(space: Space, strengths: Mapping[str, Any], epoch: int) -> list[dict[str, Any]]:
    """The op weights of an epoch as rows of `architecture.csv`."""
    rows = []
    for name, group in space.groups.items():
        for (source, target), operations, weights in zip(
            group.edges, group.operations, strengths[name].tolist(), strict=True
        ):
            for operation, weight in zip(operations, weights, strict=True):
                rows.append(
                    {
                        "epoch": epoch,
                        "group": name,
                        "source": source,
                        "target": target,
                        "operation": operation,
                        "weight": weight,
                    }
                )
    return rows


def count_skips(genotype: Genotype) -> int:
    """Skip connections in the derived normal cell (or the only one): the sign of a collapsing search."""
    cells = dict(genotype.cells)
    return cells.get("normal", next(iter(cells.values()))).count(SKIP)
