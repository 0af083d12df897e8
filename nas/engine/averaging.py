"""Averaged stochastic gradient descent: when it begins, and how its weights are looked at."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor, nn
from torch.optim import ASGD, Optimizer


def should_average(earlier: Sequence[float], loss: float, nonmono: int) -> bool:
    """Whether plain steps have ceased to help: the non-monotonic trigger (Merity et al. 2018, algorithm 1).

    Args:
        earlier: validation losses so far, the present one not among them.
        loss: the present one.
        nonmono: how many of the newest earlier ones are left out of the comparison; at least 1.
    """
    return len(earlier) > nonmono and loss > min(earlier[:-nonmono])


def averaged_descent(optimizer: Optimizer) -> ASGD:
    """An optimiser that averages from its second step on, with another's rates and weight decay.

    torch's ASGD with t0 = 0 and lambd = 0 is plain descent that keeps the mean of its iterates; it writes the
    second iterate over the first. Momentum, if the other has any, does not go over.
    """
    keys = ("params", "lr", "weight_decay")
    groups = [{key: group[key] for key in keys} for group in optimizer.param_groups]
    return ASGD(groups, t0=0, lambd=0)


def averages(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The averaged weights by name; the weights themselves where nothing has been averaged yet."""
    return {
        name: optimizer.state.get(parameter, {}).get("ax", parameter.detach())
        for name, parameter in parameters.items()
    }


@contextmanager
def scaled(optimizer: Optimizer, factor: float) -> Iterator[None]:
    """Inside the block the optimiser steps with `factor` times its learning rates."""
    before = [group["lr"] for group in optimizer.param_groups]
    try:
        for group in optimizer.param_groups:
            group["lr"] *= factor
            for parameter in group["params"]:
                state = optimizer.state.get(parameter, {})
                if "eta" in state:
                    # ASGD steps with what it noted down in the step before, which had another factor.
                    state["eta"].fill_(group["lr"])
        yield
    finally:
        for group, rate in zip(optimizer.param_groups, before, strict=True):
            group["lr"] = rate


@contextmanager
def swapped(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor] | None) -> Iterator[None]:
    """Inside the block the parameters have other values, which must not be changed; None for their own."""
    if values is None:
        yield
        return
    own = {name: parameter.data for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.data = values[name]
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = own[name]
