"""What a run writes after each epoch: the tables, the present genotype, and copies for the loggers."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from nas.analysis.costed import Costed
from nas.analysis.exploration import COLUMNS as EXPLORATION
from nas.analysis.exploration import explore
from nas.analysis.hessian import dominant_in_basis, resolved_mode
from nas.analysis.metrics import Metric, columns, of_losses, without_missing
from nas.analysis.surrogates import LookUp
from nas.engine.divergence import Diverged, first_broken, refuse_numbers, without_broken
from nas.engine.genotype_log import GenotypeLog
from nas.engine.learning import undecided
from nas.engine.loggers import go_back, log_architecture, log_row
from nas.engine.measured import MOVED, Measured
from nas.engine.progress import Clock, epoch_line
from nas.engine.rows import WEIGHTS, count_skips, number_of, of_groups, weight_rows
from nas.engine.run_folder import RunFolder, Table
from nas.engine.seeding import derive_seed
from nas.engine.sparsity import ALIVE, SPARSITY, sparsity_rows, totals
from nas.errors import require
from nas.files import write_text
from nas.methods.agreement import implicit_agreement
from nas.methods.functional import Trial, twice_differentiable
from nas.methods.updates import Unrolled
from nas.spaces.space import Space

log = logging.getLogger(__name__)
# Keeps the draws apart from those that an epoch's training and validation are seeded with.
EXPLORING = (0, 3)


class EpochRecorder(pl.Callback):
    """Writes one row of `metrics.csv` an epoch and tells the terminal and the loggers.

    Args:
        folder: the run folder.
        clock: says how long the rest takes.
        first_epoch: rows of this epoch and later are dropped: the run was resumed before them.
        metrics: of the task.
        tell: called with the numbers for the summary after each epoch.
        further: columns of the module's own, logged or `drop_path`.
    """

    # Columns that say nothing about the run as a whole.
    passing: tuple[str, ...] = ("epoch", "learning_rate", "drop_path", "averaging", MOVED)
    # The part of the data that only epochs with a validation measure.
    validated = "valid"

    def __init__(
        self,
        folder: RunFolder,
        clock: Clock,
        first_epoch: int,
        metrics: Sequence[Metric],
        tell: Callable[[Mapping[str, Any]], None] | None = None,
        further: tuple[str, ...] = (),
    ):
        self.metrics = metrics
        self.columns = (*self.declared(), *further)
        self.validation = columns(metrics, self.validated)
        self.folder = folder
        self.clock = clock
        self.first_epoch = first_epoch
        self.tell = tell
        self.numbers: dict[str, Any] = {}
        self._rate = 0.0
        self._validated: int | None = None
        self.table: Table | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the tables, cut back to where the run continues."""
        if trainer.is_global_zero:
            self.table = Table(self.folder / "metrics.csv", self.columns, self.first_epoch)
            for row in self.table.rows:
                self._note({name: number_of(text) for name, text in row.items() if text != ""})

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tells the logger where the run continues."""
        if trainer.is_global_zero:
            go_back(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes the learning rate before the schedule moves it on."""
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes that this epoch has numbers of its own."""
        self._validated = trainer.current_epoch

    def _note(self, row: Mapping[str, Any]) -> None:
        self.numbers |= {k: v for k, v in row.items() if v is not None and k not in self.passing}

    def row(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """The numbers of this epoch."""
        row: dict[str, Any] = {"epoch": trainer.current_epoch, **without_broken(self._logged(trainer))}
        row |= {"learning_rate": self._rate, **self.extras(trainer, pl_module)}
        return {name: row.get(name) for name in self.columns if name in row or name in self.kept()}

    def _logged(self, trainer: pl.Trainer) -> dict[str, float]:
        """What steps and validation have measured in this epoch."""
        # Lightning keeps the last number of each name; those of an earlier epoch are not this one's.
        stale = () if self._validated == trainer.current_epoch else self.validation
        stale += cast(Measured, trainer.lightning_module).unmeasured
        logged = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name in self.columns and name not in stale
        }
        return without_missing(logged | of_losses(self.metrics, logged))

    def declared(self) -> tuple[str, ...]:
        """The columns that every such run has."""
        return ("epoch", *columns(self.metrics, "train"), *columns(self.metrics, "valid"), "learning_rate")

    def kept(self) -> tuple[str, ...]:
        """Columns that appear even where an epoch has no value for them."""
        return ()

    def extras(self, trainer: pl.Trainer, pl_module: Any) -> dict[str, Any]:
        """More numbers of this epoch."""
        return {"drop_path": pl_module.drop_path_rate()} if "drop_path" in self.columns else {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Lightning calls this before the epoch's checkpoint is saved.

        Raises:
            Diverged: a number of the epoch, a weight or alpha is NaN or infinite; nothing is recorded then.
        """
        when = f"in epoch {trainer.current_epoch}"
        # A training that goes back to its best weights by itself may have had such an epoch.
        if not pl_module.goes_back:
            pl_module.guard.check(trainer.current_epoch)
            name = first_broken(pl_module)
            if name is not None:
                raise Diverged(f"{name} became nan or infinite {when}")
            refuse_numbers(self._logged(trainer), when)
        row = self.row(trainer, pl_module)
        self._note(row)
        self.clock.end_epoch(trainer)
        if not trainer.is_global_zero:
            return
        assert self.table is not None  # since the fit began
        self.table.add([row])
        if self.tell is not None:
            self.tell({**self.numbers, "epochs": trainer.current_epoch + 1})
        log_row(trainer, row)
        if self.clock.lines:
            log.info(epoch_line(row, self.clock.epochs, self.clock.left(trainer)))


