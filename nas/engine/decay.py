"""Weight decay on what multiplies features, and on nothing else."""

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD


def sgd_on_matrices(
    params: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float, nesterov: bool = True
) -> SGD:
    """SGD that spares scales and biases weight decay: parameters of fewer than two dimensions have none.

    So do the authors of DSO-NAS (their code gives the scales of batch normalisation a decay of 0, and MXNet
    none to biases).

    Args:
        params: of a network.
        lr: learning rate.
        momentum: of Nesterov's kind unless told otherwise.
        weight_decay: of kernels and matrices.
        nesterov: whether the momentum is Nesterov's.
    """
    every = list(params)
    groups = [
        {"params": [one for one in every if one.ndim > 1], "weight_decay": weight_decay},
        {"params": [one for one in every if one.ndim <= 1], "weight_decay": 0.0},
    ]
    return SGD([group for group in groups if group["params"]], lr=lr, momentum=momentum, nesterov=nesterov)
