"""What stands between a bare step and an epoch of `nas.search`: the loader, Lightning's loop, the record.

The same step is taken three ways in turn, on equal networks: on one fixed pair of batches, on those of the
real loader, and by Lightning, which hands over after each of its steps. So a machine whose speed drifts slows
all three alike. A passage of some steps is much shorter than an epoch, so what is paid per step and what is
paid once are told apart and put together again for the whole split. Validation after an epoch is left out: it
is neither a search step nor a record.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import CombinedLoader
from torch import Tensor

from nas.analysis.cost.timing import seconds_of, spread, synchronise
from nas.analysis.metrics import OF_TASKS
from nas.engine.checkpoints import EpochCheckpoints
from nas.engine.data_module import SearchData
from nas.engine.pictures import draw_search
from nas.engine.progress import Clock
from nas.engine.recording import SearchRecorder
from nas.engine.run_folder import RunFolder
from nas.engine.search_module import SearchModule
from nas.engine.trainer import build_trainer, fit
from nas.errors import require
from nas.measure.steps import Batch, SearchSteps
from nas.spaces.space import Space

NO_HESSIAN = {"every": 0, "mode": "auto", "batches": 1, "weight_decay": 0.0}


@dataclass
class Passage:
    """Seconds of one short epoch. The steps at one index of the lists were taken right after one another.

    Attributes:
        bare: of each step on a fixed pair of batches.
        loader: of each step on the loader's batches, fetching and augmenting them included.
        lightning: of each step by Lightning, all that its loop does between two steps included.
        loader_once: what the loader pays once an epoch: to start, and the first batch.
        lightning_once: what Lightning pays once an epoch: to start, the first batch, and the end.
        pictures: of the pictures of a search, drawn from the passage's tables; 0 where nothing was recorded.
    """

    bare: list[float] = field(default_factory=list)
    loader: list[float] = field(default_factory=list)
    lightning: list[float] = field(default_factory=list)
    loader_once: float = 0.0
    lightning_once: float = 0.0
    pictures: float = 0.0

    def loader_overhead(self, epoch_steps: int) -> float:
        """What the loader adds to an epoch of bare steps, as a share."""
        return _over(self.loader, self.bare) + self.loader_once / (epoch_steps * _median(self.bare))

    def loop_overhead(self, epoch_steps: int) -> float:
        """What Lightning adds to an epoch of steps with the loader, as a share."""
        once = self.lightning_once - self.loader_once
        return _over(self.lightning, self.loader) + once / (epoch_steps * _median(self.loader))

    def epoch(self, epoch_steps: int) -> float:
        """Seconds of an epoch by Lightning."""
        return epoch_steps * _median(self.lightning) + self.lightning_once


class Baton(pl.Callback):
    """Times Lightning's steps, and takes the two other kinds of step between them.

    Placed first among the callbacks, so that what they do before a step or after an epoch is measured.

    Args:
        passage: where the seconds go.
        bare: one step on a fixed pair of batches.
        loader: one step on the loader's next pair.
        wait: waits until the device has done what it was given.
    """

    def __init__(
        self,
        passage: Passage,
        bare: Callable[[], None],
        loader: Callable[[], None],
        wait: Callable[[], None],
    ):
        self._passage = passage
        self._rivals = [(passage.bare, bare), (passage.loader, loader)]
        self._wait = wait
        self._since = 0.0

    def _lap(self) -> float:
        self._wait()
        before, self._since = self._since, time.perf_counter()
        return self._since - before

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Optimisers and loaders are set up; the epoch has not begun."""
        self._lap()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The first batch has been fetched and augmented."""
        if batch_idx == 0:
            self._passage.lightning_once += self._lap()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A step has been taken: it is the others' turn. The first one lacks what comes between two steps."""
        seconds = self._lap()
        others = [(times, seconds_of(step, pl_module.device)) for times, step in self._rivals]
        self._rivals.reverse()
        if batch_idx > 0:
            for times, taken in [(self._passage.lightning, seconds), *others]:
                times.append(taken)
        self._lap()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The epoch has been recorded and saved."""
        self._passage.lightning_once += self._lap()


class Loops:
    """Builds and runs passages.

    Args:
        steps: the bare steps on a network of their own.
        module: the same search, for Lightning.
        data: the real splits, prepared.
        space: derives genotypes for the record.
        hardware: the `hardware` group; one device.
        folder: where a temporary run folder is made, so that it lies on the disk that runs are written to.
        num_steps: search steps a passage, at least 3; fewer where an epoch has not that many.
        seed: of the run.

    Attributes:
        num_steps: search steps a passage.
        epoch_steps: search steps per epoch.

    Raises:
        ConfigError: several devices, too few steps, or a first epoch without architecture steps.
    """

    def __init__(
        self,
        steps: SearchSteps,
        module: SearchModule,
        data: SearchData,
        space: Space,
        hardware: Mapping,
        folder: Path,
        num_steps: int,
        seed: int,
    ):
        require(num_steps >= 3, f"bench.loop_steps={num_steps}: must be at least 3")
        require(
            hardware["devices"] in (1, "1") and hardware["num_nodes"] == 1,
            f"bench.loop=true: measures one process, not hardware.devices={hardware['devices']} on "
            f"hardware.num_nodes={hardware['num_nodes']}",
        )
        require(
            module.method.active(0),
            "bench.loop=true: measures the first epoch, which has no architecture steps here; set "
            "method.warmup_epochs=0",
        )
        self.steps = steps
        self.module = module
        self.data = data
        self.space = space
        self.hardware = hardware
        self.folder = folder
        self.seed = seed
        # An epoch is one pass over the weight split.
        self.epoch_steps = len(self._loaders()["weight"])
        # The fixed pair takes one pair of batches, and the last of an epoch may be smaller than the others.
        self.num_steps = min(num_steps, self.epoch_steps - 2)
        require(
            self.num_steps >= 3,
            f"bench.loop=true: an epoch has {self.epoch_steps} step(s), and at least 5 are needed; set a "
            "smaller dataset.batch_size",
        )

    def run(self, recorded: bool) -> Passage:
        """One passage, with or without what a search writes after an epoch."""
        passage = Passage()
        loaders = self._loaders()
        self._wait()
        start = time.perf_counter()
        pairs = self._pairs(loaders)
        fixed = next(pairs)
        self._wait()
        passage.loader_once = time.perf_counter() - start
        baton = Baton(passage, lambda: self._step(*fixed), lambda: self._step(*next(pairs)), self._wait)
        with tempfile.TemporaryDirectory(dir=self.folder) as path:
            folder = RunFolder(path)
            fit(self._trainer(folder, baton, recorded), self.module, self.data, None)
            if recorded:
                passage.pictures = self._draw(folder)
        return passage

    def _loaders(self) -> Mapping[str, Any]:
        loader = self.data.train_dataloader()
        assert isinstance(loader, CombinedLoader)  # of data whose every batch has a part for alpha
        return loader.iterables

    def _wait(self) -> None:
        synchronise(self.steps.where.device)

    def _step(self, weight_batch: Batch, architecture_batch: Batch) -> None:
        self.steps.weight_batch, self.steps.architecture_batch = weight_batch, architecture_batch
        self.steps.architecture()
        self.steps.weight()

    def _pairs(self, loaders: Mapping[str, Iterable]) -> Iterator[tuple[Batch, Batch]]:
        """Batches of the weight and of the architecture split as a search sees them."""
        for weight, architecture in zip(loaders["weight"], _endless(loaders["architecture"]), strict=False):
            yield self._augmented(weight), self._augmented(architecture)

    def _augmented(self, batch: tuple[Tensor, Tensor]) -> Batch:
        where = self.steps.where
        images_BCHW, labels_B = (part.to(where.device) for part in batch)
        return self.data.augment.to(where.device)(images_BCHW, train=True).to(where.dtype), labels_B

    def _trainer(self, folder: RunFolder, baton: Baton, recorded: bool) -> pl.Trainer:
        clock = Clock(1, lines=False)
        recorder = SearchRecorder(
            folder,
            clock,
            0,
            metrics=OF_TASKS[self.module.task.domain],
            tell=lambda numbers: folder.write_json("summary.json", numbers),
            space=self.space,
            hessian=NO_HESSIAN,
            seed=self.seed,
        )
        trainer = build_trainer(
            self.hardware,
            {
                "max_epochs": 1,
                "limit_train_batches": self.num_steps,
                "limit_val_batches": 0,
                "log_every_n_steps": 1,
                "enable_progress_bar": False,
            },
            {"every": 1, "keep": 2},
            folder.checkpoints,
            self.seed,
            clock,
            [recorder] if recorded else [],
        )
        callbacks = trainer.callbacks  # type: ignore[attr-defined]  # Lightning does not declare it
        callbacks[:] = [baton, *(c for c in callbacks if recorded or not isinstance(c, EpochCheckpoints))]
        return trainer

    def _draw(self, folder: RunFolder) -> float:
        method = self.module.method
        start = time.perf_counter()
        draw_search(folder, self.space, method, self.space.derive(method.scores()))
        return time.perf_counter() - start


def measure_loop(loops: Loops, rounds: int, max_epochs: int) -> dict[str, Any]:
    """Runs passages with and without a record in turn, each once unmeasured before, and relates them.

    Args:
        loops: what to run.
        rounds: pairs of passages.
        max_epochs: epochs of a search, which share its pictures.

    Returns:
        The keys of `relate_loop`.
    """
    for recorded in (False, True):
        loops.run(recorded)
    pairs = [{kind: loops.run(kind) for kind in (bool(index % 2), index % 2 == 0)} for index in range(rounds)]
    return relate_loop(
        [passages[False] for passages in pairs],
        [passages[True] for passages in pairs],
        loops.num_steps,
        loops.epoch_steps,
        max_epochs,
    )


def relate_loop(
    plain: Sequence[Passage],
    recorded: Sequence[Passage],
    num_steps: int,
    epoch_steps: int,
    max_epochs: int,
) -> dict[str, Any]:
    """What passages amount to, as keys of `bench.json`.

    Args:
        plain: without a record, one per round.
        recorded: with one.
        num_steps: search steps a passage.
        epoch_steps: search steps per epoch.
        max_epochs: epochs of a search.

    Returns:
        `{median, min, max, n}` of each: `loop_bare_seconds`, `loop_loader_seconds` and
        `loop_lightning_seconds` a step, over steps; over passages `loader_overhead` and `loop_overhead`,
        shares of an epoch of `epoch_steps`; over rounds `record_seconds_per_epoch` (tables, genotype,
        summary, checkpoint), `pictures_seconds` (once a search), `record_overhead`, the share of an epoch
        that both take, and `record_overhead_measured`, the same of an epoch of `loop_steps`. Also
        `loop_steps`, `epoch_steps`, and `epoch_seconds`, without validation.
    """
    passages = [*plain, *recorded]
    steps = {
        kind: spread([seconds for passage in passages for seconds in getattr(passage, kind)])
        for kind in ("bare", "loader", "lightning")
    }
    records = [c.lightning_once - d.lightning_once for c, d in zip(recorded, plain, strict=True)]
    written = [record + c.pictures / max_epochs for record, c in zip(records, recorded, strict=True)]

    def share(length: int) -> dict[str, float]:
        return spread([seconds / d.epoch(length) for seconds, d in zip(written, plain, strict=True)])

    return {f"loop_{kind}_seconds": seconds for kind, seconds in steps.items()} | {
        "loader_overhead": spread([passage.loader_overhead(epoch_steps) for passage in passages]),
        "loop_overhead": spread([d.loop_overhead(epoch_steps) for d in plain]),
        "record_seconds_per_epoch": spread(records),
        "record_overhead": share(epoch_steps),
        "record_overhead_measured": share(num_steps),
        "pictures_seconds": spread([c.pictures for c in recorded]),
        "loop_steps": num_steps,
        "epoch_steps": epoch_steps,
        "epoch_seconds": _median([d.epoch(epoch_steps) for d in plain]),
    }


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def _over(slow: Sequence[float], fast: Sequence[float]) -> float:
    """By how much steps are slower than those taken next to them, as a share."""
    return _median([a / b for a, b in zip(slow, fast, strict=True)]) - 1


def _endless(loader: Iterable) -> Iterator[Any]:
    while True:
        yield from loader
