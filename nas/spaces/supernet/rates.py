"""Hands a supernet the rates that a method sets: drop-path, dropout of identities, an auxiliary skip."""

from collections.abc import Mapping

from torch import nn

from nas.errors import require
from nas.spaces.space import SKIP
from nas.spaces.supernet.fan_out import AUXILIARY_SKIP, RATES, FanOut
from nas.spaces.supernet.paths import Paths


def share_rates(supernet: nn.Module, rates: Mapping[str, float]) -> None:
    """Lets the edges of a supernet see the rates of a method, which may change them in place.

    Args:
        supernet: whose cells are made of fan-outs.
        rates: name -> value, the names of `nas.spaces.supernet.fan_out.RATES`; may be empty.

    Raises:
        ConfigError: a name is unknown, the supernet has no such edges, an edge runs one candidate alone, or
            an auxiliary skip would halve the resolution on an edge without a `skip_connect`, whose weights it
            shares.
    """
    if not rates:
        return
    unknown = sorted(set(rates) - set(RATES))
    require(not unknown, f"method.regularizers: unknown rates {unknown}; known are {', '.join(RATES)}")
    fan_outs = [module for module in supernet.modules() if isinstance(module, FanOut)]
    require(
        len(fan_outs) > 0,
        f"method.regularizers: {', '.join(rates)} acts on the edges of image cells, and this space has no "
        "such; take a space of the DARTS cell or nasbench201, or a method without it",
    )
    require(
        not any(isinstance(module, Paths) for module in supernet.modules()),
        f"method.regularizers: {', '.join(rates)} acts on edges that run all of their candidates, and this "
        "method's relaxation runs one of them; take another relaxation, or a method without it",
    )
    for fan_out in fan_outs:
        held = len(fan_out.holders.get(SKIP, ())) == len(fan_out.all_targets)
        require(
            AUXILIARY_SKIP not in rates or fan_out.stride == 1 or held,
            f"method.regularizers: {AUXILIARY_SKIP} has the weights of {SKIP} where an edge halves the "
            f"resolution, and not every such edge of this space has {SKIP} in space.operations; add it "
            "there, or take another method",
        )
        fan_out.rates = rates
