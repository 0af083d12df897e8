"""Numbers that are no pixels, as they were measured, on their way into a network.

Pictures are prepared by whoever reads their files. Signals and float images are numbers already, so that what
is left, a mean, a deviation and what is put around them, is part of the programs that are exported.

Shapes: B batch, C channels, H rows, W columns, L time steps, K classes.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import require
from nas.formats.description import Description, TextDescription


class Prepared(nn.Module):
    """A network behind its preprocessing: signals [B, C, L] or images [B, C, H, W], as measured -> logits.

    Args:
        network: prepared images [B, C, H, W] -> logits [B, K].
        description: of it, whose preprocessing is one of floats.
    """

    mean_C11: Tensor
    std_C11: Tensor

    def __init__(self, network: Callable[..., Any], description: Description):
        super().__init__()
        self.network = network
        self.signal = description.signal
        steps = description.preprocessing
        for name, values in (("mean_C11", steps.mean), ("std_C11", steps.std)):
            column = torch.tensor(values, dtype=torch.float32)[:, None, None]
            self.register_buffer(name, column, persistent=False)
        height, width = description.inner or steps.size
        top, left = (steps.size[0] - height) // 2, (steps.size[1] - width) // 2
        self.around = (left, steps.size[1] - width - left, top, steps.size[0] - height - top)

    def prepare(self, x: Tensor) -> Tensor:
        """What the network itself reads, [B, C, H, W], 0 around."""
        x_BCHW = x[:, :, None] if self.signal else x
        return F.pad((x_BCHW - self.mean_C11) / self.std_C11, self.around)

    def forward(self, x: Tensor) -> Any:
        """Of numbers of the described shape without its padding."""
        return self.network(self.prepare(x))


def with_preparation(network: Any, description: Description | TextDescription) -> Any:
    """A network that reads numbers as measured, where they are no pixels; others are returned as they are."""
    if isinstance(description, Description) and description.preprocessing.floats:
        return Prepared(network, description)
    return network


def has_preparation(description: Description | TextDescription) -> bool:
    """Whether exported programs of such a network have their preprocessing inside."""
    return isinstance(description, Description) and description.preprocessing.floats


def as_measured(images_NCHW: Tensor, description: Description) -> Tensor:
    """Images of a source, [N, C, H, W] as padded, as the programs read them: without what was put around."""
    height, width = description.inner or description.preprocessing.size
    top, left = (images_NCHW.shape[2] - height) // 2, (images_NCHW.shape[3] - width) // 2
    inner_NCHW = images_NCHW[:, :, top : top + height, left : left + width]
    return inner_NCHW[:, :, 0] if description.signal else inner_NCHW


def check_measured(x: Tensor, description: Description, where: str) -> Tensor:
    """Numbers for such a program, [N, ...] as float32; signals also as [N, C, 1, L].

    Raises:
        ConfigError: they are of another shape, or no numbers.
    """
    shape, found = list(description.given_shape), list(x.shape)
    if description.signal and x.ndim == 4 and x.shape[2] == 1:
        x = x[:, :, 0]
    if not description.signal and x.ndim == 3 and shape[0] == 1:
        x = x[:, None]
    words = "signals [N, C, L]" if description.signal else "images [N, C, H, W]"
    require(
        list(x.shape[1:]) == shape,
        f"{where} is {found}; this network reads {words} of {shape} ("
        + ("channels, time steps" if description.signal else "channels, height, width")
        + "), as it was trained on",
    )
    x = x.float()
    wrong = ~torch.isfinite(x)
    require(
        not bool(wrong.any()),
        f"{where} holds {int(wrong.sum()):,} numbers that are NaN or infinite, the first at "
        f"{wrong.nonzero()[:1].flatten().tolist()}",
    )
    return x
