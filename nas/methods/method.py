"""A search method: a relaxation, an update, regularizers and a schedule put together; the owner of alpha."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from nas.errors import require
from nas.methods.budgeted import BUDGET, Priced, WithinBudget, priced
from nas.methods.decided import Decided
from nas.methods.edges import EdgeWeights
from nas.methods.monitors import Monitor
from nas.methods.perturbations import Perturbation
from nas.methods.regularizers import Regularizer
from nas.methods.relaxations import Relaxation
from nas.methods.schedules import Schedule, Stages, stage_scheduler
from nas.methods.selections import Selection
from nas.methods.updates import ArchitectureGradient, Bilevel, Update


class Method(Priced):
    """The architecture parameters, and how they move.

    Args:
        name: as in run folders (`darts1`, ...).
        update: which gradient alpha steps with; None for a method that draws and does not train (`random`).
        regularizers: terms on alpha, by any name.
        perturbation: at which op weights the weights step; None for the method's own.
        schedule: when alpha moves, and the stages; None for a search of one piece without a warm-up.
        monitors: what watches the search and acts, by any name.
        shapes, relaxation, init_scale, layout, edges: see `Parameters`.
        selection: what compares architectures by the trained supernet; None to derive from alpha.
        clip: global gradient norm of the weights, None for none.
        architecture_clip: global norm of the architecture loss's gradient, before the regularizers; None for
            none.
        weight_optimizer: parameters -> optimiser of the weights.
        weight_scheduler: that optimiser -> its schedule, stepped once an epoch.
        architecture_optimizer: parameters -> optimiser of alpha.
        max_skips: operations that only pass on which a derived normal cell (or the only one) has at most;
            None for any number.
        cost: the arguments of `ExpectedCost`; None, or neither a weight nor a budget, for none.

    Attributes:
        epochs: those of the whole search, where whoever trains has cut it into pieces.
        budget: what the evaluation network's width is to be chosen for; nothing for the recipe's own width.
        weight_steps: weight steps for each step of alpha.
        tied_rate: whether alpha steps with the present learning rate of the weights.
        clip_value: largest gradient of a single weight; None for none.
        rates: what the regularizers set in the supernet's passes, the same object in all epochs.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    epochs: int | None = None
    budget: Mapping[str, float] = MappingProxyType({})
    weight_steps: int = 1
    tied_rate: bool = False
    clip_value: float | None = None

    def __init__(
        self,
        name: str,
        shapes: Mapping[str, tuple[int, int]],
        relaxation: Relaxation,
        update: Update | None,
        regularizers: Mapping[str, Regularizer] = MappingProxyType({}),
        perturbation: Perturbation | None = None,
        schedule: Schedule | None = None,
        monitors: Mapping[str, Monitor] = MappingProxyType({}),
        init_scale: float = 1e-3,
        layout: Mapping | None = None,
        clip: float | None = None,
        architecture_clip: float | None = None,
        weight_optimizer: Callable | None = None,
        weight_scheduler: Callable | None = None,
        architecture_optimizer: Callable | None = None,
        edges: Relaxation | None = None,
        selection: Selection | None = None,
        max_skips: int | None = None,
        cost: Mapping | None = None,
    ):
        super().__init__(shapes, relaxation, init_scale, layout, edges)
        self.init_scale = init_scale
        require(
            max_skips is None or max_skips >= 0, f"method.max_skips={max_skips}: must be null or at least 0"
        )
        self.max_skips = max_skips
        self.cost = priced(cost, name, update, monitors, selection)
        for key, norm in {"clip": clip, "architecture_clip": architecture_clip}.items():
            require(norm is None or norm > 0, f"method.{key}={norm}: must be null or positive")
        self.name = name
        self.schedule = Schedule() if schedule is None else schedule
        self.clip = clip
        self.architecture_clip = architecture_clip
        self.weight_optimizer = weight_optimizer
        self.weight_scheduler = weight_scheduler
        self.regularizers = dict(regularizers)
        for regularizer in self.regularizers.values():
            regularizer.check(relaxation)
            regularizer.check_stages(1 if self.stages is None else len(self.stages))
            if architecture_optimizer is not None:
                architecture_optimizer = regularizer.optimizer(architecture_optimizer)
        for part in (relaxation,) if edges is None else (relaxation, edges):
            if architecture_optimizer is not None:
                architecture_optimizer = part.optimizer(architecture_optimizer)
        self.rates: dict[str, float] = {}
        self._gather_rates()
        self.architecture_optimizer = architecture_optimizer
        self.selection = selection
        self.update = update
        self.perturbation = perturbation
        self.monitors = {key: monitor for key, monitor in monitors.items() if monitor is not None}
        if self.budgeted:
            self.monitors[BUDGET] = WithinBudget(self.active, self.within_budget)
        self._check_parts()
        choosing = selection if selection is not None and selection.rivals else relaxation
        require(
            any(shape[1] > 1 for shape in shapes.values()) or not (choosing.rivals or relaxation.normalised),
            f"method={name}: this space has one candidate per edge, among which a "
            f"{getattr(choosing, 'name', type(choosing).__name__)} cannot choose; take a method whose op "
            "weights are free: method=dsonas, or method=dsonas_random to draw",
        )

    def _check_parts(self) -> None:
        """Refuses parts that mean nothing together; raises `ConfigError`."""
        update = "none" if self.update is None else self.update.name
        of_its_own = self.learns and not self.joint
        if self.update is not None:
            self.update.check(self.relaxation)
        idle = [key for key, regularizer in self.regularizers.items() if regularizer.explicit]
        require(
            self.learns or not self.trains or not (idle or self.warmup_epochs),
            f"method.update={update}: alpha never moves, so that method.regularizers ({', '.join(idle)}) or "
            f"method.warmup_epochs={self.warmup_epochs} would do nothing; leave them out",
        )
        require(
            self.architecture_clip is None or of_its_own,
            f"method.architecture_clip={self.architecture_clip}: method.update={update} has "
            "no architecture step of its own whose gradient could be clipped; null",
        )
        require(
            self.stages is None or self.trains,
            f"method.stages: method {self.name} trains nothing (method.update=none), so it has no stages",
        )
        drops = self.stages is not None and any(stage.keep is not None for stage in self.stages.stages)
        require(
            self.relaxation.prunable or not drops,
            f"method.stages: op weights of method {self.name} cannot do without those that are dropped; null",
        )
        require(
            self.selection is None
            or (self.trains and (self.draws_architectures or not self.selection.draws)),
            f"method.selection: method {self.name} has no trained weights to compare architectures by, or no "
            "distribution to draw these from; null",
        )
        if self.perturbation is not None:
            self.perturbation.check(self.relaxation)
        require(
            self.perturbation is None or not self.relaxation.one_path,
            "method.perturbation: moves the op weights of all candidates, and "
            "this method's relaxation runs but those that are drawn; null",
        )
        require(
            self.perturbation is None or of_its_own,
            f"method.perturbation: method.update={update} has no weight "
            "step of its own that could be taken at other op weights; null",
        )
        rates = [name for regularizer in self.regularizers.values() for name in regularizer.rates]
        require(len(rates) == len(set(rates)), f"method.regularizers: set twice in {rates}; null for one")
        self._check_monitors(of_its_own)

    def _check_monitors(self, of_its_own: bool) -> None:
        update = "none" if self.update is None else self.update.name
        for key, monitor in self.monitors.items():
            require(
                self.trains,
                f"method.monitors.{key}: method {self.name} trains nothing (method.update=none), so there is "
                "nothing to watch",
            )
            require(
                of_its_own or not monitor.compares_gradients,
                f"method.monitors.{key}: compares the gradients of two losses on different images, and "
                f"method.update={update} has no step on the second",
            )
            require(
                self.selection is None or not monitor.decides,
                f"method.monitors.{key}: may end the search, or name an earlier epoch, and method.selection "
                "compares architectures after the last one; null for one or the other",
            )
            monitor.check(self)

    @property
    def joint(self) -> bool:
        """Whether weights and alpha step together, by one pass on one batch."""
        return self.update is not None and self.update.joint

    @property
    def one_level(self) -> bool:
        """Whether weights and alpha learn on the whole training set, and not on a part each."""
        return self.update is not None and self.update.one_level

    @property
    def stages(self) -> Stages | None:
        """The stages of the schedule, or None."""
        return self.schedule.stages

    @property
    def warmup_epochs(self) -> int:
        """Epochs at the start in which alpha rests."""
        return self.schedule.warmup_epochs

    @property
    def widen(self) -> str:
        """How new channels are drawn between stages."""
        return self.schedule.widen

    @property
    def trains(self) -> bool:
        """Whether there is anything to train: `random` only draws."""
        return self.update is not None

    @property
    def learns(self) -> bool:
        """Whether alpha moves at all."""
        return self.update is not None and self.update.moves

    @property
    def draws_alike(self) -> bool:
        """Whether op weights are drawn, and all processes of a search are to have the same draw."""
        edges = None if self.edges is None else self.edges.relaxation.draws
        return "shared" in (self.relaxation.draws, edges) or self.perturbation is not None

    def check_settings(self, several: bool, implicit_every: int) -> None:
        """Refuses several processes where each would go its own way; raises `ConfigError`."""
        require(
            not several or self.perturbation is None or self.perturbation.several,
            f"method.perturbation: {type(self.perturbation).__name__} looks at the batch of one process; use "
            "hardware.devices=1",
        )
        compares = self.selection is not None or (self.update is not None and self.update.alike)
        require(
            not several or not compares or self.relaxation.draws != "rank",
            f"method.relaxation.draws=rank: processes of method {self.name} compare the same draws; shared",
        )
        require(
            implicit_every == 0 or self.relaxation.differentiable,
            f"analysis.implicit.every={implicit_every}: compares gradients through the op weights, which "
            f"those of method {self.name} do not have; 0",
        )

    def has_step(self, name: str) -> bool:
        """First and second order go through the op weights, which not all have a gradient."""
        return self.relaxation.differentiable or not name.startswith(("first_order", "second_order"))

    def begin_epoch(self, epoch: int, max_epochs: int) -> None:
        """Tells the parts that an epoch begins, before its first step.

        Args:
            epoch: counted from 0.
            max_epochs: epochs of the search, unless `epochs` says that this is a piece of a longer one.
        """
        epochs = max_epochs if self.epochs is None else self.epochs
        self.relaxation.begin_epoch(epoch, epochs)
        if self.edges is not None:
            self.edges.relaxation.begin_epoch(epoch, epochs)
        self.settle()
        for regularizer in self.regularizers.values():
            regularizer.begin_epoch(epoch, epochs)
            self._begin_stage_epoch(regularizer, epoch, epochs)
        self._gather_rates()
        if self.perturbation is not None:
            self.perturbation.begin_epoch(epoch, epochs)

    def _begin_stage_epoch(self, regularizer: Regularizer, epoch: int, epochs: int) -> None:
        if self.stages is None:
            regularizer.begin_stage_epoch(0, epoch, epochs, self.warmup_epochs)
            return
        index, within = self.stages.at(epoch)
        stage = self.stages[index]
        regularizer.begin_stage_epoch(index, within, stage.epochs, stage.freeze)

    def _gather_rates(self) -> None:
        for regularizer in self.regularizers.values():
            self.rates |= regularizer.rates

    def active(self, epoch: int) -> bool:
        """Whether alpha moves in this epoch: not in a warm-up, and not in the frozen start of a stage."""
        return self.learns and not self.schedule.rests(epoch)

    def leave(
        self,
        index: int,
        clean: Callable[[dict[str, Tensor]], dict[str, Tensor]],
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        """Drops what the `index`-th leg of the search begins without."""
        keep = None if self.stages is None else self.stages[index].keep
        if keep is not None:
            self.prune(keep, optimizer)

    @torch.no_grad()
    def renew(self) -> None:
        """Draws alpha anew; what was dropped stays so."""
        for group, alpha_EO in self.alpha.items():
            num_edges, num_operations = alpha_EO.shape
            alpha_EO.copy_(self.relaxation.initial(num_edges, num_operations, self.init_scale))
            self._rest(alpha_EO, ~self.kept()[group], None)
        if self.edges is not None:
            self.edges.load_state_dict(
                EdgeWeights(self.edges.relaxation, self.layout, self.init_scale).state_dict()
            )
        self.decided = Decided()

    def moves(self, epoch: int, iteration: int) -> bool:
        """Whether alpha moves in this step, the `iteration`-th of the search from 0."""
        return self.active(epoch) and (iteration + 1) % self.weight_steps == 0

    def changes(self, max_epochs: int) -> list[int]:
        """The epochs, ascending, before which the network is built anew with fewer candidates.

        Raises:
            ConfigError: the stages, if there are any, do not fill a search of this length.
        """
        return self.schedule.changes(max_epochs)

    @contextmanager
    def stepping(self, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        """The block in which the engine steps the architecture optimiser; what a method adds to a step."""
        assert self.update is not None  # a method that only draws takes no steps
        with self.update.stepping(self.alphas()):
            yield
        self.move_price()

    def stage_scheduler(
        self, optimizer: torch.optim.Optimizer, previous: torch.optim.lr_scheduler.LRScheduler
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The schedule of a new stage's weight optimiser; see `nas.methods.schedules.stage_scheduler`."""
        at_stage = self.schedule.learning_rate_at_stage
        assert self.weight_scheduler is not None  # a method with stages trains
        return stage_scheduler(self.weight_scheduler, optimizer, previous, at_stage)

    def gradient(
        self, problem: Bilevel, weight_batch: Any, architecture_batch: Any, update: Update | None = None
    ) -> ArchitectureGradient:
        """The gradient of the architecture loss, as the update defines it, plus that of the regularizers.

        Args:
            problem: the two-level problem; its alphas are this method's.
            weight_batch: batch of the weight split.
            architecture_batch: batch of the architecture split.
            update: another update than the configured one.

        Returns:
            Its `loss` is the architecture loss without the regularizers.
        """
        chosen = update or self.update
        assert chosen is not None  # a method that only draws takes no steps
        result = chosen.gradient(problem, weight_batch, architecture_batch)
        if self.architecture_clip is not None:
            norm = torch.nn.utils.get_total_norm(result.gradients)
            share = (self.architecture_clip / (norm + 1e-6)).clamp(max=1.0)
            result.gradients = [share * gradient for gradient in result.gradients]
        if self._regularized:
            # After the average over processes: every process adds the same.
            anchors = self.anchor_gradients()
            result.gradients = [g + a for g, a in zip(result.gradients, anchors, strict=True)]
        return result

    def anchor_gradients(self) -> list[Tensor]:
        """The gradient of the regularizers' terms, one tensor per alpha; zeros where there is none."""
        if not self._regularized:
            return [torch.zeros_like(alpha_EO) for alpha_EO in self.alphas()]
        gradients = torch.autograd.grad(self.penalty(), self.alphas(), allow_unused=True)
        return [
            torch.zeros_like(alpha) if gradient is None else gradient
            for alpha, gradient in zip(self.alphas(), gradients, strict=True)
        ]

    def penalty(self) -> Tensor:
        """The regularizers' terms of the objective at the kept candidates, a differentiable scalar."""
        kept = [self._kept(group) for group in self.alpha]
        terms = [regularizer.penalty(self.relaxation, kept) for regularizer in self._terms()]
        terms += [] if self.edges is None else self.edges.penalties(self._terms())
        if self.cost is not None:
            terms.append(self.cost.penalty(self._times_edges(self._expected())))
        return torch.stack(terms).sum() if len(terms) > 1 else (*terms, kept[0].new_zeros(()))[0]

    @property
    def _regularized(self) -> bool:
        return bool(self._terms()) or self.cost is not None

    def _terms(self) -> list[Regularizer]:
        return [regularizer for regularizer in self.regularizers.values() if regularizer.explicit]