def _loss(pl_module: Any, batch: Any, op_weights: dict[str, Tensor]) -> Tensor:
    # As in a step: autocast's copies of weights must not outlive a change of them.
    torch.clear_autocast_cache()
    return pl_module.task.run(pl_module.supernet, batch, op_weights).loss


class SearchRecorder(EpochRecorder):
    """Adds the op weights and the genotype of each epoch, the present genotype, and early warnings.

    Args:
        space: derives the genotype.
        hessian: keys `every`, `mode`, `batches`, `weight_decay` of `analysis.hessian`.
        implicit_every: steps between comparisons of the two implicit terms (`implicit.csv`); 0 for never.
        tabular: looks the present genotype up; None for no table.
        costed: says what the present genotype costs; None for no cost.
        samples: architectures to draw and look up after each epoch (`exploration.csv`); 0 for none.
        seed: of those draws.
        sparse: whether the method drops candidates one by one: then what is alive is counted
            (`sparsity.csv`), and there is no entropy.
        earlier: the summary of the run that is continued, of which the tables do not say everything.
        caption: of the pictures that go to a logger.
    """

    validated = "architecture"

    def __init__(
        self,
        *args: Any,
        space: Space,
        hessian: Mapping,
        implicit_every: int = 0,
        tabular: LookUp | None = None,
        costed: Costed | None = None,
        samples: int = 0,
        seed: int = 0,
        sparse: bool = False,
        earlier: Mapping[str, Any] | None = None,
        caption: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        for key, least in (("every", 0), ("batches", 1)):
            value = hessian[key]
            require(
                isinstance(value, int) and value >= least,
                f"analysis.hessian.{key}={value}: must be a whole number of at least {least}",
            )
        require(
            hessian["mode"] in ("auto", "exact", "lanczos"),
            f"analysis.hessian.mode={hessian['mode']}: unknown; known are auto, exact, lanczos",
        )
        require(
            isinstance(implicit_every, int) and implicit_every >= 0,
            f"analysis.implicit.every={implicit_every}: must be a whole number of at least 0",
        )
        self.space = space
        self.hessian = dict(hessian)
        self.implicit_every = implicit_every
        self.tabular = tabular
        self.costed = costed
        self.samples = samples
        self.seed = seed
        self.sparse = sparse
        self.columns += ALIVE if sparse else tuple(f"{group}_entropy" for group in space.groups)
        looked_up = [one.columns for one in (tabular, costed) if one is not None]
        # What is looked up, and may be left blank; the summary has more of it than a row.
        self.looked_up = tuple(name for names in looked_up for name in names)
        self.columns += self.looked_up
        self.passing += self.looked_up
        # Of the leading process, from when a fit begins.
        self.weights_table: Table
        self.genotypes: GenotypeLog
        self.implicit_table: Table
        self.exploration_table: Table
        self.sparsity_table: Table
        self._began = 0.0
        self.caption = caption
        self.earlier = dict(earlier or {})
        self.eigenvalues: tuple[str, ...] = ()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Opens the tables, and asks the module to keep the batches that the extras need."""
        watchers = pl_module.monitoring.monitors.values()
        if any(watcher.compares_gradients for watcher in watchers):
            self.columns = tuple(dict.fromkeys((*self.columns, "frozen")))
        if self.hessian["every"] or any("hessian_eigenvalue" in watcher.needs for watcher in watchers):
            pl_module.keep_batches = self.hessian["batches"]
            _, *others = pl_module.method.bases()
            self.eigenvalues = ("hessian_eigenvalue", *(f"hessian_eigenvalue_{label}" for label in others))
        of_method = of_groups("concentration", pl_module.method.concentrations())
        of_method |= pl_module.method.spending()
        self.columns = tuple(dict.fromkeys((*self.columns, *self.eigenvalues, *of_method)))
        super().on_fit_start(trainer, pl_module)
        if "hessian_eigenvalue" in self.numbers:
            self._curvature(pl_module, self.earlier.get("hessian_mode"))
        if trainer.is_global_zero:
            table = self.folder / "architecture.csv"
            self.weights_table = Table(table, WEIGHTS, self.first_epoch, append=True)
            self.genotypes = GenotypeLog(self.folder.path, self.first_epoch)
            if self.implicit_every:
                self.implicit_table = Table(
                    self.folder / "implicit.csv",
                    ("epoch", "step", "cosine", "relative_error"),
                    self.first_epoch,
                    append=True,
                )
            if self.sparse:
                self.sparsity_table = Table(
                    self.folder / "sparsity.csv", SPARSITY, self.first_epoch, append=True
                )
            if self.samples:
                self.exploration_table = Table(
                    self.folder / "exploration.csv", EXPLORATION, self.first_epoch, append=True
                )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Notes the learning rate and the time."""
        super().on_train_epoch_start(trainer, pl_module)
        self._began = time.monotonic()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Compares the implicit terms every so many steps, just where the search is about to use them."""
        step = pl_module.iteration + 1
        if not self.implicit_every or step % self.implicit_every:
            return
        update = pl_module.method.update
        settings: dict[str, Any] = (
            {"epsilon": update.epsilon, "xi": update.xi, "momentum": update.momentum}
            if isinstance(update, Unrolled)
            else {}
        )
        agreement = implicit_agreement(pl_module.bilevel(), *pl_module.parts(batch), **settings)
        if trainer.is_global_zero:
            self.implicit_table.add([{"epoch": trainer.current_epoch, "step": step, **agreement}])

    def row(self, trainer: pl.Trainer, pl_module: Any) -> dict[str, Any]:
        """The numbers of this epoch, which monitors are told too."""
        pl_module.monitoring.values = row = super().row(trainer, pl_module)
        return row

    def go_to(self, epoch: int) -> None:
        """Sums up as of an epoch that lies behind."""
        if self.table is None:
            return  # in all processes but the leading one
        self.numbers = {}
        for row in self.table.rows:
            if int(row["epoch"]) <= epoch:
                self._note(
                    {name: number_of(str(value)) for name, value in row.items() if value not in ("", None)}
                )

    def declared(self) -> tuple[str, ...]:
        """The columns that every search has."""
        weight, architecture = columns(self.metrics, "weight"), columns(self.metrics, "architecture")
        further = ("learning_rate", "num_skip", "hessian_eigenvalue")
        return ("epoch", *weight, MOVED, *architecture, *further)

    def extras(self, trainer: pl.Trainer, pl_module: Any) -> dict[str, Any]:
        """Skips, entropy, concentrations, curvature, and what the table says."""
        strengths, scores = pl_module.method.strengths(), pl_module.method.scores()
        # What derivation makes of an alpha that has learnt nothing is no architecture of the search.
        genotype = None if undecided(pl_module.method) else self.space.derive(scores)
        extras: dict[str, Any] = {} if genotype is None else {"num_skip": count_skips(genotype)}
        extras |= of_groups("entropy", pl_module.method.entropy())
        extras |= of_groups("concentration", pl_module.method.concentrations())
        extras |= pl_module.method.spending()
        if self.sparse:
            rows = sparsity_rows(self.space, pl_module.method, trainer.current_epoch)
            extras |= dict(zip(ALIVE, totals(rows), strict=True))
            if trainer.is_global_zero:
                seconds = time.monotonic() - self._began
                self.sparsity_table.add([{**row, "seconds": round(seconds, 3)} for row in rows])
        every, epoch = self.hessian["every"], trainer.current_epoch
        if (every and (epoch + 1) % every == 0) or pl_module.monitoring.wants("hessian_eigenvalue", epoch):
            extras |= self._eigenvalues(pl_module)
        if "frozen" in self.columns:
            extras["frozen"] = len(pl_module.search_step.freezing.frozen())
        if self.tabular is not None and genotype is not None:
            extras |= self.tabular.row(genotype)
            self.numbers["table"] = self.tabular.report(genotype)
        if self.costed is not None and genotype is not None:
            extras |= self.costed.row(genotype)
            self.numbers |= self.costed.report(genotype)
        if trainer.is_global_zero:
            if self.samples:
                self._explore(trainer, pl_module, scores)
            self.weights_table.add(weight_rows(self.space, strengths, trainer.current_epoch))
            if genotype is not None:
                write_text(self.folder / "genotype.json", genotype.to_json() + "\n")
                self.genotypes.add(trainer.current_epoch, genotype)
                log_architecture(trainer, self.space, pl_module.method, genotype, self.caption)
        return extras

    def _curvature(self, pl_module: Any, mode: str | None) -> None:
        """Notes how the eigenvalues were found, which is in no table."""
        (label, (parameters, _)), *_ = pl_module.method.bases().items()
        if mode is None:
            # The run was killed by an earlier version, which told it at the end only.
            mode = resolved_mode(self.hessian["mode"], parameters)
        self.numbers |= {"hessian_mode": mode, "hessian_basis": label}

    def kept(self) -> tuple[str, ...]:
        """The eigenvalues, where they are asked for, and what tables may leave blank."""
        return (*self.eigenvalues, *self.looked_up)

    def _explore(self, trainer: pl.Trainer, pl_module: Any, scores: Mapping[str, Tensor]) -> None:
        """Draws, derives and looks up, with random numbers of its own: looking must not change the search."""
        if not all(bool(scores_EO.isfinite().all()) for scores_EO in scores.values()):
            return  # a diverged search has no distribution left; the guard stops it
        epoch = trainer.current_epoch
        generator = torch.Generator().manual_seed(derive_seed(self.seed, epoch, *EXPLORING))
        assert self.tabular is not None  # which samples need
        draws = pl_module.method.sample_strengths(self.samples, generator)
        explored = explore(self.space, scores, draws, self.tabular)
        self.exploration_table.add([{"epoch": epoch, **explored}])
        log_row(trainer, {f"exploration_{name}": value for name, value in explored.items()})

    def _eigenvalues(self, pl_module: Any) -> dict[str, float]:
        """The dominant eigenvalue in each of the method's bases; the first one's column has no label."""
        if not pl_module.recent_batches:
            # Of several weight steps to one of alpha, an epoch may have had none.
            return {}
        supernet = pl_module.supernet
        was_training = supernet.training
        batches = [batch for _, batch in pl_module.recent_batches]
        values = []
        supernet.train()
        try:
            losses = [partial(_loss, pl_module, batch) for batch in batches]
            for basis in pl_module.method.bases().values():
                # A trial puts BN buffers and random generators back: looking must not change the search.
                with Trial(supernet, pl_module.weights), twice_differentiable(supernet):
                    dominant = dominant_in_basis(
                        losses, basis, self.hessian["mode"], self.hessian["weight_decay"]
                    )
                values.append(dominant.value)
        finally:
            supernet.train(was_training)
        self._curvature(pl_module, dominant.mode)
        return dict(zip(self.eigenvalues, values, strict=True))
