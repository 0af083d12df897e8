"""Weight decay on what multiplies features, and not on what is added to them."""

import inspect
from collections.abc import Callable, Iterable

from torch import nn
from torch.optim import SGD, Optimizer


def sgd_on_matrices(
    params: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float, nesterov: bool = True
) -> SGD:
    """SGD that spares scales and biases weight decay: parameters of fewer than two dimensions have none.

    So do the authors of DSO-NAS in a search (their optimiser gives the scales of batch normalisation a decay
    of 0, and MXNet none to biases); for their evaluations see `sgd_but_biases`.

    Args:
        params: of a network.
        lr: learning rate.
        momentum: of Nesterov's kind unless told otherwise.
        weight_decay: of kernels and matrices.
        nesterov: whether the momentum is Nesterov's.
    """
    every = list(params)
    decayed = [parameter.ndim > 1 for parameter in every]
    return _sgd(every, decayed, lr, momentum, weight_decay, nesterov)


def sgd_but_biases(
    named: Iterable[tuple[str, nn.Parameter]],
    lr: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool = True,
) -> SGD:
    """SGD that spares biases weight decay and nothing else.

    What MXNet's optimisers do unless told otherwise, and so the evaluations of DSO-NAS's authors: the scales
    of batch normalisation decay like kernels.

    Args:
        named: (name, parameter) of a network, whose biases are called so.
        lr: learning rate.
        momentum: of Nesterov's kind unless told otherwise.
        weight_decay: of kernels, matrices and scales.
        nesterov: whether the momentum is Nesterov's.
    """
    every = list(named)
    decayed = [name.rpartition(".")[2] != "bias" for name, _ in every]
    return _sgd([parameter for _, parameter in every], decayed, lr, momentum, weight_decay, nesterov)


def optimizer_of(build: Callable[..., Optimizer], network: nn.Module) -> Optimizer:
    """A network's optimiser. One whose first argument is `named` is given the parameters with their names."""
    first = next(iter(inspect.signature(build).parameters))
    return build(network.named_parameters() if first == "named" else network.parameters())


def _sgd(
    every: list[nn.Parameter],
    decayed: list[bool],
    lr: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
) -> SGD:
    groups = [
        {
            "params": [p for p, wanted in zip(every, decayed, strict=True) if wanted],
            "weight_decay": weight_decay,
        },
        {"params": [p for p, wanted in zip(every, decayed, strict=True) if not wanted], "weight_decay": 0.0},
    ]
    return SGD([group for group in groups if group["params"]], lr=lr, momentum=momentum, nesterov=nesterov)
