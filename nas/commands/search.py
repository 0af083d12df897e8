"""`python -m nas.search`: searches an architecture and writes a run folder."""

import logging
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from nas.analysis.exploration import check_exploration
from nas.analysis.metrics import MEMORY
from nas.commands import costs, same_costs
from nas.commands.auto_size import clock_of, note_sizes
from nas.commands.cost_ranges import counting, plan_rows
from nas.commands.found import files_of, found_of, tell
from nas.commands.kernels import note_kernel
from nas.commands.latency import command_for_supernet
from nas.commands.same_files import check_same, files_now, kept
from nas.commands.search_result import close, finish
from nas.commands.search_training import Training
from nas.commands.tables import look_up_of
from nas.data.sampling import check_sampling
from nas.domains.budgets import check_budget
from nas.domains.choose import choose
from nas.domains.networks import (
    check_sizes,
    cost_of,
    source_of,
    space_of,
)
from nas.engine import checkpoints, trainer, watching
from nas.engine.graphs import check_graph
from nas.engine.learning import (
    StartValues,
    check_compile,
    check_epochs,
    check_precision,
    check_selection,
    check_steps,
)
from nas.engine.loggers import build_logger
from nas.engine.machine import hardware
from nas.engine.machine.execution import apply_execution
from nas.engine.machine.peers import several
from nas.engine.part_lists import keep_lists
from nas.engine.progress import Clock
from nas.engine.recording import SearchRecorder
from nas.engine.restarts import restarts_of, with_restarts
from nas.engine.seeding import seed_run
from nas.engine.shortened import shorten_search
from nas.engine.stages import StageBuilder, attach, legs_of
from nas.errors import require
from nas.measure import operation_times
from nas.measure.derivation_skips import limit_skips
from nas.measure.plan import print_plan
from nas.methods.layout import layout_of
from nas.printable import shown
from nas.running.config import instantiate, plain, typed_keys
from nas.running.session import Session, trainer_of

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
        hardware.check_hardware(config.hardware, searches=True)
    hardware.use_device(config.hardware)
    source = source_of(config)
    note_sizes(session, source)
    seed_run(config.seed)
    search = Search(session, source)
    if config.get("plan"):
        search.plan()
        return
    search.check_result()
    if search.method.trains:
        search.train()
    elif session.leads:
        table = found_of(session, search.source)
        session.open(None, files_of(table))
        tell(table)
        session.run(search.draw)


