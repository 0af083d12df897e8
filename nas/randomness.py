"""The random generators that a process shares with everybody in it: Python's, NumPy's and torch's."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def generators_kept(gpus: bool = True) -> Iterator[None]:
    """Puts them back at the end of the block.

    Args:
        gpus: those of GPUs too, where any is in use.
    """
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    own = torch.cuda.get_rng_state_all() if gpus and torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if own:
            torch.cuda.set_rng_state_all(own)
