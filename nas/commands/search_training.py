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
from nas.engine.stages import Leg, StageBuilder
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
                finish(session, self.space, source, method, numbers, tabular, quiet=not done)
        finally:
            close(logger, session, done)
