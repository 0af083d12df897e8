"""The candidates of all edges that leave one state of a recurrent cell, at one time step.

An edge multiplies its source state by the target node's matrix, which gives a gate c and a vector h;
candidate `op` is the highway update s + sigmoid(c) * (op(h) - s). Their sum, weighted by p, needs neither a
product nor a difference a candidate:

    sum_op p_op (s + sigmoid(c) (op(h) - s)) = P s + sigmoid(c) (sum_op p_op op(h) - P s),   P = sum_op p_op

Shapes: B batch, H hidden units, M edges, S slots in the order of `SLOTS`.
"""

import torch
from torch import Tensor

IDENTITY = "identity"
# The columns of the op weights that computations use; `none` adds nothing and has no slot.
SLOTS = ("tanh", "relu", "sigmoid", IDENTITY)


def mix(products_BM2H: Tensor, state_BH: Tensor, weights_MS: Tensor) -> Tensor:
    """The weighted candidates [B, M, H] by operators that have second derivatives."""
    gate_BMH, h_BMH = products_BM2H.unbind(2)
    tanh, relu, sigmoid, identity = weights_MS[..., None].unbind(1)
    new_BMH = (
        tanh * torch.tanh(h_BMH)
        + relu * torch.relu(h_BMH)
        + sigmoid * torch.sigmoid(h_BMH)
        + identity * h_BMH
    )
    past_BMH = weights_MS.sum(1)[:, None] * state_BH[:, None]
    return past_BMH + torch.sigmoid(gate_BMH) * (new_BMH - past_BMH)


class TorchMix:
    """The weighted candidates and their gradients by torch's operators, on any device, outside autograd."""

    def forward(
        self, products_BM2H: Tensor, state_BH: Tensor, weights_MS: Tensor, sums_BMH: Tensor, fresh: bool
    ) -> None:
        """Writes the weighted candidates to the sums, or adds them."""
        c_BMH, h_BMH = products_BM2H.unbind(2)
        tanh, relu, sigmoid, identity = weights_MS[..., None].unbind(1)
        past_BMH = weights_MS.sum(1)[:, None] * state_BH[:, None]
        new_BMH = torch.tanh(h_BMH).mul_(tanh).addcmul_(torch.relu(h_BMH), relu)
        new_BMH.addcmul_(torch.sigmoid(h_BMH), sigmoid).addcmul_(h_BMH, identity).sub_(past_BMH)
        past_BMH.addcmul_(torch.sigmoid(c_BMH), new_BMH)
        if fresh:
            sums_BMH.copy_(past_BMH)
        else:
            sums_BMH.add_(past_BMH)

    def backward(
        self,
        products_BM2H: Tensor,
        state_BH: Tensor,
        weights_MS: Tensor,
        gradient_BMH: Tensor,
        d_products_BM2H: Tensor,
        d_state_BH: Tensor,
        d_weights_MS: Tensor | None,
    ) -> None:
        """Writes the gradient of the products; adds those of the state and, in double, of the op weights."""
        c_BMH, h_BMH = products_BM2H.unbind(2)
        d_c_BMH, d_h_BMH = d_products_BM2H.unbind(2)
        tanh, relu, sigmoid, identity = weights_MS[..., None].unbind(1)
        total = weights_MS.sum(1)[:, None]
        state_B1H = state_BH[:, None]
        gate_BMH, tanh_BMH, sigmoid_BMH = torch.sigmoid(c_BMH), torch.tanh(h_BMH), torch.sigmoid(h_BMH)
        relu_BMH = torch.relu(h_BMH)
        open_BMH = gradient_BMH * gate_BMH
        shut_BMH = gradient_BMH - open_BMH

        new_BMH = (tanh_BMH * tanh).addcmul_(relu_BMH, relu).addcmul_(sigmoid_BMH, sigmoid)
        new_BMH.addcmul_(h_BMH, identity).addcmul_(state_B1H, total, value=-1)
        torch.mul(new_BMH.mul_(open_BMH), 1 - gate_BMH, out=d_c_BMH)

        slope_BMH = (1 - tanh_BMH.square()).mul_(tanh).add_(identity)
        slope_BMH.addcmul_(sigmoid_BMH * (1 - sigmoid_BMH), sigmoid).addcmul_(
            (h_BMH > 0).to(h_BMH.dtype), relu
        )
        torch.mul(open_BMH, slope_BMH, out=d_h_BMH)

        d_state_BH.add_((shut_BMH * total).sum(1))
        if d_weights_MS is not None:
            past_M = shut_BMH.mul_(state_B1H).sum((0, 2))
            for slot, value_BMH in enumerate((tanh_BMH, relu_BMH, sigmoid_BMH, h_BMH)):
                d_weights_MS[:, slot] += (open_BMH * value_BMH).sum((0, 2)) + past_M
