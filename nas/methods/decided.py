"""Edges about which nothing is learnt any more: their op weights are fixed, and no gradient reaches alpha."""

from collections.abc import Mapping

import torch
from torch import Tensor


class Decided:
    """Rows of op weights that stand in for what alpha says; none at first."""

    def __init__(self) -> None:
        self._rows: dict[str, Tensor] = {}  # bool [E]
        self._choices: dict[str, Tensor] = {}  # [E, O]

    def __bool__(self) -> bool:
        return bool(self._rows)

    def decide(self, group: str, rows_E: Tensor, choices_EO: Tensor, anew: bool = False) -> None:
        """Fixes some edges of a group.

        Args:
            group: its name.
            rows_E: which edges, bool [E]; what was decided before stays decided.
            choices_EO: their op weights; other rows are not looked at.
            anew: whether these also take the place of what was decided before.
        """
        rows_E, choices_EO = rows_E.detach().cpu(), choices_EO.detach().cpu().double()
        before_E = self.rows(group, choices_EO)
        if before_E.any():
            new_E = rows_E if anew else rows_E & ~before_E
            choices_EO = torch.where(new_E[:, None], choices_EO, self._choices[group])
        self._rows[group] = rows_E | before_E
        self._choices[group] = choices_EO

    def rows(self, group: str, like_EO: Tensor) -> Tensor:
        """Which edges of a group are decided, bool [E], on the device of a tensor of its shape."""
        if group not in self._rows:
            return like_EO.new_zeros(len(like_EO), dtype=torch.bool)
        self._place(group, like_EO.device)
        return self._rows[group]

    def applied(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{group: [..., E, O]} with the decided rows in their places."""
        result = dict(values)
        for group in self._rows:
            value_EO = result[group]
            self._place(group, value_EO.device)
            choices_EO = self._choices[group].to(value_EO.dtype)
            result[group] = torch.where(self._rows[group][:, None], choices_EO, value_EO)
        return result

    def _place(self, group: str, device: torch.device) -> None:
        """Keeps what is decided where it is asked for: a copy in every pass would be waited for."""
        self._rows[group] = self._rows[group].to(device)
        self._choices[group] = self._choices[group].to(device)

    def state(self) -> dict:
        """Plain containers for a checkpoint; empty where nothing is decided."""
        return {
            group: {"rows": self._rows[group].cpu(), "choices": self._choices[group].cpu()}
            for group in self._rows
        }

    def load(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Takes what `state` gave."""
        self._rows = {group: saved["rows"].cpu() for group, saved in state.items()}
        self._choices = {group: saved["choices"].cpu() for group, saved in state.items()}
