"""Edge weights: how much each in-edge of a node counts, learnt beside the op weights.

Xu et al. 2020, equation 3 (a softmax), and Li et al. 2021 (points of a simplex). They also weigh what goes
past the candidates of an edge.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from nas.errors import require
from nas.methods.regularizers import Regularizer
from nas.methods.relaxations import Relaxation
from nas.methods.standing import in_edges


class EdgeWeights(nn.Module):
    """Parameters beta, one row [1, n] for each node with n in-edges.

    Args:
        relaxation: beta -> weights of a node's in-edges.
        layout: {group: {`edges`: [[source, target], ...]}}, in the order of alpha's rows.
        scale: standard deviation of beta's start values.

    Raises:
        ConfigError: there is no layout.
    """

    def __init__(self, relaxation: Relaxation, layout: Mapping | None, scale: float):
        super().__init__()
        require(layout is not None, "method.edges: which edges enter a node is known with a layout alone")
        assert layout is not None
        self.relaxation = relaxation
        self._rows = in_edges(layout)
        for group, by_target in self._rows.items():
            order = torch.tensor([row for rows in by_target.values() for row in rows])
            # Beside the parameters, so that no pass copies it to their device.
            self.register_buffer(f"order_{group}", order.argsort(), persistent=False)
        beta = {}
        for group, by_target in self._rows.items():
            for target, rows in by_target.items():
                beta[f"{group}_{target}"] = nn.Parameter(relaxation.initial(1, len(rows), scale))
        self.beta = nn.ParameterDict(beta)

    def weights(self, function: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """{group: [E]}, in the order of alpha's rows.

        Args:
            function: of the relaxation: beta [1, n] -> weights [1, n].
        """
        return self.in_rows({key: function(beta) for key, beta in self.beta.items()})

    def penalties(self, regularizers: Sequence[Regularizer]) -> list[Tensor]:
        """What regularizers say of beta, a scalar each."""
        betas = list(self.beta.values())
        return [regularizer.edge_penalty(self.relaxation, betas) for regularizer in regularizers]

    def in_rows(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{group: [E]}, in the order of alpha's rows, of values [1, n] by the names in `beta`."""
        result = {}
        for group, by_target in self._rows.items():
            parts = [values[f"{group}_{target}"][0] for target in by_target]
            order = self.get_buffer(f"order_{group}").to(parts[0].device)
            result[group] = torch.cat(parts).index_select(0, order)
        return result