class Search:
    """What a search is put together from; whatever can be refused without data is, on construction.

    Args:
        session: the run.
        source: its data set.

    Raises:
        ConfigError: a setting cannot be used.
    """

    def __init__(self, session: Session, source: Any):
        self.session = session
        self.config = config = session.config
        self.space = space = space_of(config)
        self.source = source
        self.domain = choose(space, self.source)
        self.tabular = look_up_of(config, space, config.dataset.name)
        self.method = method = instantiate(
            config.method,
            shapes={name: group.shape for name, group in space.groups.items()},
            layout=layout_of(space.groups),
        )
        self.space = space = limit_skips(space, method.max_skips)
        self.count = counting(config, space, source)
        self.costed = costs.costed_of(config, space, source, method, self.tabular, self.count)
        # Of stages each piece has a trainer of its own, which knows no more than its end.
        method.epochs = config.trainer.max_epochs
        method.weight_scheduler = with_restarts(method.weight_scheduler, restarts_of(plain(config.restarts)))
        check_exploration(config.analysis.exploration.samples, self.tabular, method.trains)
        check_epochs(plain(config), method)
        check_sizes(config, space)
        # Also where nothing is trained: the evaluation that is printed would refuse it.
        given = plain(config.dataset)
        check_sampling(given.get("sampling"), given.get("class_weights"))

    def plan(self) -> None:
        """Says what the search will cost."""
        if self.session.leads:
            config = plain(self.config)
            work = self.domain.workload(config, self.space, self.method, self.source)
            tell(found_of(self.session, self.source))
            given = (self.config, self.space, self.source, self.method, self.tabular)
            rows = plan_rows(*given, self.count)
            print_plan(config, self.space, self.method, work, self.source.name, rows)

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
            finish(session, self.space, self.source, self.method, {}, self.tabular, self.costed)
            done = True
        finally:
            close(logger, session, done)

    def train(self) -> None:
        """Refuses what cannot be searched with these data, and searches from where the folder stands."""
        session, config, folder, method = self.session, self.config, self.session.folder, self.method
        check_precision(config.hardware.precision)
        check_compile(config)
        check_graph(config.hardware, method, self.domain.unit != "image")
        method.check_settings(several(config.hardware), config.analysis.implicit.every)
        self.domain.note_numbers(config.method.name)
        data = self.domain.search_data(config, self.source, method)
        session.check_split(data.split.hash)
        data.prepare()
        steps = self.domain.steps(plain(config), self.space, method, self.source, data)
        check_steps(plain(config), method, steps)
        stages = self._stages(data)
        check_selection(plain(config), method)
        start = StartValues(method)
        needed = self.domain.check_search(plain(config), self.space, method, self.source, data)
        estimated = session.earlier.get(MEMORY.column("")) if needed is None else round(needed)
        if estimated is not None:
            session.summary[MEMORY.column("")] = estimated
        times = self._operation_times()
        legs = legs_of(method, config.trainer.max_epochs)
        checkpoint, epochs_done = checkpoints.newest_readable(folder.checkpoints, to_go_on=True)
        # The last one also when its epochs are done: a run killed after them has yet to be summed up.
        legs = [leg for leg in legs if leg.end > epochs_done] or legs[-1:]
        if session.nothing_left(epochs_done):
            if checkpoint is not None:
                stages.resume(legs[0], checkpoint, epochs_done)
            return
        end = legs[0].end
        if checkpoint is not None and watching.ended(checkpoints.load(checkpoint)):
            # It has yet to be summed up, as it stood then.
            self._refuse_more(epochs_done)
            legs = [leg for leg in legs_of(method, config.trainer.max_epochs) if leg.first < epochs_done][-1:]
            end = epochs_done
        if checkpoint is None:
            module = stages.start(legs[0])
        else:
            module, checkpoint = stages.resume(legs[0], checkpoint, epochs_done)
        note_kernel(session, module.supernet)
        trainer.check_optimizers(module, "method")
        stages.check_schedule()
        clock = clock_of(session)
        recorder = self._recorder(clock, epochs_done)
        watching.check_monitors(method.monitors, recorder.columns, recorder.validation, plain(config))
        # Built before the folder is opened: what Lightning refuses leaves nothing behind.
        varies = self.domain.varies
        lightning = trainer_of(config, folder, clock, recorder, varies, max_epochs=end)
        self._open(data, times)
        training = Training(session, self.space, varies, stages, legs, data, clock, recorder, start)
        session.run(lambda: training.run(module, lightning, checkpoint))

    def _refuse_more(self, epochs_done: int) -> None:
        epochs, earlier = self.config.trainer.max_epochs, self.session.earlier
        require(
            earlier.get("status") != "finished",
            f"trainer.max_epochs={epochs}: this search was ended after {epochs_done} epochs by "
            f"{shown(str(earlier.get('ended_by')))}, which more of them do not undo; start a new run",
        )

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
            bool(config.hardware.get("graph")),
            str(config.hardware.precision),
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
            costed=self.costed,
            samples=config.analysis.exploration.samples,
            seed=config.seed,
            sparse=self.method.drops_candidates,
            earlier=self.session.earlier,
            metrics=self.domain.metrics(self.source),
            caption=self.session.caption,
        )

    def _open(self, data, times: dict[str, float] | None) -> None:
        """Opens the run folder, with everything in it that a resumed run needs."""
        session, split, own = self.session, data.split, files_now(self.source)
        check_same(session.folder.path, own)
        same_costs.check_same(session.folder.path, self.method)
        if not session.resuming:
            session.claim()
        if times is not None and session.leads:
            # Before the file whose presence says that the run can be resumed.
            operation_times.write(session.folder / operation_times.FILE, times)
        new = session.leads and not session.resuming
        files = keep_lists(session.folder, getattr(data, "train_images", None), split, new=new)
        found = found_of(session, self.source, data)
        session.open(split.to_dict(), files_of(found) | kept(own) | same_costs.kept(self.method))
        tell(found)
        session.summary |= {"split_hash": split.hash} | files
