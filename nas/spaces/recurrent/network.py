"""The evaluation network of the recurrent space: a language model with one recurrent cell.

A node takes one predecessor through its matrix and one operation; there is no batch norm. Nodes with the same
predecessor share one product, and so do the words of all time steps and the gradients of a matrix over them.

Shapes: T time steps, B columns of the batch, V words, H hidden units, N nodes, M nodes after a state.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas.genotype import Cell, Genotype
from nas.spaces.recurrent.language_model import (
    FUNCTIONS,
    CellModel,
    Extras,
    Sizes,
    add_times,
    gathered_steps,
    times,
)


class RecurrentNetwork(CellModel):
    """The language model that is trained from scratch (Liu et al. 2019, section 3.2 and appendix A.2.2).

    Args:
        sizes: V, H, X and the dropouts.
        genotype: an architecture with a cell `recurrent`.
    """

    def __init__(self, sizes: Sizes, genotype: Genotype):
        cell = genotype["recurrent"]
        super().__init__(sizes, len(cell.nodes))
        self.genotype = genotype
        self.plan = Plan.of(cell)

    def forward(self, tokens_TB: Tensor, hidden_1BH: Tensor | None = None) -> tuple[Tensor, Tensor, Extras]:
        """Words -> logits [T, B, V], hidden state [1, B, H], extras.

        Raises:
            ConfigError: the hidden state has another shape.
        """
        columns = tokens_TB.shape[1]
        masks = self.draw_masks(columns)
        first_HG = self.first[-self.hidden_size :]
        inputs_TBG = self._inputs(tokens_TB, masks).to(first_HG.dtype)
        hidden_BH = self._start(columns, hidden_1BH)[0]
        raw_TBH = FixedCellOverTime.apply(
            self.plan, inputs_TBG, hidden_BH, masks.hidden_BH, first_HG, self.weights
        )
        return self._decode(raw_TBH, raw_TBH[-1:], masks)


@dataclass(frozen=True)
class Plan:
    """A cell in the order of computation: states in turn, each with the nodes that it feeds.

    Attributes:
        fed: for every state (0 the first, i node i) the nodes whose predecessor it is, counted from 1.
        functions: the operation of every node.
        order: nodes as their matrices lie side by side, so that those of one state are together.
        output: the states whose mean is the output.
    """

    fed: tuple[tuple[int, ...], ...]
    functions: tuple[str, ...]
    order: tuple[int, ...]
    output: tuple[int, ...]

    @classmethod
    def of(cls, cell: Cell) -> "Plan":
        """The plan of a cell with one edge per node."""
        edges = [edge for (edge,) in cell.nodes]
        fed = tuple(
            tuple(node for node, edge in enumerate(edges, start=1) if edge.source == state)
            for state in range(len(edges) + 1)
        )
        order = tuple(node for nodes in fed for node in nodes)
        return cls(fed, tuple(edge.operation for edge in edges), order, cell.output)

    def spans(self) -> list[tuple[int, int, int]]:
        """(state, start, stop) of every state that feeds nodes, as positions in `order`."""
        spans, start = [], 0
        for state, nodes in enumerate(self.fed):
            if nodes:
                spans.append((state, start, start + len(nodes)))
            start += len(nodes)
        return spans


def _slope(name: str, value: Tensor) -> Tensor | None:
    """The derivative of an operation, by its value; None for 1."""
    if name == "tanh":
        return 1 - value.square()
    if name == "sigmoid":
        return value * (1 - value)
    return (value > 0).to(value.dtype) if name == "relu" else None


class FixedCellOverTime(torch.autograd.Function):
    """The cell of a genotype over all time steps. Not twice differentiable.

    `apply(plan, inputs_TBG, hidden_BH, mask_BH, first_HG, weights_NHG)`: G is 2H, and the mask may be None.
    """

    @staticmethod
    def forward(ctx, plan, inputs_TBG, hidden_BH, mask_BH, first_HG, weights_NHG):
        """Returns the cell's outputs [T, B, H]."""
        (steps, columns, width), (nodes, size, _) = inputs_TBG.shape, weights_NHG.shape
        new = first_HG.new_empty
        packed_HW = weights_NHG[[node - 1 for node in plan.order]].transpose(0, 1).flatten(1)
        spans = plan.spans()
        gates_TB2H = new(steps, columns, 2, size)
        # Sigmoid of the gate and the operation's value of all nodes that a state feeds.
        values = [new(steps, columns, stop - start, 2, size) for _, start, stop in spans]
        states_NTBH = new(nodes + 1, steps, columns, size)
        hiddens_TBH = new(steps + 1, columns, size)
        hiddens_TBH[0] = hidden_BH
        for t in range(steps):
            hidden_BH, gates_B2H = hiddens_TBH[t], gates_TB2H[t]
            torch.addmm(
                inputs_TBG[t], times(hidden_BH, mask_BH), first_HG, out=gates_B2H.view(columns, width)
            )
            gate_BH, new_BH = gates_B2H[:, 0].sigmoid_(), gates_B2H[:, 1].tanh_()
            torch.lerp(hidden_BH, new_BH, gate_BH, out=states_NTBH[0, t])
            for (state, start, stop), kept in zip(spans, values, strict=True):
                state_BH, kept_BM2H = states_NTBH[state, t], kept[t]
                torch.mm(
                    times(state_BH, mask_BH), packed_HW[:, start * width : stop * width],
                    out=kept_BM2H.view(columns, -1),
                )  # fmt: skip
                for node, kept_B2H in zip(plan.order[start:stop], kept_BM2H.unbind(1), strict=True):
                    gate_BH, new_BH = kept_B2H[:, 0].sigmoid_(), kept_B2H[:, 1]
                    if plan.functions[node - 1] != "identity":
                        new_BH.copy_(FUNCTIONS[plan.functions[node - 1]](new_BH))
                    torch.lerp(state_BH, new_BH, gate_BH, out=states_NTBH[node, t])
            _mean(states_NTBH[:, t], plan.output, hiddens_TBH[t + 1])
        ctx.plan = plan
        ctx.save_for_backward(mask_BH, first_HG, packed_HW, gates_TB2H, states_NTBH, hiddens_TBH, *values)
        return hiddens_TBH[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, d_outputs_TBH):
        """Gradients of inputs, hidden state and matrices."""
        mask_BH, first_HG, packed_HW, gates_TB2H, states_NTBH, hiddens_TBH, *values = ctx.saved_tensors
        plan = ctx.plan
        spans = plan.spans()
        (steps, columns, _, size), width = gates_TB2H.shape, 2 * gates_TB2H.shape[-1]
        nodes = len(states_NTBH) - 1
        d_gates_TB2H = torch.empty_like(gates_TB2H)
        gathered = gathered_steps(steps, columns)
        d_values = [first_HG.new_empty(gathered, *value.shape[1:]) for value in values]
        d_packed_HW = torch.zeros_like(packed_HW)
        # Transposed once, which every step's product is the faster for.
        packed_WH, first_GH = packed_HW.t().contiguous(), first_HG.t().contiguous()
        d_states_NBH = first_HG.new_empty(nodes + 1, columns, size)
        carried_BH = torch.zeros_like(d_states_NBH[0])
        for t in range(steps - 1, -1, -1):
            place, stop_t = t % gathered, min(t + gathered, steps)
            d_states_NBH.zero_()
            share_BH = (d_outputs_TBH[t] + carried_BH).div_(len(plan.output))
            for state in plan.output:
                d_states_NBH[state].add_(share_BH)
            for (state, start, stop), kept, d_kept in reversed(
                list(zip(spans, values, d_values, strict=True))
            ):
                d_kept_BM2H = d_kept[place]
                for position, node in enumerate(plan.order[start:stop]):
                    passed_BH = _through_highway(
                        plan.functions[node - 1], d_states_NBH[node], states_NTBH[state, t],
                        kept[t, :, position], d_kept_BM2H[:, position],
                    )  # fmt: skip
                    d_states_NBH[state].add_(passed_BH)
                back_BH = d_kept_BM2H.view(columns, -1) @ packed_WH[start * width : stop * width]
                add_times(d_states_NBH[state], back_BH, mask_BH)
                if place == 0:
                    read_BH = times(states_NTBH[state, t:stop_t], mask_BH).view(-1, size)
                    d_read_BW = d_kept[: stop_t - t].view(len(read_BH), -1)
                    d_packed_HW[:, start * width : stop * width].addmm_(read_BH.t(), d_read_BW)
            carried_BH = _through_highway(
                "tanh", d_states_NBH[0], hiddens_TBH[t], gates_TB2H[t], d_gates_TB2H[t]
            )
            add_times(carried_BH, d_gates_TB2H[t].view(columns, width) @ first_GH, mask_BH)
        d_inputs_TBG = d_gates_TB2H.view(steps, columns, width)
        read_BH = times(hiddens_TBH[:-1], mask_BH).view(-1, size)
        d_first_HG = read_BH.t() @ d_inputs_TBG.view(-1, width)
        d_weights_NHG = torch.empty_like(d_packed_HW).view(nodes, size, width)
        d_weights_NHG[[node - 1 for node in plan.order]] = d_packed_HW.view(size, nodes, width).transpose(
            0, 1
        )
        return None, d_inputs_TBG, carried_BH, None, d_first_HG, d_weights_NHG


def _mean(states_NBH: Tensor, chosen: tuple[int, ...], out_BH: Tensor) -> None:
    """The mean of the chosen states, into `out_BH`."""
    picked = states_NBH[chosen[0] : chosen[-1] + 1]
    if len(picked) != len(chosen):
        picked = states_NBH[list(chosen)]
    torch.mean(picked, dim=0, out=out_BH)


def _through_highway(
    name: str, d_next_BH: Tensor, state_BH: Tensor, values_B2H: Tensor, d_products_B2H: Tensor
) -> Tensor:
    """Gradients of next = state + gate * (value - state): writes the product's, returns the state's."""
    gate_BH, value_BH = values_B2H.unbind(1)
    opened_BH = d_next_BH * gate_BH
    torch.mul(opened_BH * (1 - gate_BH), value_BH - state_BH, out=d_products_B2H[:, 0])
    slope_BH = _slope(name, value_BH)
    d_value_BH = d_products_B2H[:, 1]
    if slope_BH is None:
        d_value_BH.copy_(opened_BH)
    else:
        torch.mul(opened_BH, slope_BH, out=d_value_BH)
    return d_next_BH - opened_BH
