"""DSO-NAS: a scaling factor on every candidate, pushed to an exact zero by a proximal step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from nas.errors import require, require_whole
from nas.methods.masks import Alive
from nas.methods.method import Method
from nas.methods.monitors import Monitor
from nas.methods.proximal import AcceleratedProximalGradient
from nas.methods.relaxations import Connections, Relaxation
from nas.methods.schedules import Schedule
from nas.methods.sparsity import GroupCosts, Guarded, Sparsity, guard
from nas.methods.updates import FirstOrder, Update


class SparseMethod(Method):
    """Minimises loss + weight decay + gamma ||factors||_1 (Zhang et al. 2018, equation 5).

    Pretraining (`warmup_epochs`) leaves all factors at 1. After it, weights and factors step in turn, each on
    its own split, or together (`update=joint`). Every `prune_every` epochs candidates whose factor is exactly
    0, and those that the space cleans away with them, leave the network for good.

    Args:
        name: as in run folders (`dsonas`, ...).
        shapes: for each edge group its (E, O).
        relaxation: `ScalingFactors`; `Connections` for the random baseline, which draws and does not train.
        update: `FirstOrder` (alternating), `Joint`, or None.
        gamma: weight of the L1 norm; the threshold of a step is the learning rate times gamma.
        adaptive: how gamma differs from factor to factor, see `nas.methods.sparsity.Sparsity`.
        prune_every: epochs between two rebuilds of the network; None for never.
        weight_steps: x of the ratio x:1, weight steps for each step of the factors.
        tied_rate: whether factors step with the present learning rate of the weights.
        budget: {`macs`: multiply-adds or None, `params`: parameters or None} that the evaluation network's
            width is chosen for when the search ends.
        latency_table: for `adaptive=latency` the file that times are read from; None to measure them.
        cost: as for `Method`; the expected cost is a weighted L1 norm of the factors then.
        init_scale: standard deviation of the factors' start around 1.
        warmup_epochs: epochs of pretraining.
        clip: global gradient norm of the weights, None for none.
        clip_value: largest gradient of a single weight, None for none.
        monitors, layout, weight_optimizer, weight_scheduler, architecture_optimizer: see `Method`; the last
            must build an `AcceleratedProximalGradient`, which gets this gamma.

    Attributes:
        costs: what the space says of its groups, once `attach` has been called.
        seconds: {group: [E, O]}, measured times of the candidates, for `adaptive=latency`.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    drops_candidates = True
    candidates: Alive

    def __init__(
        self,
        name: str,
        shapes: Mapping[str, tuple[int, int]],
        relaxation: Relaxation,
        update: Update | None,
        gamma: float = 1e-3,
        adaptive: str = "none",
        prune_every: int | None = 5,
        weight_steps: int = 1,
        tied_rate: bool = True,
        budget: Mapping | None = None,
        latency_table: str | None = None,
        init_scale: float = 0.0,
        warmup_epochs: int = 0,
        monitors: Mapping[str, Monitor] = MappingProxyType({}),
        layout: Mapping | None = None,
        clip: float | None = None,
        clip_value: float | None = None,
        weight_optimizer: Callable | None = None,
        weight_scheduler: Callable | None = None,
        architecture_optimizer: Callable | None = None,
        cost: Mapping | None = None,
    ):
        _check_update(update, weight_steps)
        require(
            clip_value is None or clip_value > 0, f"method.clip_value={clip_value}: must be null or positive"
        )
        require(
            not isinstance(relaxation, Connections) or all(shape[1] == 1 for shape in shapes.values()),
            f"method={name}: draws connections of spaces with one candidate per edge, such as dso; here an "
            "edge has several, of which method=random draws one",
        )
        require(
            latency_table is None or adaptive == "latency",
            f"method.latency_table={latency_table}: read by method.adaptive=latency alone, not {adaptive}",
        )
        self.latency_table = latency_table
        self.wants_times = adaptive == "latency"
        self.budget = _budget(budget)
        super().__init__(
            name,
            shapes,
            relaxation=relaxation,
            update=update,
            schedule=Schedule(warmup_epochs, learning_rate_at_stage="continuous"),
            monitors=monitors,
            init_scale=init_scale,
            layout=layout,
            clip=clip,
            weight_optimizer=weight_optimizer,
            weight_scheduler=weight_scheduler,
            architecture_optimizer=architecture_optimizer,
            cost=cost,
        )
        require(
            not (self.budgeted and self.budget),
            "method.budget: chooses a width for what was found, which changes what method.cost.budget is of; "
            "null for one or the other",
        )
        self.sparsity = Sparsity(gamma, adaptive, prune_every)
        if architecture_optimizer is not None:
            self.architecture_optimizer = partial(_proximal, architecture_optimizer, gamma)
        self.weight_steps = weight_steps
        self.tied_rate = tied_rate
        self.clip_value = clip_value
        self._guards: Mapping[str, Sequence[Guarded]] = {}

    def _candidates(self) -> Alive:
        return Alive({group: tuple(alpha_EO.shape) for group, alpha_EO in self.alpha.items()})

    def attach(
        self, costs: Callable[[], Mapping[str, GroupCosts]], guards: Mapping[str, Sequence[Guarded]]
    ) -> None:
        """Tells the method what candidates cost, and which of a group's rows may not all die.

        Raises:
            ConfigError: the costs of this space do not say what `adaptive` needs.
        """
        self.costs = costs()
        super().attach(lambda: self.costs or {}, guards)
        self._guards = guards
        if not self.wants_times:
            # Once for nothing: what gamma cannot follow in this space is found now.
            self.sparsity.scales(dict(self.alpha), self.costs)

    def needs_no_times(self) -> None:
        """Times change which candidates die and not what a step needs."""
        super().needs_no_times()
        if self.wants_times:
            self.sparsity.adaptive = "none"
            self.wants_times = False

    def check_settings(self, several: bool, implicit_every: int) -> None:
        """Refuses times that differ from process to process, and second order, which there is none of."""
        require(
            not (self.wants_times and self.latency_table is None and several),
            "method.adaptive=latency: each process would measure other times; use hardware.devices=1, "
            "method.latency_table, or flops",
        )
        require(
            not implicit_every,
            f"analysis.implicit.every={implicit_every}: compares terms of second order, and "
            f"method={self.name} has none",
        )

    def has_step(self, name: str) -> bool:
        """Scaling factors step with a proximal step on a first-order gradient, and DSO-NAS knows no other."""
        return not name.startswith("second_order")

    def begin(self, clean: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
        """What never has an effect, such as `none`, need not wait for its zero."""
        self.drop(clean(self.alive()))

    def leave(
        self,
        index: int,
        clean: Callable[[dict[str, Tensor]], dict[str, Tensor]],
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        """Drops what is exactly zero, and what the space cleans away with it."""
        self.drop(clean(self.alive()), optimizer)

    def compared(self, mask_EO: Tensor) -> Tensor:
        """All of them: only what has come to 0 is dropped, and that is something learnt."""
        return torch.ones_like(mask_EO)

    @torch.no_grad()
    def spare(self, guards: Mapping[str, Sequence[Guarded]]) -> None:
        """Makes a draw spare what it is not about: guarded connections that are an edge's one candidate.

        In DSO-NAS these are the two branches of a reduction block, which belong to the network and not to the
        wiring of its blocks that is drawn.
        """
        for group, rules in guards.items():
            if self.alpha[group].shape[1] == 1:
                for rule in rules:
                    self.alpha[group][list(rule.rows)] = 1.0

    def changes(self, max_epochs: int) -> list[int]:
        """Every `prune_every` epochs after the pretraining."""
        every = self.sparsity.prune_every
        return list(range(self.warmup_epochs + every, max_epochs, every)) if every and self.trains else []

    @contextmanager
    def stepping(self, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        """Sets the thresholds before the step; after it the dropped are 0 and the guarded are not."""
        assert isinstance(optimizer, AcceleratedProximalGradient)  # `_proximal` builds no other
        factors = {group: alpha_EO.detach() for group, alpha_EO in self.alpha.items()}
        before = {group: factor_EO.clone() for group, factor_EO in factors.items()}
        for group, scale in self.sparsity.scales(factors, self.costs, self.seconds).items():
            optimizer.set_scale(self.alpha[group], scale)
        yield
        with torch.no_grad():
            # Momentum must not bring back what has left the network.
            after = {group: self.candidates.take(group, factor_EO) for group, factor_EO in factors.items()}
            for group, factor_EO in guard(before, after, self._guards).items():
                factors[group].copy_(factor_EO)
        self.move_price()

    @torch.no_grad()
    def alive(self) -> dict[str, Tensor]:
        """Which factors are not zero: {group: bool [E, O]}."""
        return {group: self._kept(group) != 0 for group in self.alpha}

    @torch.no_grad()
    def drop(self, alive: Mapping[str, Tensor], optimizer: torch.optim.Optimizer | None = None) -> None:
        """Drops for good what is not `alive` ({group: bool [E, O]}), from factors and their momentum."""
        self.candidates.keep_only(alive)
        for group, alpha_EO in self.alpha.items():
            self._rest(alpha_EO, ~self.candidates.masks()[group], optimizer)

    def entropy(self) -> dict[str, float]:
        """None: scaling factors are no distribution."""
        return {}


def _check_update(update: Update | None, weight_steps: int) -> None:
    require(
        update is None or isinstance(update, FirstOrder),
        f"method.update={getattr(update, 'name', update)}: unknown for scaling factors; known are "
        "first_order, joint, coordinate_descent, none",
    )
    require_whole("method.weight_steps", weight_steps, 1)
    require(
        weight_steps == 1 or update is None or not update.joint,
        f"method.weight_steps={weight_steps}: method.update=joint steps both each time; set it to 1",
    )


def _proximal(build: Callable, gamma: float, parameters: Sequence[Tensor]) -> AcceleratedProximalGradient:
    optimizer = build(parameters)
    require(
        isinstance(optimizer, AcceleratedProximalGradient),
        f"method.architecture_optimizer: {type(optimizer).__name__} makes no exact zeros; set its _target_ "
        "to nas.methods.proximal.AcceleratedProximalGradient",
    )
    for group in optimizer.param_groups:
        group["gamma"] = gamma
    return optimizer


def _budget(budget: Mapping | None) -> dict[str, float]:
    given = dict(budget or {})
    known = ("macs", "params")
    unknown = sorted(set(given) - set(known))
    require(not unknown, f"method.budget: unknown keys {unknown}; known are {', '.join(known)}")
    for key, value in given.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        require(
            value is None or (number and value > 0), f"method.budget.{key}={value}: must be null or positive"
        )
    return {key: value for key, value in given.items() if value is not None}
