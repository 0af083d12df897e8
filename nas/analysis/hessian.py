"""The dominant eigenvalue of the Hessian of a loss with respect to the architecture parameters.

Zela et al. 2020 (RobustDARTS) watch it on one batch of the architecture split, network in training mode,
weights not unrolled, and stop a search when it grows. "Dominant" is the largest eigenvalue, not the largest
in magnitude.

Which parameters it is taken for is a basis. For a softmax method there is one, `alpha`. A Dirichlet draw has
no second derivative, so its curvature is that at the mean of the distribution, in two bases: `mu`, the
softmax basis of the theory of Chen et al. 2021 (mu_o = log beta_o - mean log beta), which compares with
DARTS' alpha, and `eta`, the parameters that the search moves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from nas.errors import require_one_of

EXACT_UP_TO = 64
# What a method's `bases()` holds: coordinates at the present architecture, and what the supernet uses there.
Basis = tuple[Sequence[Tensor], Callable[[], dict[str, Tensor]]]


@dataclass(frozen=True)
class Dominant:
    """A dominant eigenvalue and how it was found (`exact` or `lanczos`)."""

    value: float
    mode: str


def hessian_product(
    loss: Callable[[], Tensor], alphas: Sequence[Tensor]
) -> Callable[[np.ndarray], np.ndarray]:
    """V -> H v by double backward, on one graph of the first derivative.

    Args:
        loss: a scalar, differentiable twice in `alphas`; called once.
        alphas: the parameters, concatenated in this order.
    """
    alphas = list(alphas)
    first = torch.autograd.grad(loss(), alphas, create_graph=True, allow_unused=True)
    gradient_N = torch.cat(
        [(torch.zeros_like(a) if g is None else g).flatten() for a, g in zip(alphas, first, strict=True)]
    )

    def product(vector_N: np.ndarray) -> np.ndarray:
        direction_N = torch.as_tensor(np.asarray(vector_N).reshape(-1), dtype=gradient_N.dtype)
        second = torch.autograd.grad(
            gradient_N, alphas, direction_N.to(gradient_N.device), retain_graph=True, allow_unused=True
        )
        parts = [torch.zeros_like(a) if g is None else g for a, g in zip(alphas, second, strict=True)]
        return torch.cat([p.detach().flatten() for p in parts]).double().cpu().numpy()

    return product


def resolved_mode(mode: str, alphas: Sequence[Tensor]) -> str:
    """`exact` or `lanczos`: what `mode` (see `dominant_eigenvalue`) comes to with these parameters.

    Raises:
        ConfigError: the mode is unknown.
    """
    size = sum(a.numel() for a in alphas)
    require_one_of("analysis.hessian.mode", mode, ("auto", "exact", "lanczos"))
    if mode == "auto":
        return "exact" if size <= EXACT_UP_TO else "lanczos"
    # ARPACK needs more than two.
    return "exact" if size <= 2 else mode


def dominant_eigenvalue(
    losses: Sequence[Callable[[], Tensor]],
    alphas: Sequence[Tensor],
    mode: str = "auto",
    weight_decay: float = 0.0,
) -> Dominant:
    """The largest eigenvalue of the Hessian of the mean of some losses.

    Args:
        losses: one function per batch.
        alphas: the parameters, at most a few hundred in all.
        mode: `exact` builds the whole matrix, row by row; `lanczos` needs some 20 to 40 products, whatever
            its size; `auto` is exact up to 64 parameters.
        weight_decay: added to the diagonal.

    Raises:
        ConfigError: the mode is unknown.
    """
    size = sum(a.numel() for a in alphas)
    mode = resolved_mode(mode, alphas)
    products = [hessian_product(loss, alphas) for loss in losses]

    def product(vector_N: np.ndarray) -> np.ndarray:
        return np.mean([p(vector_N) for p in products], axis=0)

    if mode == "exact":
        matrix_NN = np.stack([product(row_N) for row_N in np.eye(size)])
        return Dominant(float(np.linalg.eigvalsh((matrix_NN + matrix_NN.T) / 2)[-1]) + weight_decay, "exact")
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    # A fixed start vector, so that a run repeats itself.
    start_N = np.random.default_rng(0).standard_normal(size)
    try:
        value = eigsh(operator, k=1, which="LA", v0=start_N, tol=1e-4, return_eigenvectors=False)[0]
    except ArpackNoConvergence as error:
        value = error.eigenvalues[0] if len(error.eigenvalues) else float("nan")
    return Dominant(float(value) + weight_decay, "lanczos")


def dominant_in_basis(
    losses: Sequence[Callable[[dict[str, Tensor]], Tensor]],
    basis: Basis,
    mode: str = "auto",
    weight_decay: float = 0.0,
) -> Dominant:
    """The largest eigenvalue of the Hessian of the mean of some losses in a basis.

    Args:
        losses: op weights -> scalar loss, one function per batch.
        basis: one of a method's `bases()`.
        mode: see `dominant_eigenvalue`.
        weight_decay: added to the diagonal.

    Raises:
        ConfigError: the mode is unknown.
    """
    parameters, op_weights = basis
    closed = [lambda loss=loss: loss(op_weights()) for loss in losses]
    return dominant_eigenvalue(closed, parameters, mode, weight_decay)
