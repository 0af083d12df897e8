"""Where functions draw from that take no generator."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch


@contextmanager
def drawing_from(generator: torch.Generator | None) -> Iterator[None]:
    """Inside the block torch's global generator of that device draws in its place; None for no change.

    The generator moves on by what is drawn, the global one stays where it is. That is for functions that
    take no generator, such as torch's public distributions.
    """
    if generator is None:
        yield
        return
    get, put = torch.get_rng_state, torch.set_rng_state
    if generator.device.type == "cuda":
        get = partial(torch.cuda.get_rng_state, generator.device)
        put = partial(torch.cuda.set_rng_state, device=generator.device)
    own = get()
    put(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(get())
        put(own)
