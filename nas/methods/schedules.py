"""When alpha moves, and when the network changes.

Progressive stages: fewer candidates in wider channels, step by step (Chen et al. 2021, section 2.4), or in a
deeper network that learns anew (Chen et al. 2019, section 3.2).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate, pairwise

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from nas.errors import ConfigError, require, require_one_of


@dataclass(frozen=True)
class Stage:
    """One stage of a search.

    Attributes:
        epochs: how long it lasts.
        partial: K: 1/K of the channels pass through the mixed operation; 1 for all.
        keep: candidates kept per edge from the stage's start on; an edge with no more keeps what it has. None
            prunes nothing.
        freeze: epochs at its start in which alpha rests.
        cells: of the supernet, as the space counts them (`Space.deepened`); None for the space's own.
        fresh: whether weights, alpha and both optimisers begin anew, and the learning rate with them; what is
            dropped stays so. The first stage always does.
    """

    epochs: int
    partial: int = 1
    keep: int | None = None
    freeze: int = 0
    cells: int | None = None
    fresh: bool = False


class Stages:
    """The stages of a search, in order.

    Args:
        stages: one mapping of `Stage`'s keys per stage.

    Raises:
        ConfigError: a key or a value is not allowed, or a stage keeps more candidates than the one before, or
            is narrower or of another depth and goes on with its weights.
    """

    def __init__(self, stages: Sequence[Mapping]):
        require(
            isinstance(stages, Sequence) and not isinstance(stages, str) and len(stages) > 0,
            f"method.stages={stages!r}: must be null or a list of at least one stage",
        )
        self.stages = tuple(_stage(index, stage) for index, stage in enumerate(stages))
        kept = [stage.keep for stage in self.stages if stage.keep is not None]
        require(
            kept == sorted(kept, reverse=True),
            f"method.stages: keep={kept}: a dropped candidate does not come back, so it cannot grow",
        )
        partial = [stage.partial for stage in self.stages]
        going_on = [(before, after) for before, after in pairwise(self.stages) if not after.fresh]
        require(
            all(after.partial <= before.partial for before, after in going_on),
            f"method.stages: partial={partial}: channels are widened, never narrowed, so it cannot grow",
        )
        require(
            all(before.cells == after.cells for before, after in going_on),
            f"method.stages: cells={[stage.cells for stage in self.stages]}: a network of another depth has "
            "other weights, so a stage that changes it needs fresh=true",
        )

    def __len__(self) -> int:
        return len(self.stages)

    def __getitem__(self, index: int) -> Stage:
        return self.stages[index]

    @property
    def epochs(self) -> int:
        """Epochs of all stages."""
        return sum(stage.epochs for stage in self.stages)

    def at(self, epoch: int) -> tuple[int, int]:
        """The index of the stage that an epoch belongs to, and the epoch within it, both from 0.

        Raises:
            ConfigError: the epoch lies behind the last stage.
        """
        within = epoch
        for index, stage in enumerate(self.stages):
            if within < stage.epochs:
                return index, within
            within -= stage.epochs
        raise ConfigError(f"method.stages: they end after {self.epochs} epochs, before epoch {epoch}")

    def frozen(self, epoch: int) -> bool:
        """Whether alpha rests in this epoch."""
        index, within = self.at(epoch)
        return within < self.stages[index].freeze

    def check_epochs(self, max_epochs: int) -> None:
        """Raises `ConfigError` unless the stages fill the search exactly."""
        require(
            self.epochs == max_epochs,
            f"trainer.max_epochs={max_epochs}: the epochs of method.stages, "
            f"{' + '.join(str(stage.epochs) for stage in self.stages)}, sum to {self.epochs}; change one or "
            "the other",
        )


class Schedule:
    """The epochs of a search: those in which alpha rests, and its stages.

    Args:
        warmup_epochs: epochs at the start in which alpha rests and only the weights learn.
        stages: see `Stage`, one mapping per stage; None for a search of one piece.
        learning_rate_at_stage: `restart` or `continuous`, see `stage_scheduler`.
        widen: how new channels are drawn between stages, `code` or `shared`, see
            `nas.spaces.supernet.growth`.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    def __init__(
        self,
        warmup_epochs: int = 0,
        stages: Sequence[Mapping] | None = None,
        learning_rate_at_stage: str = "restart",
        widen: str = "code",
    ):
        require(warmup_epochs >= 0, f"method.warmup_epochs={warmup_epochs}: must be at least 0")
        require_one_of("method.learning_rate_at_stage", learning_rate_at_stage, ("restart", "continuous"))
        require(
            widen in ("code", "shared"),
            f"method.widen={widen}: unknown; known are code (the authors' code: what is written together is "
            "read together), shared (the paper's formula: one draw per candidate)",
        )
        self.warmup_epochs = warmup_epochs
        self.stages = None if stages is None else Stages(stages)
        self.learning_rate_at_stage = learning_rate_at_stage
        self.widen = widen

    def rests(self, epoch: int) -> bool:
        """Whether alpha rests in this epoch: in a warm-up, or in the frozen start of a stage."""
        return epoch < self.warmup_epochs or (self.stages is not None and self.stages.frozen(epoch))

    def changes(self, max_epochs: int) -> list[int]:
        """The epochs, ascending, before which the network is built anew with fewer candidates.

        Raises:
            ConfigError: the stages, if there are any, do not fill a search of this length.
        """
        if self.stages is None:
            return []
        self.stages.check_epochs(max_epochs)
        return list(accumulate(stage.epochs for stage in self.stages.stages))[:-1]


