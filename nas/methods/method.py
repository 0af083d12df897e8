"""A search method: the composition of a relaxation, an update and a schedule, and the owner of alpha."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from nas.errors import ConfigError, require
from nas.methods.relaxations import build_relaxation
from nas.methods.updates import build_update


class Method(nn.Module):
    """Owns the architecture parameters and says how they become op weights and how they move.

    Args:
        name: as in run folders (`darts1`, ...).
        shapes: for each edge group its (E, O).
        relaxation: `softmax`.
        update: `first_order`, `unrolled`, or `none` for a method that draws and does not train (`random`).
        xi, implicit, epsilon, virtual_momentum: see `nas.methods.updates.Unrolled`.
        init_scale: standard deviation of alpha's start values.
        warmup_epochs: epochs at the start in which alpha rests and only the weights learn.
        layout: what the rows and columns of alpha mean (edges and operations a group), as plain containers; a
            checkpoint holds it and refuses to load into another.
        clip: global gradient norm of the weights, None for none.
        weight_optimizer: parameters -> optimiser of the weights.
        weight_scheduler: that optimiser -> its schedule, stepped once an epoch.
        architecture_optimizer: parameters -> optimiser of alpha.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    def __init__(
        self,
        name: str,
        shapes: Mapping[str, tuple[int, int]],
        relaxation: str = "softmax",
        update: str = "first_order",
        xi: float | None = None,
        implicit: str = "finite_difference",
        epsilon: float = 0.01,
        virtual_momentum: bool = True,
        init_scale: float = 1e-3,
        warmup_epochs: int = 0,
        layout: Mapping | None = None,
        clip: float | None = None,
        weight_optimizer: Callable | None = None,
        weight_scheduler: Callable | None = None,
        architecture_optimizer: Callable | None = None,
    ):
        super().__init__()
        require(warmup_epochs >= 0, f"method.warmup_epochs={warmup_epochs}: must be at least 0")
        require(init_scale >= 0, f"method.init_scale={init_scale}: must be at least 0")
        require(clip is None or clip > 0, f"method.clip={clip}: must be null or positive")
        self.name = name
        self.warmup_epochs = warmup_epochs
        self.layout = layout
        self.clip = clip
        self.weight_optimizer = weight_optimizer
        self.weight_scheduler = weight_scheduler
        self.architecture_optimizer = architecture_optimizer
        self.relaxation = build_relaxation(relaxation)
        self.update = (
            None if update == "none" else build_update(update, xi, implicit, epsilon, virtual_momentum)
        )
        self.alpha = nn.ParameterDict(
            {
                group: nn.Parameter(self.relaxation.initial(*shapes[group], init_scale))
                for group in sorted(shapes)
            }
        )

    @property
    def trains(self) -> bool:
        """Whether there is anything to train: `random` only draws."""
        return self.update is not None

    def alphas(self) -> list[Tensor]:
        """The architecture parameters, in a fixed order."""
        return [self.alpha[group] for group in self.alpha]

    def active(self, epoch: int) -> bool:
        """Whether alpha moves in this epoch."""
        return self.trains and epoch >= self.warmup_epochs

    def op_weights(self) -> dict[str, Tensor]:
        """What the supernet uses in one forward pass: {group: [E, O]}."""
        return {group: self.relaxation.op_weights(alpha_EO) for group, alpha_EO in self.alpha.items()}

    @torch.no_grad()
    def strengths(self) -> dict[str, Tensor]:
        """What derivation ranks: {group: [E, O]}, detached."""
        return {group: self.relaxation.strengths(alpha_EO).detach() for group, alpha_EO in self.alpha.items()}

    @torch.no_grad()
    def entropy(self) -> dict[str, float]:
        """Mean entropy of an edge's op weights in nats, a group; log(O) is undecided, 0 is decided."""
        return {
            group: float(torch.special.entr(weights_EO.double()).sum(-1).mean())
            for group, weights_EO in self.strengths().items()
        }

    def get_extra_state(self) -> dict:
        """The layout and its digest, stored with the parameters."""
        return {"layout": self.layout, "digest": _digest(self.layout)}

    def set_extra_state(self, state: dict) -> None:
        """Refuses parameters whose rows and columns mean something else.

        Raises:
            ConfigError: edges or operations differ from this method's, or come in another order.
        """
        if state["digest"] != _digest(self.layout):
            raise ConfigError(
                "checkpoint: its architecture parameters belong to other edges or operations, or to another "
                f"order of them: {_difference(state['layout'], self.layout)}"
            )


def layout_of(groups: Mapping) -> dict:
    """Plain containers that say what alpha's rows and columns mean."""
    return {
        name: {
            "edges": [list(edge) for edge in group.edges],
            "operations": [list(names) for names in group.operations],
        }
        for name, group in groups.items()
    }


def _digest(layout: Mapping | None) -> str:
    return hashlib.sha256(json.dumps(layout, sort_keys=True).encode()).hexdigest()


def _difference(theirs: Mapping | None, ours: Mapping | None) -> str:
    for group in sorted(set(theirs or {}) | set(ours or {})):
        for field in ("edges", "operations"):
            a: Sequence = ((theirs or {}).get(group) or {}).get(field, [])
            b: Sequence = ((ours or {}).get(group) or {}).get(field, [])
            for row, (left, right) in enumerate(zip(a, b, strict=False)):
                if left != right:
                    return f"{group} row {row} has {field} {left} there and {right} here"
            if len(a) != len(b):
                return f"{group} has {len(a)} {field} there and {len(b)} here"
    return "no layout stored"
