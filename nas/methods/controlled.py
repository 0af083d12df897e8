"""ENAS: a method whose architecture parameters are those of a controller."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from nas.errors import ConfigError, require, require_whole
from nas.methods.controller import Choice, Controller, plan_of
from nas.methods.method import Method
from nas.methods.monitors import Monitor
from nas.methods.regularizers import Regularizer
from nas.methods.relaxations import Frequencies, Relaxation
from nas.methods.relaxations.categorical import gumbel
from nas.methods.schedules import Schedule
from nas.methods.selections import Selection
from nas.methods.updates import Update
from nas.op_weights import OpWeights

SAMPLES, SEED = 100, 0


class ControllerMethod(Method):
    """Draws every pass's architecture from an LSTM and moves the LSTM (Pham et al. 2018).

    `alphas()` are the controller's parameters. `alpha` is what follows from them: how often the controller
    draws each candidate, estimated anew after each of its steps from 100 draws of one fixed seed, as the mean
    of the conditional probabilities on their way. It is what is recorded, and what is derived where there is
    no selection.

    Args:
        relaxation: `Frequencies`.
        update: one that knows the probability of what was drawn.
        regularizers: none on alpha.
        weight_steps: x of the ratio x:1, weight steps for each step of the controller.
        hidden, layers, tanh, temperature, init: see `Controller`.
        name, shapes, selection, schedule, monitors, layout, clip, architecture_clip, weight_optimizer,
            weight_scheduler, architecture_optimizer: see `Method`.

    Raises:
        ConfigError: a value is unknown or out of range, there is no layout, or the parts do not suit a
            controller.
    """

    def __init__(
        self,
        name: str,
        shapes: Mapping[str, tuple[int, int]],
        relaxation: Relaxation,
        update: Update | None,
        selection: Selection | None = None,
        regularizers: Mapping[str, Regularizer] = MappingProxyType({}),
        schedule: Schedule | None = None,
        monitors: Mapping[str, Monitor] = MappingProxyType({}),
        weight_steps: int = 1,
        hidden: int = 32,
        layers: int = 2,
        tanh: float = 2.5,
        temperature: float = 5.0,
        init: float = 0.1,
        layout: Mapping | None = None,
        clip: float | None = None,
        architecture_clip: float | None = None,
        weight_optimizer: Callable | None = None,
        weight_scheduler: Callable | None = None,
        architecture_optimizer: Callable | None = None,
    ):
        require_whole("method.weight_steps", weight_steps, 1)
        require(
            update is not None and update.by_probability,
            f"method.update={'none' if update is None else update.name}: a controller learns by the "
            "probability of what it draws; ScoreFunction or ImportanceWeights of nas.methods.updates",
        )
        require(
            isinstance(relaxation, Frequencies),
            f"method.relaxation: {type(relaxation).__name__} makes op weights of alpha, but here a "
            "controller draws them; nas.methods.relaxations.Frequencies",
        )
        for key, regularizer in regularizers.items():
            require(
                type(regularizer).penalty is Regularizer.penalty,
                f"method.regularizers.{key}: a term on alpha, which a controller has none of; leave it out",
            )
        if layout is None:
            raise ConfigError(f"method={name}: which edges enter a node is known with a layout alone")
        super().__init__(
            name,
            shapes,
            relaxation=relaxation,
            update=update,
            regularizers=regularizers,
            schedule=schedule,
            monitors=monitors,
            layout=layout,
            clip=clip,
            architecture_clip=architecture_clip,
            weight_optimizer=weight_optimizer,
            weight_scheduler=weight_scheduler,
            architecture_optimizer=architecture_optimizer,
            selection=selection,
        )
        self.weight_steps = weight_steps
        self.controller = Controller(layout, hidden, layers, tanh, temperature, init)
        self.alpha.requires_grad_(False)
        self._plan: list[Choice] = []
        self._allowed: dict[str, Tensor] = {}

    @property
    def draws_architectures(self) -> bool:
        """It does."""
        return True

    def alphas(self) -> list[Tensor]:
        """The controller's parameters."""
        return list(self.controller.parameters())

    def attach(self, costs: Callable[[], Mapping[str, Any]], guards: Mapping[str, Sequence[Any]]) -> None:
        """Finds out which choices make an architecture of the space."""
        assert self.derived is not None and self.layout is not None  # the former is set beside this call
        self._plan, self._allowed = plan_of(self.layout, self.derived)
        self._estimate()

    @torch.no_grad()
    def candidate_weights(self) -> dict[str, Tensor]:
        """One draw: one-hot rows {group: [E, O]}, zero for an edge that was not drawn."""
        device = self.controller.start.device
        walk = self.controller.draw(
            self._plan,
            self._allowed,
            1,
            lambda *shape: gumbel(torch.empty(shape, device=device).exponential_()),
        )
        return self.decided.applied({group: drawn_NEO[0] for group, drawn_NEO in walk.drawn.items()})

    def draw(self) -> OpWeights:
        """A draw of the controller's, from torch's global generator of its device."""
        return self.op_weights()

    @torch.no_grad()
    def sample_strengths(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draws of the controller's: {group: [count, E, O]}, one-hot rows, float64, on the CPU."""
        walk = self.controller.draw(self._plan, self._allowed, count, _from(generator))
        return {group: drawn_NEO.cpu().double() for group, drawn_NEO in walk.drawn.items()}

    def log_probability(self, op_weights: Mapping[str, Tensor]) -> Tensor:
        """Log probability of one-hot op weights, a scalar that is differentiable in the controller."""
        return self.controller.follow(self._plan, self._allowed, op_weights).log_probability[0]

    def path_entropy(self, op_weights: Mapping[str, Tensor]) -> Tensor:
        """Entropies of the choices on the way to one-hot op weights, summed, in nats; a scalar."""
        return self.controller.follow(self._plan, self._allowed, op_weights).entropy[0]

    def has_step(self, name: str) -> bool:
        """No step goes through the op weights."""
        return not name.startswith(("first_order", "second_order"))

    @contextmanager
    def stepping(self, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        """The controller's step, after which its draws are estimated anew."""
        with super().stepping(optimizer):
            yield
        self._estimate()

    @torch.no_grad()
    def _estimate(self) -> None:
        generator = torch.Generator().manual_seed(SEED)
        walk = self.controller.draw(self._plan, self._allowed, SAMPLES, _from(generator))
        for group, probability_NEO in walk.conditional.items():
            self.alpha[group].copy_(probability_NEO.mean(0))


def _from(generator: torch.Generator) -> Callable[[int, int], Tensor]:
    """Gumbel noise of a generator on the CPU."""
    return lambda *shape: gumbel(torch.empty(shape, dtype=torch.float64).exponential_(generator=generator))
