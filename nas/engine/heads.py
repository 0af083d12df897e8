"""The last layer of weights that a training starts from: it is taken where its classes are this network's.

Shapes: K classes or words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.errors import require_one_of
from nas.printable import listed

NAMES, TAKE, ANEW = HEADS = ("names", "take", "anew")


@dataclass(frozen=True)
class Head:
    """What depends on the classes of a network, and what these are called.

    Attributes:
        sides: of each tensor that the number of classes sizes its name and the side [K] that does.
        ours: the names of the network's classes or words in the order of its outputs; None for unknown.
        theirs: those of the weights.
        rule: `names` (taken where the names are the same ones, in this network's order), `take` (as the
            weights have it, whatever they are called) or `anew` (never).
    """

    sides: Mapping[str, int]
    ours: Sequence[str] | None
    theirs: Sequence[str] | None
    rule: str = NAMES

    def fitted(self, weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], frozenset[str], str]:
        """Weights as this network takes them, the names of those that it leaves, and a line on that.

        The line is empty where nothing was to be decided: the names agree, are not known, or are not as many.
        """
        same = dict(weights)
        if self.rule == TAKE:
            return same, frozenset(), ""
        if self.rule == ANEW:
            return same, frozenset(self.sides), "the last layer begins anew, as init_head=anew says"
        ours, theirs = self.ours, self.theirs
        if ours is None or theirs is None or list(ours) == list(theirs) or len(ours) != len(theirs):
            return same, frozenset(), ""
        places = {name: place for place, name in enumerate(theirs)}
        if set(ours) != set(theirs) or len(places) != len(theirs):
            others = [name for name in ours if name not in places]
            lost = sorted(set(theirs) - set(ours))
            return (
                same,
                frozenset(self.sides),
                (
                    f"the last layer begins anew: the weights know {listed(lost)}, this network "
                    f"{listed(others)} (init_head=take takes it all the same)"
                ),
            )
        order_K = torch.tensor([places[name] for name in ours])
        for name, side in self.sides.items():
            one = same.get(name)
            if one is not None and one.ndim > side and one.shape[side] == len(theirs):
                same[name] = one.index_select(side, order_K)
        return same, frozenset(), "the last layer is in the order that the classes have here"


def check_head(rule: object) -> None:
    """Raises `ConfigError` for a rule that is none."""
    require_one_of("init_head", rule, HEADS)


def sides_of(own: Mapping[str, Sequence[int]], wider: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The tensors that one class more makes longer, and on which side.

    Args:
        own: names and shapes of a network's tensors.
        wider: those of the same network for one class more.
    """
    return {
        name: next(side for side, (a, b) in enumerate(zip(shape, wider[name], strict=True)) if a != b)
        for name, shape in own.items()
        if name in wider and tuple(shape) != tuple(wider[name])
    }
