"""Which code computes a run's convolutions: sums of a compiled kernel and of torch's differ a little."""

import logging
from typing import Any

from torch import nn

from nas.running.log_files import say

log = logging.getLogger(__name__)
KEY = "kernel"
TORCH = "torch"


def note_kernel(session: Any, network: nn.Module) -> nn.Module:
    """Writes down which kernel a network computes with, and says where it is not the one that was meant.

    The network comes back.

    A compiler that fails once, for memory that others took, leaves a run to torch's own convolutions; the run
    is right, and yet not the same bit by bit as one beside which it compiled.

    Args:
        session: of the run; `summary` gets the key `kernel`.
        network: a supernet or an evaluation network, after `apply_execution`.
    """
    execution = getattr(network, "execution", None)
    if execution is None or not session.leads:
        return network
    native, hardware = execution.native, session.config.hardware
    found = TORCH if native is None else native.name
    session.summary[KEY] = found
    before = session.earlier.get(KEY)
    wanted = hardware.native and hardware.accelerator == "cpu" and not hardware.compile
    if before is not None and before != found:
        log.warning(
            "warning: this run began with the kernel %s and goes on with %s, whose sums differ in their last "
            "digits: it will not end bit by bit as one that was never stopped",
            before, found,
        )  # fmt: skip
    elif wanted and native is None:
        say(
            "kernel:     torch's own convolutions, since the compiled kernel is not at hand (hardware.native)"
        )
    return network
