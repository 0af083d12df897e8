"""Numbers that are none, put into a run at one of its steps, in the process of its command.

python -c "import torture.rooms.injecting; torture.rooms.injecting.main()" nas.search ...
"""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._pytree import tree_map

from nas.engine.evaluation_module import EvaluationModule
from nas.engine.language_evaluation import LanguageEvaluation
from nas.engine.search_module import SearchModule
from torture import inside

# A JSON object with `what`, `value`, `at` (a step from 0), `seed` and `note`, a file that says it was done.
VARIABLE = "TORTURE_NUMBER"
VALUES = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf"), "overflow": 3e38}


def main() -> None:
    """Runs a command with what the variable asks for."""
    asked = json.loads(os.environ[VARIABLE])
    note = Path(asked["note"])
    injection = Injection(asked["what"], VALUES[asked["value"]], asked["at"], asked["seed"], note)
    _wrap(SearchModule, "_step", injection)
    for owner in (EvaluationModule, LanguageEvaluation):
        _wrap(owner, "training_step", injection)
        _wrap_optimizing(owner, injection)
    register_optimizer_step_pre_hook(injection.before_own_step)
    inside.main()


def _wrap(owner: type, name: str, injection: "Injection") -> None:
    original: Callable = owner.__dict__[name]

    def step(self: Any, *batches: Any) -> Any:
        return original(self, *injection.before_step(self, batches))

    setattr(owner, name, step)


def _wrap_optimizing(owner: type, injection: "Injection") -> None:
    # Lightning steps with the pass in a closure, of which an optimiser's own hook sees the gradients before.
    original: Callable = owner.on_before_optimizer_step  # type: ignore[attr-defined]

    def begin(self: Any, optimizer: Any) -> None:
        original(self, optimizer)
        injection.before_optimizer(optimizer)

    owner.on_before_optimizer_step = begin  # type: ignore[attr-defined]


class Injection:
    """One number at one place of one step.

    Args:
        what: `weight`, `alpha`, `data` (a pixel of each batch of the step), `gradient` (of the weights),
            `architecture-gradient` (of alpha), `statistics` (of a batch norm).
        value: the number.
        at: the step, from 0.
        seed: draws the place.
        note: a file that is there once it was done.
    """

    def __init__(self, what: str, value: float, at: int, seed: str, note: Path):
        self.what, self.value, self.at, self.note = what, value, at, note
        self.rng, self.step = random.Random(seed), 0
        self._module: Any = None

    def before_step(self, module: Any, batches: tuple) -> tuple:
        """The batches of a step, and what is in the module before it."""
        self._module = module
        now, self.step = self.step == self.at, self.step + 1
        if not now:
            return batches
        with torch.no_grad():
            if self.what == "weight":
                self._spoil(self.rng.choice(self._weights()))
            elif self.what == "alpha":
                self._spoil(self.rng.choice(module.method.alphas()))
            elif self.what == "statistics":
                found = [
                    one
                    for name, one in module.named_buffers()
                    if name.endswith(("running_mean", "running_var"))
                ]
                self._spoil(self.rng.choice(found))
            elif self.what == "data":
                return tree_map(self._spoilt, batches)
        return batches

    def before_own_step(self, optimizer: Any, arguments: Any, options: Any) -> None:
        """The same where a module steps by itself."""
        if isinstance(self._module, SearchModule):
            self.before_optimizer(optimizer)

    def before_optimizer(self, optimizer: Any) -> None:
        """The gradients of the step, before they are taken."""
        if self._module is None or self.step != self.at + 1 or "gradient" not in self.what:
            return
        alphas = [id(one) for one in self._module.method.alphas()] if self.what != "gradient" else []
        weights = {id(one) for one in (self._weights() if self.what == "gradient" else [])}
        taken = [one for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
        found = [one.grad for one in taken if id(one) in alphas or id(one) in weights]
        if found:
            self._spoil(self.rng.choice(found))

    def _weights(self) -> list[Tensor]:
        module = getattr(self._module, "supernet", None) or self._module.network
        assert isinstance(module, nn.Module)
        return list(module.parameters())

    def _spoil(self, tensor: Tensor) -> None:
        tensor.view(-1)[self.rng.randrange(tensor.numel())] = self.value
        self.note.touch()

    def _spoilt(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point() or leaf.ndim < 2:
            return leaf
        found = leaf.clone()
        self._spoil(found)
        return found
