"""A search that trains, leg by leg."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas.commands.search_result import close, finish
from nas.engine import checkpoints, trainer
from nas.engine.learning import StartValues
from nas.engine.loggers import build_logger, close_logger
from nas.engine.machine.peers import together
from nas.engine.progress import Clock
from nas.engine.recording import SearchRecorder
from nas.engine.stages import Leg, StageBuilder, legs_of
from nas.engine.watching import Back, go_back, leg_of_result
from nas.running.config import plain
from nas.running.remains import remains
from nas.running.session import Session, trainer_of
from nas.spaces.space import Space

log = logging.getLogger(__name__)


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
        """Trains from the checkpoint, if there is one, to the last epoch or to where a monitor ends it."""
        config, folder, recorder = self.session.config, self.session.folder, self.recorder
        left = list(self.legs)
        logger, done = None, False
        try:
            logger = build_logger(plain(config.logger), folder, plain(config), "search")
            with together(lightning, self.session.lost):
                while left:
                    lightning.logger = logger
                    whole = trainer.fit(lightning, module, self.data, checkpoint)
                    if module.monitoring.back is not None:
                        left = self._go_back(module.monitoring.back, lightning)
                    elif whole and module.monitoring.ended_by is None:
                        left = left[1:]
                    else:
                        self.session.summary["planned_epochs"] = config.trainer.max_epochs
                        break
                    if left:
                        module, lightning, checkpoint = self._next(left[0])
                epochs, steps = lightning.current_epoch, module.iteration
                module = self._of_result(module, epochs)
            done = True
        finally:
            # Where the run broke down before it began, the folder stays as an earlier start left it.
            if lightning.is_global_zero and recorder.table is not None:
                if not done:
                    epochs, steps = lightning.current_epoch, module.iteration
                numbers = recorder.numbers | {"epochs": epochs, "steps": steps}
                numbers |= {"architecture": self.start.verdict(module.method)}
                self._close(module.method, numbers, logger, done)
            elif lightning.is_global_zero:
                close_logger(logger, plain(config), self.session.summary, [], failed=True)

    def _go_back(self, back: Back, lightning) -> list[Leg]:
        """Puts the run back to the end of an earlier epoch; returns the legs from there on."""
        if lightning.is_global_zero:
            go_back(self.session.folder.checkpoints, back)
        lightning.strategy.barrier("back")
        legs = legs_of(self.stages.method, self.session.config.trainer.max_epochs)
        return [leg for leg in legs if leg.end > back.epoch + 1]

    def _of_result(self, module, epochs: int):
        """The search as it stood in the epoch that its result is of."""
        watch, folder = module.monitoring, self.session.folder.checkpoints
        self.session.summary |= watch.summary()
        if watch.result is None or watch.result == epochs - 1:
            return module
        done = watch.result + 1
        legs = legs_of(self.stages.method, self.session.config.trainer.max_epochs)
        leg = leg_of_result(watch, legs, epochs)
        module, _ = self.stages.resume(leg, checkpoints.path_of(folder, done), done)
        module.method.begin_epoch(watch.result, epochs)
        self.recorder.go_to(watch.result)
        return module

    def _next(self, leg) -> tuple:
        folder = self.session.folder
        checkpoint, done = checkpoints.newest_readable(folder.checkpoints, to_go_on=True)
        assert checkpoint is not None  # the leg before has ended in one
        module, start = self.stages.resume(leg, checkpoint, done)
        self.recorder.first_epoch = done
        if done == leg.first:
            self._tell(module.method, leg)
        lightning = trainer_of(
            self.session.config, folder, self.clock, self.recorder, self.varies, max_epochs=leg.end
        )
        return module, lightning, start

    @staticmethod
    def _tell(method, leg) -> None:
        masks = method.kept().values()
        if method.stages is None:
            left, of = sum(int(mask_EO.sum()) for mask_EO in masks), sum(mask_EO.numel() for mask_EO in masks)
            log.info("epoch %d: the network is built anew with %d of %d candidates", leg.first, left, of)
        else:
            stage = method.stages[leg.index]
            log.info(
                "stage %d: %d candidates per edge, 1/%d of the channels%s%s",
                leg.index + 1,
                min(int(mask_EO.sum(1).min()) for mask_EO in masks),
                stage.partial,
                "" if stage.cells is None else f", {stage.cells} cells",
                ", weights and alpha anew" if stage.fresh else "",
            )

    def _close(self, method, numbers, logger, done: bool) -> None:
        session = self.session
        try:
            with remains(done):
                looked_up, source = (self.recorder.tabular, self.recorder.costed), self.data.source
                finish(session, self.space, source, method, numbers, *looked_up, quiet=not done)
        finally:
            close(logger, session, done)
