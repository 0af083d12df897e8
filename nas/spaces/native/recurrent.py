"""The edges that leave a state of a recurrent cell, weighted and summed by the compiled kernel.

Shapes: B batch, H hidden units, M edges, S slots (tanh, relu, sigmoid, identity).
"""

import ctypes

import torch
from torch import Tensor

from nas.spaces.native.library import Library, pointer


class Call(ctypes.Structure):
    """`Call` of recurrent.cpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("rows", "edges", "c", "threads")),
        *((name, ctypes.c_void_p) for name in ("products", "state", "weights", "sums")),
        *((name, ctypes.c_int64) for name in ("sums_stride", "fresh")),
        *((name, ctypes.c_void_p) for name in ("d_products", "d_state", "d_weights")),
    ]


class NativeMix:
    """The same two functions as `nas.spaces.recurrent.mix.TorchMix`, by the compiled kernel.

    Every tensor is contiguous but for the rows of sums and gradients, which may be further apart.

    Args:
        library: the kernel.
    """

    def __init__(self, library: Library):
        self.library = library

    def forward(
        self, products_BM2H: Tensor, state_BH: Tensor, weights_MS: Tensor, sums_BMH: Tensor, fresh: bool
    ) -> None:
        """Writes the weighted candidates to the sums, or adds them."""
        call = _call(products_BM2H, state_BH, weights_MS, sums_BMH)
        call.fresh = fresh
        self.library.run("recurrent_forward", state_BH.dtype, call)

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
        call = _call(products_BM2H, state_BH, weights_MS, gradient_BMH)
        call.d_products, call.d_state = pointer(d_products_BM2H), pointer(d_state_BH)
        call.d_weights = pointer(d_weights_MS)
        self.library.run("recurrent_backward", state_BH.dtype, call)


def _call(products_BM2H: Tensor, state_BH: Tensor, weights_MS: Tensor, sums_BMH: Tensor) -> Call:
    return Call(
        rows=len(state_BH),
        edges=len(weights_MS),
        c=state_BH.shape[1],
        threads=torch.get_num_threads(),
        products=pointer(products_BM2H),
        state=pointer(state_BH),
        weights=pointer(weights_MS),
        sums=pointer(sums_BMH),
        sums_stride=sums_BMH.stride(0),
    )
