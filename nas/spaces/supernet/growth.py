"""From one supernet to the next of a progressive search: fewer candidates, more channels through them.

Chen et al. 2021 (DrNAS), section 2.4: after a stage the weakest candidates go and a larger share of the
channels runs through the others. New channels are copies of old ones (Net2Net, Chen et al. 2016) without the
division by the number of copies; what an optimiser remembers of a weight is copied with it.

Shapes: m edges that hold a candidate, C channels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.errors import ConfigError, require
from nas.spaces.supernet.candidate import Term, key
from nas.spaces.supernet.fan_out import FanOut

MAPPINGS = ("code", "shared")


@dataclass(frozen=True)
class TensorMap:
    """Where the entries of a stacked tensor [m, ...] come from.

    Attributes:
        edges: for each new edge its position among the old ones, [m].
        channels: for each later dimension a map [m, C] of new to old entries, or None if it stays.
    """

    edges: Tensor
    channels: tuple[Tensor | None, ...]

    def __call__(self, old: Tensor) -> Tensor:
        """The new tensor; also for what has the tensor's shape, such as its momentum."""
        new = old[self.edges.to(old.device)]
        for dim, index in enumerate(self.channels, start=1):
            if index is not None:
                shape = [1] * new.dim()
                shape[0], shape[dim] = index.shape
                new = torch.take_along_dim(new, index.to(old.device).view(shape), dim)
        return new.clone()


def growth_maps(
    old: nn.Module, new: nn.Module, generator: torch.Generator, mapping: str = "code"
) -> dict[str, TensorMap]:
    """Maps from the tensors of a supernet to those of its successor.

    Args:
        old: the supernet so far.
        new: the same supernet with some of its candidates, and as many channels through them or more.
        generator: draws which channels are copied; the first ones are always the old ones in their order.
        mapping: `code`: what a candidate's layers draw (the authors' code): of a separable convolution one
            draw for the depthwise outputs and the pointwise inputs that read them and one for the pointwise
            outputs, of a dense one a draw per axis; a batch norm follows its layer. `shared`: one draw for
            all axes of a candidate on an edge (the paper's formula).

    Returns:
        Tensor name -> map. Tensors that it does not name stay as they are.

    Raises:
        ConfigError: the mapping is unknown, or the new network has fewer channels or other candidates.
    """
    require(mapping in MAPPINGS, f"method.widen={mapping}: must be one of {', '.join(MAPPINGS)}")
    before = {name: module for name, module in old.named_modules() if isinstance(module, FanOut)}
    maps = {}
    for place, fan_out in new.named_modules():
        if not isinstance(fan_out, FanOut):
            continue
        for name in fan_out.holders:
            candidate = fan_out.candidates[key(name)]
            edges = _positions(before[place], fan_out, name)
            if isinstance(candidate, Term):
                edges = edges[:1] * 0  # one result for all edges
            draw = _drawer(before[place].channels, fan_out.channels, len(edges), generator, mapping)
            for tensor, channels in candidate.growth(draw):
                maps[f"{place}.candidates.{key(name)}.{tensor}"] = TensorMap(edges, channels)
    return maps


def check_widening(old: nn.Module, new: nn.Module) -> None:
    """Raises `ConfigError` where more channels are to run through a candidate that nobody taught to grow."""
    before = {place: module for place, module in old.named_modules() if isinstance(module, FanOut)}
    for place, module in new.named_modules():
        for name in module.holders if isinstance(module, FanOut) else ():
            require(
                before[place].channels == module.channels or module.candidates[key(name)].widens,
                f"space.operations: {name} does not say how it gets new channels, so K cannot change between "
                "stages; give all of method.stages the same partial",
            )


def inherit(state: Mapping[str, Tensor], new: nn.Module, maps: Mapping[str, TensorMap]) -> dict[str, Tensor]:
    """The state dict of the new supernet, made of the old one's."""
    return {name: maps[name](state[name]) if name in maps else state[name] for name in new.state_dict()}


def _positions(old: FanOut, new: FanOut, name: str) -> Tensor:
    if not set(new.holders[name]) <= set(old.holders.get(name, ())):
        raise ConfigError(f"method.stages: candidate {name!r} was pruned before and cannot come back")
    return torch.tensor([old.holders[name].index(edge) for edge in new.holders[name]], dtype=torch.long)


def _drawer(
    before: int, after: int, m: int, generator: torch.Generator, mapping: str
) -> Callable[[int], Tensor]:
    require(
        after >= before,
        f"method.stages: {after} channels through the candidates after {before}; partial must not grow",
    )
    seen: dict[int, Tensor] = {}

    def draw(parts: int) -> Tensor:
        if mapping == "shared" and parts in seen:
            return seen[parts]
        old, new = before // parts, after // parts
        copies = torch.randint(old, (m, parts, new - old), generator=generator)
        first = torch.arange(old).expand(m, parts, old)
        offset = (torch.arange(parts) * old)[:, None]
        seen[parts] = (torch.cat([first, copies], dim=2) + offset).flatten(1)
        return seen[parts]

    return draw
