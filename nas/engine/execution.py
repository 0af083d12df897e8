"""Gives a network the options of a hardware profile: the one place where keys become ways to compute."""

from collections.abc import Mapping

import torch
from torch import nn

from nas.spaces.native.library import load_library


def apply_execution(network: nn.Module, hardware: Mapping) -> nn.Module:
    """Chooses how a network computes, the same mathematics every way; may wrap it.

    Args:
        network: a supernet or an evaluation network; its `execution`, if it has one, is set.
        hardware: the `hardware` group; `native` and `compile` are read.
    """
    execution = getattr(network, "execution", None)
    if execution is not None:
        wanted = hardware["native"] and hardware["accelerator"] == "cpu" and not hardware["compile"]
        execution.native = load_library() if wanted else None
    return torch.compile(network) if hardware["compile"] else network
