"""The supernet of the recurrent space: a language model whose cell holds every candidate on every edge.

The cell runs by source, as the fan-outs of the other supernets do: one product takes a state to all nodes
after it, whose matrices lie side by side, and one pass weights and adds their candidates. The words of all
time steps are one product, and so are the gradients of a matrix over many steps.

Shapes: T time steps, B columns of the batch, V words, H hidden units, N nodes, E = N(N+1)/2 edges, O
operations, S slots (`recurrent_mix`), M nodes after a state.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nas.errors import require
from nas.spaces.native.recurrent import NativeMix
from nas.spaces.norm import BN_EPS, BN_MOMENTUM
from nas.spaces.recurrent.language_model import CellModel, Extras, Sizes, add_times, gathered_steps, times
from nas.spaces.recurrent.mix import SLOTS, TorchMix, mix
from nas.spaces.space import EdgeGroup, check_op_weights, kept_operations
from nas.spaces.supernet.candidate import Execution

RECURRENT = "recurrent"


@dataclass
class RecurrentExecution(Execution):
    """How the cell computes; of the options of other networks `native` alone means something here.

    Attributes:
        fused: the loop over time as one autograd function, which has no second derivatives; else torch's
            operators one by one.
    """

    fused: bool = True

    @contextmanager
    def twice_differentiable(self) -> Iterator[None]:
        """Inside the block every operator has second derivatives, at whatever cost in speed."""
        fused, self.fused = self.fused, False
        try:
            with super().twice_differentiable():
                yield
        finally:
            self.fused = fused


class RecurrentSupernet(CellModel):
    """The language model that is searched on (Liu et al. 2019, section 3.1.2; the authors' code).

    Every node sums the weighted candidates of all edges to it; the output is the mean of the N nodes. Batch
    norm without parameters follows the first state and every node. As in the authors' code it is one module:
    in training each of the T (N + 1) states of a sequence is normalised by its own batch, and each moves the
    same running statistics, which therefore describe a mixture of all states, the last time steps' foremost
    (after 35 steps nothing of earlier sequences is left). Out of training all states are normalised by that
    mixture.

    Owns no architecture parameter: `forward` applies the op weights it is given.

    Args:
        sizes: V, H, X and the dropouts.
        groups: the edge group `recurrent`.
        num_nodes: N.
        kept: {"recurrent": [E, O], true where the network holds a candidate}; None for all. Candidates have
            no parameters, so one that is dropped is a weight of 0.
    """

    places: Tensor
    order: Tensor

    def __init__(
        self,
        sizes: Sizes,
        groups: Mapping[str, EdgeGroup],
        num_nodes: int,
        kept: Mapping[str, Tensor] | None = None,
    ):
        super().__init__(sizes, num_nodes)
        self.groups = dict(groups)
        self.execution = RecurrentExecution()
        self.norm = nn.BatchNorm1d(sizes.hidden_size, eps=BN_EPS, momentum=BN_MOMENTUM, affine=False)
        group = self.groups[RECURRENT]
        held = kept_operations(group, (kept or {}).get(RECURRENT))
        places_ESO = torch.zeros(len(group.edges), len(SLOTS), group.shape[1])
        for row, names in enumerate(group.operations):
            for column, name in enumerate(names):
                if name in SLOTS and name in held[row]:
                    places_ESO[row, SLOTS.index(name), column] = 1
        # Rows of alpha go by target, the cell by source.
        order = sorted(range(len(group.edges)), key=lambda row: group.edges[row])
        self.register_buffer("places", places_ESO[order], persistent=False)
        self.register_buffer("order", torch.tensor(order), persistent=False)

    def forward(
        self, tokens_TB: Tensor, op_weights: Mapping[str, Tensor], hidden_1BH: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Extras]:
        """Words and op weights {"recurrent": [E, O]} -> logits [T, B, V], hidden state [1, B, H], extras.

        Raises:
            ConfigError: op weights or hidden state have another shape, or batch norm has one column to
                normalise by.
        """
        check_op_weights(self.groups, op_weights)
        columns = tokens_TB.shape[1]
        require(
            columns > 1 or not self.training,
            "dataset.batch_size=1: batch norm needs at least 2 columns in training",
        )
        masks = self.draw_masks(columns)
        inputs_TBG = self._inputs(tokens_TB, masks)
        first_HG = self.first[-self.hidden_size :]
        weights = op_weights[RECURRENT].to(first_HG.dtype)[self.order]
        slots_ES = torch.einsum("eso,eo->es", self.places, weights)
        hidden_BH = self._start(columns, hidden_1BH)[0]
        if self.training:
            assert self.norm.num_batches_tracked is not None
            self.norm.num_batches_tracked += len(tokens_TB) * (self.num_nodes + 1)
        values = (inputs_TBG.to(first_HG.dtype), hidden_BH, masks.hidden_BH, first_HG, self.weights, slots_ES)
        if self.execution.fused:
            raw_TBH = CellOverTime.apply(self._mixer(first_HG), self.norm, *values)
        else:
            raw_TBH = self._by_operators(*values)
        return self._decode(raw_TBH, raw_TBH[-1:], masks)

    def _mixer(self, like: Tensor) -> "TorchMix | NativeMix":
        native = self.execution.native
        return NativeMix(native) if native is not None and native.supports(like) else TorchMix()

    def _by_operators(
        self,
        inputs_TBG: Tensor,
        hidden_BH: Tensor,
        mask_BH: Tensor | None,
        first_HG: Tensor,
        weights_NHG: Tensor,
        slots_ES: Tensor,
    ) -> Tensor:
        """The same as `CellOverTime` by operators with second derivatives."""
        norm, nodes, hidden_size = self.norm, self.num_nodes, self.hidden_size
        packed_HW = weights_NHG.transpose(0, 1).flatten(1)
        slots = by_source(slots_ES, nodes)
        outputs = []
        for inputs_BG in inputs_TBG:
            gate_BH, new_BH = (inputs_BG + times(hidden_BH, mask_BH) @ first_HG).chunk(2, dim=-1)
            total_BH = hidden_BH + torch.sigmoid(gate_BH) * (torch.tanh(new_BH) - hidden_BH)
            state_BH = _normalise(norm, total_BH)
            sums_BMH: Tensor | None = None
            mean_BH = torch.zeros_like(state_BH)
            for source in range(nodes):
                products = times(state_BH, mask_BH) @ packed_HW[:, source * 2 * hidden_size :]
                products_BM2H = products.view(len(products), nodes - source, 2, hidden_size)
                terms_BMH = mix(products_BM2H, state_BH, slots[source])
                sums_BMH = terms_BMH if sums_BMH is None else sums_BMH[:, 1:] + terms_BMH
                state_BH = _normalise(norm, sums_BMH[:, 0])
                mean_BH = mean_BH + state_BH / nodes
            hidden_BH = mean_BH
            outputs.append(hidden_BH)
        return torch.stack(outputs)


def by_source(values_ES: Tensor, nodes: int) -> Sequence[Tensor]:
    """Rows of all edges, ordered by source, cut into those of each: N, N - 1, .., 1 of them."""
    return values_ES.split(list(range(nodes, 0, -1)))


def _normalise(norm: nn.BatchNorm1d, x_BH: Tensor) -> Tensor:
    """Batch norm, without counting: that is done once for a sequence."""
    assert norm.momentum is not None
    return nn.functional.batch_norm(
        x_BH, norm.running_mean, norm.running_var, None, None, norm.training, norm.momentum, norm.eps
    )


class CellOverTime(torch.autograd.Function):
    """The searched cell over all time steps.

    What is kept for the backward pass is what the matrix products give, [T, B, E, 2H], and the states; the
    activations of candidates are computed again. Not twice differentiable.

    `apply(mixer, norm, inputs_TBG, hidden_BH, mask_BH, first_HG, weights_NHG, slots_ES)`: G is 2H; the mask
    may be None; rows of slots are ordered by source. Batch norm's running statistics are updated in training.
    """

    @staticmethod
    def forward(ctx, mixer, norm, inputs_TBG, hidden_BH, mask_BH, first_HG, weights_NHG, slots_ES):
        """Returns the cell's outputs [T, B, H]."""
        (steps, columns, width), (nodes, size, _) = inputs_TBG.shape, weights_NHG.shape
        new = first_HG.new_empty
        packed_HW = weights_NHG.transpose(0, 1).flatten(1)
        slots = [part.contiguous() for part in by_source(slots_ES, nodes)]
        products = [new(steps, columns, nodes - source, 2, size) for source in range(nodes)]
        gates_TB2H = new(steps, columns, 2, size)
        states_NTBH = new(nodes + 1, steps, columns, size)
        scales_TNH = new(steps, nodes + 1, size)
        hiddens_TBH = new(steps + 1, columns, size)
        hiddens_TBH[0] = hidden_BH
        sums_BNH = new(columns, nodes, size)
        for t in range(steps):
            hidden_BH, gates_B2H = hiddens_TBH[t], gates_TB2H[t]
            torch.addmm(
                inputs_TBG[t], times(hidden_BH, mask_BH), first_HG, out=gates_B2H.view(columns, width)
            )
            gate_BH, new_BH = gates_B2H[:, 0].sigmoid_(), gates_B2H[:, 1].tanh_()
            total_BH = torch.lerp(hidden_BH, new_BH, gate_BH)
            for source in range(nodes + 1):
                state_BH = states_NTBH[source, t]
                normal_BH, _, scale_H = torch.native_batch_norm(
                    total_BH, None, None, norm.running_mean, norm.running_var, norm.training, norm.momentum,
                    norm.eps,
                )  # fmt: skip
                state_BH.copy_(normal_BH)
                if norm.training:
                    scales_TNH[t, source] = scale_H
                if source == nodes:
                    break
                found_BM2H = products[source][t]
                torch.mm(
                    times(state_BH, mask_BH), packed_HW[:, source * width :], out=found_BM2H.view(columns, -1)
                )
                mixer.forward(found_BM2H, state_BH, slots[source], sums_BNH[:, source:], source == 0)
                total_BH = sums_BNH[:, source]
            torch.mean(states_NTBH[1:, t], dim=0, out=hiddens_TBH[t + 1])
        if not norm.training:
            scales_TNH.copy_((norm.running_var + norm.eps).rsqrt().expand_as(scales_TNH))
        ctx.mixer, ctx.batch_statistics = mixer, norm.training
        ctx.save_for_backward(
            mask_BH, first_HG, packed_HW, gates_TB2H, states_NTBH, scales_TNH, hiddens_TBH, *slots, *products
        )
        return hiddens_TBH[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, d_outputs_TBH):
        """Gradients of everything that is asked for; matrices are left out in an architecture step."""
        mask_BH, first_HG, packed_HW, gates_TB2H, states_NTBH, scales_TNH, hiddens_TBH, *rest = (
            ctx.saved_tensors
        )
        nodes = len(rest) // 2
        slots, products = rest[:nodes], rest[nodes:]
        (steps, columns, _, size), width = gates_TB2H.shape, 2 * gates_TB2H.shape[-1]
        *_, need_first, need_weights, need_slots = ctx.needs_input_grad
        new = first_HG.new_empty
        d_gates_TB2H = torch.empty_like(gates_TB2H)
        d_packed_HW = torch.zeros_like(packed_HW) if need_weights else None
        d_slots: list[Any] = [
            torch.zeros_like(part, dtype=torch.double) if need_slots else None for part in slots
        ]
        d_sums_BNH, d_state_BH = new(columns, nodes, size), new(columns, size)
        gathered = gathered_steps(steps, columns) if need_weights else 1
        d_products = [new(gathered, *part.shape[1:]) for part in products]
        # Transposed once, which every step's product is the faster for.
        packed_WH, first_GH = packed_HW.t().contiguous(), first_HG.t().contiguous()
        carried_BH = torch.zeros_like(d_state_BH)
        for t in range(steps - 1, -1, -1):
            d_hidden_BH = d_outputs_TBH[t] + carried_BH
            place = t % gathered
            for source in range(nodes, -1, -1):
                state_BH = states_NTBH[source, t]
                if source:
                    torch.div(d_hidden_BH, nodes, out=d_state_BH)
                else:
                    d_state_BH.zero_()
                if source < nodes:
                    d_found_BM2H = d_products[source][place]
                    ctx.mixer.backward(
                        products[source][t], state_BH, slots[source], d_sums_BNH[:, source:], d_found_BM2H,
                        d_state_BH, d_slots[source],
                    )  # fmt: skip
                    d_masked_BH = d_found_BM2H.view(columns, -1) @ packed_WH[source * width :]
                    add_times(d_state_BH, d_masked_BH, mask_BH)
                scale_H = scales_TNH[t, source]
                if ctx.batch_statistics:
                    mean_H, slope_H = d_state_BH.mean(0), (d_state_BH * state_BH).mean(0)
                    d_state_BH.sub_(mean_H).addcmul_(state_BH, slope_H, value=-1)
                if source:
                    torch.mul(d_state_BH, scale_H, out=d_sums_BNH[:, source - 1])
                else:
                    d_state_BH.mul_(scale_H)
            gate_BH, new_BH = gates_TB2H[t].unbind(1)
            hidden_BH, d_gates_B2H = hiddens_TBH[t], d_gates_TB2H[t]
            opened_BH = d_state_BH * gate_BH
            torch.mul(opened_BH * (1 - gate_BH), new_BH - hidden_BH, out=d_gates_B2H[:, 0])
            torch.mul(opened_BH, 1 - new_BH.square(), out=d_gates_B2H[:, 1])
            carried_BH = d_state_BH - opened_BH
            add_times(carried_BH, d_gates_B2H.view(columns, width) @ first_GH, mask_BH)
            if d_packed_HW is not None and place == 0:
                stop = min(t + gathered, steps)
                for source in range(nodes):
                    read_BH = times(states_NTBH[source, t:stop], mask_BH).view(-1, size)
                    d_read_BW = d_products[source][: stop - t].view(len(read_BH), -1)
                    d_packed_HW[:, source * width :].addmm_(read_BH.t(), d_read_BW)
        d_inputs_TBG = d_gates_TB2H.view(steps, columns, width)
        d_first_HG = None
        if need_first:
            read_BH = times(hiddens_TBH[:-1], mask_BH).view(-1, size)
            d_first_HG = read_BH.t() @ d_inputs_TBG.view(-1, width)
        d_weights_NHG = None
        if d_packed_HW is not None:
            d_weights_NHG = d_packed_HW.view(size, nodes, width).transpose(0, 1)
        d_slots_ES = torch.cat(d_slots).to(first_HG.dtype) if need_slots else None
        return None, None, d_inputs_TBG, carried_BH, None, d_first_HG, d_weights_NHG, d_slots_ES
