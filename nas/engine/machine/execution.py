"""Gives a network the options of a hardware profile: the one place where keys become ways to compute."""

from collections.abc import Mapping

from torch import nn

from nas.errors import require
from nas.spaces.native.library import load_library


def apply_execution(network: nn.Module, hardware: Mapping) -> nn.Module:
    """Chooses how a network computes, the same mathematics every way; returns the network.

    Args:
        network: a supernet or an evaluation network; its `execution`, if it has one, is set.
        hardware: the `hardware` group; `native`, `wide`, `recompute` and `compile` are read.

    Raises:
        ConfigError: options that exclude each other.
    """
    check_execution(hardware)
    execution = getattr(network, "execution", None)
    if execution is not None:
        wanted = hardware["native"] and hardware["accelerator"] == "cpu" and not hardware["compile"]
        execution.native = load_library() if wanted else None
        execution.wide = hardware["wide"]
        # A compiler decides by itself what to keep and what to compute again.
        execution.recompute = hardware["recompute"] and not hardware["compile"]
    if hardware["compile"]:
        # In place: a wrapper would rename the parameters, and a run could not be resumed without it.
        network.compile()
    return network


def check_execution(hardware: Mapping) -> None:
    """Raises `ConfigError` where two options of a profile exclude each other."""
    require(
        not (hardware["wide"] and hardware["native"]),
        "hardware.wide=true: wide operators and the compiled kernel exclude each other; set "
        "hardware.native=false",
    )
    require(
        hardware["wide"] or not hardware["recompute"],
        "hardware.recompute=true: only wide operators recompute; set hardware.wide=true",
    )
