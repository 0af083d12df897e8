"""`python -m nas.search`: searches an architecture and writes a run folder."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from nas.analysis.exploration import check_exploration
from nas.analysis.metrics import OF_TASKS
from nas.analysis.tabular import open_tabular
from nas.commands.latency import command_for_supernet
from nas.domains.budgets import check_budget, fitted
from nas.domains.choose import choose, of_space
from nas.domains.networks import (
    batch_overrides,
    check_sizes,
    cost_of,
    size_overrides,
    source_of,
    space_of,
)
from nas.engine import checkpoints, learning, trainer
from nas.engine.genotype_log import GenotypeLog
from nas.engine.learning import StartValues, check_compile, check_epochs, check_precision, check_steps
from nas.engine.loggers import build_logger, close_logger
from nas.engine.machine import hardware
from nas.engine.machine.execution import apply_execution
from nas.engine.machine.peers import several, together
from nas.engine.part_lists import keep_lists
from nas.engine.pictures import draw_search
from nas.engine.progress import Clock
from nas.engine.recording import SearchRecorder
from nas.engine.restarts import restarts_of, with_restarts
from nas.engine.rows import count_skips, weight_rows
from nas.engine.run_folder import Table
from nas.engine.seeding import seed_run
from nas.engine.shortened import shorten_search
from nas.engine.stages import Leg, StageBuilder, attach, legs_of
from nas.errors import ConfigError
from nas.files import write_text
from nas.measure import operation_times
from nas.measure.plan import print_plan
from nas.methods.layout import layout_of
from nas.running.config import instantiate, plain, typed_keys
from nas.running.log_files import say
from nas.running.printed import command_for
from nas.running.remains import remains
from nas.running.session import Session, trainer_of
from nas.running.words import quoted
from nas.spaces.space import Space

log = logging.getLogger(__name__)


def run(config: DictConfig, path: Path) -> None:
    """Searches as configured; see `conf/search.yaml` for every key.

    Raises:
        ConfigError: a setting cannot be used.
        RunFailed: the search broke down.
    """
    trainer.quiet()
    if config.get("shorten_stages"):
        shorten_search(config, typed_keys())
    session = Session(config, path)
    config = session.config
    # What fits a GPU can be planned without having it.
    if not (config.get("plan") and config.hardware.get("memory_gib")):
        hardware.check_hardware(config.hardware)
    hardware.use_device(config.hardware)
    seed_run(config.seed)
    search = Search(session)
    if config.get("plan"):
        search.plan()
        return
    search.check_result()
    if search.method.trains:
        search.train()
    elif session.leads:
        session.open(None)
        session.run(search.draw)


class Search:
    """What a search is put together from; whatever can be refused without data is, on construction.

    Args:
        session: the run.

    Raises:
        ConfigError: a setting cannot be used.
    """

    def __init__(self, session: Session):
        self.session = session
        self.config = config = session.config
        self.space = space = space_of(config)
        self.source = source_of(config)
        self.domain = choose(space, self.source)
        self.tabular = open_tabular(plain(config.tabular), space.family, config.dataset.name)
        self.method = method = instantiate(
            config.method,
            shapes={name: group.shape for name, group in space.groups.items()},
            layout=layout_of(space.groups),
        )
        # Of stages each piece has a trainer of its own, which knows no more than its end.
        method.epochs = config.trainer.max_epochs
        method.weight_scheduler = with_restarts(method.weight_scheduler, restarts_of(plain(config.restarts)))
        check_exploration(config.analysis.exploration.samples, self.tabular, method.trains)
        check_epochs(plain(config), method)
        check_sizes(config, space)

    def plan(self) -> None:
        """Says what the search will cost."""
        if self.session.leads:
            config = plain(self.config)
            work = self.domain.workload(config, self.space, self.method, self.source)
            print_plan(config, self.space, self.method, work, self.source.name)

    def check_result(self) -> None:
        """Prices the present genotype: a recipe that fits no network is found now, not after the search."""
        config, space, method = self.config, self.space, self.method
        if not method.trains:
            method.spare({name: group.guards for name, group in space.groups.items()})
        with torch.random.fork_rng(devices=[]):
            cost_of(config, space, space.derive(method.scores()), source=self.source)
        check_budget(config, space, method.budget)

    def draw(self) -> None:
        """A search that trains nothing: its draw is its result."""
        session = self.session
        logger = build_logger(plain(self.config.logger), session.folder, plain(self.config), "search")
        done = False
        try:
            _finish(session, self.space, self.source, self.method, {}, self.tabular)
            done = True
        finally:
            _close_logger(logger, session, done)

    def train(self) -> None:
        """Refuses what cannot be searched with these data, and searches from where the folder stands."""
        session, config, folder, method = self.session, self.config, self.session.folder, self.method
        check_precision(config.hardware.precision)
        check_compile(config)
        method.check_settings(several(config.hardware), config.analysis.implicit.every)
        self.domain.note_numbers(config.method.name)
        data = self.domain.search_data(config, self.source, method)
        session.check_split(data.split.hash)
        data.prepare()
        steps = self.domain.steps(plain(config), self.space, method, self.source, data)
        check_steps(plain(config), method, steps)
        stages = self._stages(data)
        start = StartValues(method)
        self.domain.check_search(plain(config), self.space, method, self.source, data)
        times = self._operation_times()
        legs = legs_of(method, config.trainer.max_epochs)
        checkpoint, epochs_done = checkpoints.newest_readable(folder.checkpoints)
        # The last one also when its epochs are done: a run killed after them has yet to be summed up.
        legs = [leg for leg in legs if leg.end > epochs_done] or legs[-1:]
        if session.nothing_left(epochs_done):
            if checkpoint is not None:
                stages.resume(legs[0], checkpoint, epochs_done)
            return
        if checkpoint is None:
            module = stages.start(legs[0])
        else:
            module, checkpoint = stages.resume(legs[0], checkpoint, epochs_done)
        trainer.check_optimizers(module, "method")
        stages.check_schedule()
        clock = Clock(config.trainer.max_epochs, session.deadline)
        recorder = self._recorder(clock, epochs_done)
        # Built before the folder is opened: what Lightning refuses leaves nothing behind.
        varies = self.domain.varies
        lightning = trainer_of(config, folder, clock, recorder, varies, max_epochs=legs[0].end)
        self._open(data, times)
        training = Training(session, self.space, varies, stages, legs, data, clock, recorder, start)
        session.run(lambda: training.run(module, lightning, checkpoint))

    def _stages(self, data) -> StageBuilder:
        config, space = self.config, self.space
        inputs = self.domain.inputs(self.source)
        weights = data.class_weights(plain(config.dataset).get("class_weights"))
        stages = StageBuilder(
            space,
            attach(self.method, space, inputs),
            inputs,
            config.seed,
            lambda network: apply_execution(network, config.hardware),
            self.domain.task(space, None, weights, self.source),
        )
        stages.check()
        return stages

    def _operation_times(self) -> dict[str, float] | None:
        """How long each candidate takes, for a method that goes by it, which is told."""
        config, method = self.config, self.method
        if not method.wants_times:
            return None
        times = operation_times.load_or_measure(
            self.session.folder / operation_times.FILE,
            method.costs,
            config.dataset.batch_size,
            "cuda" if config.hardware.accelerator == "gpu" else config.hardware.accelerator,
            measure=not self.session.resuming,
            table=method.latency_table,
            command=command_for_supernet(config, self.space),
        )
        method.seconds = operation_times.operation_seconds(method.costs, times)
        return times

    def _recorder(self, clock: Clock, epochs_done: int) -> SearchRecorder:
        config = self.config
        return SearchRecorder(
            self.session.folder,
            clock,
            epochs_done,
            tell=self.session.progress,
            space=self.space,
            hessian=plain(config.analysis.hessian),
            implicit_every=config.analysis.implicit.every,
            tabular=self.tabular,
            samples=config.analysis.exploration.samples,
            seed=config.seed,
            sparse=self.method.drops_candidates,
            earlier=self.session.earlier,
            metrics=OF_TASKS[self.domain.name],
            caption=self.session.caption,
        )

    def _open(self, data, times: dict[str, float] | None) -> None:
        """Opens the run folder, with everything in it that a resumed run needs."""
        session, split = self.session, data.split
        if not session.resuming:
            session.claim()
        if times is not None and session.leads:
            # Before the file whose presence says that the run can be resumed.
            operation_times.write(session.folder / operation_times.FILE, times)
        new = session.leads and not session.resuming
        files = keep_lists(session.folder, getattr(data, "train_images", None), split, new=new)
        session.open(split.to_dict())
        session.summary |= {"split_hash": split.hash} | files


@dataclass
class Training:
    """A search that trains: leg by leg on one run folder, summed up however it ends.

    Attributes:
        session: the run.
        space: derives.
        varies: whether the number of batches is another in every epoch.
        stages: takes the search from one stage to the next.
        legs: what is left to do.
        data: both parts of the training set.
        clock: measures epochs.
        recorder: writes the tables.
        start: what the architecture is compared with at the end.
    """

    session: Session
    space: Space
    varies: bool
    stages: StageBuilder
    legs: Sequence[Leg]
    data: Any
    clock: Clock
    recorder: SearchRecorder
    start: StartValues

    def run(self, module, lightning, checkpoint) -> None:
        """Trains from the checkpoint, if there is one, to the end of the last leg."""
        config, folder, recorder = self.session.config, self.session.folder, self.recorder
        logger, done = None, False
        try:
            logger = build_logger(plain(config.logger), folder, plain(config), "search")
            with together(lightning, self.session.lost):
                for leg in self.legs:
                    if leg is not self.legs[0]:
                        module, lightning, checkpoint = self._next(leg)
                    lightning.logger = logger
                    if not trainer.fit(lightning, module, self.data, checkpoint):
                        self.session.summary["planned_epochs"] = config.trainer.max_epochs
                        break
            done = True
        finally:
            # Where the run broke down before it began, the folder stays as an earlier start left it.
            if lightning.is_global_zero and recorder.table is not None:
                numbers = recorder.numbers | {"epochs": lightning.current_epoch, "steps": module.iteration}
                numbers |= {"architecture": self.start.verdict(module.method)}
                self._close(module.method, numbers, logger, done)
            elif lightning.is_global_zero:
                close_logger(logger, plain(config), self.session.summary, [], failed=True)

    def _next(self, leg) -> tuple:
        folder = self.session.folder
        checkpoint, done = checkpoints.newest_readable(folder.checkpoints)
        assert checkpoint is not None  # the leg before has ended in one
        module, start = self.stages.resume(leg, checkpoint, done)
        self.recorder.first_epoch = leg.first
        masks = module.method.kept().values()
        if module.method.stages is None:
            left, of = sum(int(mask_EO.sum()) for mask_EO in masks), sum(mask_EO.numel() for mask_EO in masks)
            log.info("epoch %d: the network is built anew with %d of %d candidates", leg.first, left, of)
        else:
            log.info(
                "stage %d: %d candidates per edge, 1/%d of the channels",
                leg.index + 1,
                min(int(mask_EO.sum(1).min()) for mask_EO in masks),
                module.method.stages[leg.index].partial,
            )
        return (
            module,
            trainer_of(
                self.session.config, folder, self.clock, self.recorder, self.varies, max_epochs=leg.end
            ),
            start,
        )

    def _close(self, method, numbers, logger, done: bool) -> None:
        session = self.session
        try:
            with remains(done):
                tabular, source = self.recorder.tabular, self.data.source
                _finish(session, self.space, source, method, numbers, tabular, quiet=not done)
        finally:
            _close_logger(logger, session, done)


def _close_logger(logger, session: Session, done: bool) -> None:
    """Closes the logger with the summary, of which it takes what stands under `table` as `table/<key>`."""
    table = {f"table/{key}": value for key, value in session.summary.get("table", {}).items()}
    pictures = sorted(session.folder.figures.glob("*.png"))
    close_logger(logger, plain(session.config), {**session.summary, **table}, pictures, failed=not done)


def _finish(session, space, source, method, numbers, tabular, quiet: bool = False) -> None:
    """Derives, prices, looks up, draws and sums up.

    With `quiet` (a run that did not end) without the closing words.
    """
    config, folder = session.config, session.folder
    strengths = method.strengths()
    if not all(bool(weights_EO.isfinite().all()) for weights_EO in strengths.values()):
        return  # a diverged run keeps the genotype of its last good epoch
    genotype = space.derive(method.scores())
    if not method.trains:
        columns = ("epoch", "group", "source", "target", "operation", "weight")
        Table(folder / "architecture.csv", columns).add(weight_rows(space, strengths, 0))
        GenotypeLog(folder.path).add(0, genotype)
        looked_up = {} if tabular is None else tabular.row(str(genotype))
        Table(folder / "metrics.csv", ("epoch", "num_skip", *looked_up)).add(
            [{"epoch": 0, "num_skip": count_skips(genotype), **looked_up}]
        )
        numbers = {"epochs": 0, "steps": 0, "architecture": learning.DRAWN}
    write_text(folder / "genotype.json", genotype.to_json() + "\n")
    if method.budget and not quiet:
        fitting = _within(config, space, source, genotype, method.budget)
        session.summary |= {f"budget_{key}": value for key, value in method.budget.items()}
        session.summary["budget_met"] = fitting is not None
        config = config if fitting is None else fitting
        session.summary["init_channels"] = config.recipe.init_channels
    cost = cost_of(config, space, genotype, source=source)
    session.summary |= numbers | {
        "genotype": str(genotype),
        "num_skip": count_skips(genotype),
        "params": cost.params,
        "macs": cost.macs,
    }
    if tabular is not None:
        session.summary["table"] = tabular.report(str(genotype))
    draw_search(folder, space, method, genotype, session.caption)
    if quiet:
        return
    sizes = [one for one in size_overrides(config, space) if not one.startswith("recipe.stem=")]
    say(f"\n{genotype}")
    say(
        f"{cost.params / 1e6:.3f} M parameters, {cost.macs / 1e6:.2f} M multiply-adds per "
        f"{of_space(space).one} ({', '.join([f'recipe {config.recipe.name}', *sizes])})"
    )
    learning.tell(session.summary["architecture"])
    if tabular is not None:
        say(f"table:      {tabular.words(str(genotype))}")
    say(f"run folder: {folder.path}")
    say(f"pictures:   {folder.figures}")
    words = [f"genotype={quoted(folder.path)}"]
    say(f"evaluate:   {command_for('evaluate', config, words, batch_overrides(config, source))}")


def _within(config, space, source, genotype, budget):
    """The configuration of a network within the budget; None where none is that small."""
    try:
        return fitted(config, space, genotype, budget, source=source)
    except ConfigError as error:
        # The search is done, and what it found stands.
        log.error("%s", error)
        return None