def _stage(index: int, given: Mapping) -> Stage:
    where = f"method.stages[{index}]"
    require(isinstance(given, Mapping), f"{where}={given!r}: must be a mapping with the key epochs")
    known = [field.name for field in fields(Stage)]
    unknown = sorted(set(given) - set(known))
    require(not unknown, f"{where}: unknown keys {unknown}; known are {', '.join(known)}")
    require("epochs" in given, f"{where}: the key epochs is missing")
    for key, value in given.items():
        if key == "fresh":
            require(isinstance(value, bool), f"{where}.fresh={value!r}: must be true or false")
            continue
        least = 0 if key == "freeze" else 1
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
        require(
            whole or (key in ("keep", "cells") and value is None),
            f"{where}.{key}={value!r}: must be a whole number of at least {least}",
        )
    stage = Stage(**given)
    require(
        stage.freeze <= stage.epochs,
        f"{where}.freeze={stage.freeze}: the stage has only {stage.epochs} epochs",
    )
    return stage


def stage_scheduler(
    build: Callable, optimizer: Optimizer, previous: LRScheduler, at_stage: str
) -> LRScheduler:
    """The schedule of a stage's new weight optimiser, at the epoch where the previous one stands.

    `restart` is the authors' code: a new SGD starts at the base learning rate and takes over the position
    alone. The cosine's recursion goes on from there, so that a stage that starts at epoch s follows

        eta_min + (lr - eta_min) (1 + cos(pi t / T)) / (1 + cos(pi s / T)),  t = s, s + 1, ...

    A cosine with a warm-up of its own says what its stages start at (`start_of_stage(epoch)`).
    `continuous` goes on along the first stage's cosine. Call it after the epoch's `previous.step()`.

    Args:
        build: optimiser -> schedule.
        optimizer: the new optimiser, at its base learning rate.
        previous: the schedule so far.
        at_stage: `restart` or `continuous`.

    Raises:
        ConfigError: `restart` is asked of another schedule than the cosine.
    """
    scheduler = build(optimizer)
    require(
        at_stage == "continuous" or isinstance(scheduler, CosineAnnealingLR),
        f"method.learning_rate_at_stage=restart: defined for CosineAnnealingLR, not for "
        f"{type(scheduler).__name__}; set it to continuous",
    )
    position = previous.state_dict()
    if at_stage == "continuous":
        rates = previous.get_last_lr()
    elif hasattr(scheduler, "start_of_stage"):
        rates = scheduler.start_of_stage(previous.last_epoch)
    else:
        rates = previous.base_lrs
    scheduler.load_state_dict(position | {"_last_lr": list(rates)})
    for group, lr in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = lr
    return scheduler
