"""Gives a network the options of a hardware profile: the one place where keys become ways to compute."""

from collections.abc import Mapping

from torch import nn

from nas.spaces.native.library import load_library


def apply_execution(network: nn.Module, hardware: Mapping) -> nn.Module:
    """Chooses how a network computes, the same mathematics every way; returns the network.

    Args:
        network: a supernet or an evaluation network; its `execution`, if it has one, is set.
        hardware: the `hardware` group; `native`, `wide`, `recompute` and
            `compile` are read.
    """
    execution = getattr(network, "execution", None)
    if execution is not None:
        wanted = hardware["native"] and hardware["accelerator"] == "cpu" and not hardware["compile"]
        execution.native = load_library() if wanted else None
        execution.wide = hardware["wide"]
        execution.recompute = hardware["recompute"]
    if hardware["compile"]:
        # In place: a wrapper would rename the parameters, and a run could not be resumed without it.
        network.compile()
    return network
