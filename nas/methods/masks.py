"""Which candidates of every edge are kept, and the way from all of them to the kept and back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nas.errors import require


class Masks(nn.Module):
    """Boolean masks [E, O], one per group, that checkpoints hold as `mask_<group>`.

    Args:
        shapes: for each group its (E, O); everything is kept at first.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, int]]):
        super().__init__()
        self.shapes = {group: tuple(shape) for group, shape in shapes.items()}
        for group, shape in self.shapes.items():
            self.register_buffer(f"mask_{group}", torch.ones(shape, dtype=torch.bool))

    def masks(self) -> dict[str, Tensor]:
        """Copies of the masks."""
        return {group: self._mask(group).clone() for group in self.shapes}

    def _mask(self, group: str) -> Tensor:
        return self.get_buffer(f"mask_{group}")


class Kept(Masks):
    """All edges of a group keep as many, and what is done with them has no columns for the others.

    Args:
        shapes: for each group its (E, O); everything is kept at first.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, int]]):
        super().__init__(shapes)
        self._index()

    def take(self, group: str, values_EO: Tensor) -> Tensor:
        """The columns of the kept candidates, [E, K]; differentiable, with gradient 0 for the others."""
        columns_EK = self._columns(group)
        return values_EO if columns_EK.shape == values_EO.shape else values_EO.gather(1, columns_EK)

    def spread(self, group: str, values_EK: Tensor, fill: float = 0.0) -> Tensor:
        """Values [..., E, K] of the kept candidates -> [..., E, O], with `fill` for the dropped."""
        columns_EK = self._columns(group)
        if tuple(columns_EK.shape) == self.shapes[group]:
            return values_EK
        full_EO = values_EK.new_full((*values_EK.shape[:-1], self.shapes[group][1]), fill)
        return full_EO.scatter(-1, columns_EK.to(values_EK.device).expand_as(values_EK), values_EK)

    @torch.no_grad()
    def prune(self, group: str, alpha_EO: Tensor, keep: int) -> Tensor:
        """Keeps the `keep` largest of the candidates that are left, ties by the lower index.

        Returns:
            The new mask [E, O].
        """
        order_EK = self.take(group, alpha_EO).sort(dim=-1, descending=True, stable=True).indices
        columns_EK = self._columns(group).gather(1, order_EK[:, :keep])
        mask_EO = self._mask(group)
        mask_EO.fill_(False).scatter_(1, columns_EK, True)
        self._index()
        return mask_EO

    def _columns(self, group: str) -> Tensor:
        return self.get_buffer(f"columns_{group}")

    def _index(self) -> None:
        """Notes the kept columns as indices: counting them off a mask would make each step wait for a GPU."""
        for group in self.shapes:
            mask_EO = self._mask(group)
            sizes = set(mask_EO.sum(1).tolist())
            require(
                len(sizes) == 1 and min(sizes) >= 1,
                f"checkpoint: the edges of group {group} keep {sorted(sizes)} candidates, not all as many",
            )
            columns_EK = mask_EO.nonzero()[:, 1].view(len(mask_EO), -1)
            self.register_buffer(f"columns_{group}", columns_EK, persistent=False)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._index()


class Alive(Masks):
    """Every edge keeps any number, even none. Values keep their shape, with 0 where something was dropped.

    For relaxations in which the candidates of an edge do not share a sum, so that a 0 is as good as absence.
    """

    def take(self, group: str, values_EO: Tensor) -> Tensor:
        """The values with 0 for the dropped, [E, O]; differentiable, with gradient 0 for the dropped."""
        return values_EO.where(self._mask(group), 0.0)

    def spread(self, group: str, values_EO: Tensor, fill: float = 0.0) -> Tensor:
        """Values [..., E, O] with `fill` for the dropped."""
        return values_EO.where(self._mask(group).to(values_EO.device), fill)

    @torch.no_grad()
    def keep_only(self, masks: Mapping[str, Tensor]) -> None:
        """Drops what these masks leave out; what was dropped before stays so whatever they say.

        Args:
            masks: {group: bool [E, O]}; a group that is not named keeps what it has.

        Raises:
            ConfigError: there is no group of that name, or it has another shape.
        """
        for group, mask_EO in masks.items():
            require(group in self.shapes, f"mask of group {group}: there are {', '.join(self.shapes)}")
            require(
                tuple(mask_EO.shape) == self.shapes[group],
                f"mask of group {group}: of shape {tuple(mask_EO.shape)}, not {self.shapes[group]}",
            )
            own_EO = self._mask(group)
            own_EO.logical_and_(mask_EO.to(own_EO.device))
