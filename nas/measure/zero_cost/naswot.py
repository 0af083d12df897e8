"""NASWOT: how differently a network's ReLUs answer different images (Mellor et al. 2021, section 3)."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from nas.measure.zero_cost.base import Measure, Probe

RELUS = (torch.relu, torch.relu_, F.relu, F.relu_, Tensor.relu, Tensor.relu_)


class Naswot(Measure):
    """log |det K| of the binary codes of a batch.

    The code of an image is, for every unit of every ReLU whose output reaches the logits, whether the unit's
    input is above 0. K [B, B] counts the units that agree, ones with ones and zeros with zeros. A batch in
    which two images have one code gives -inf, a network without such ReLUs nan. The paper has batches of 128.
    """

    def score(self, network: nn.Module, probe: Probe) -> float:
        """Of the first batch."""
        kernel_BB = kernel(network, probe.batches[0][0])
        return math.nan if kernel_BB is None else float(torch.linalg.slogdet(kernel_BB).logabsdet)


def kernel(network: nn.Module, images_BCHW: Tensor) -> Tensor | None:
    """K [B, B] in double precision; None where no ReLU lies between the input and the logits."""
    codes = _Codes()
    with codes:
        # What only lies beside the way to the logits gets no gradient.
        logits_BK = network(images_BCHW.detach().clone().requires_grad_())
    logits_BK.sum().backward()
    reached = [matches_BB for matches_BB, seen in codes.matches if seen]
    return torch.stack(reached).sum(dim=0) if reached else None


class _Codes(TorchFunctionMode):
    """Counts the agreements of every ReLU that is called, whoever calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.matches: list[tuple[Tensor, list[bool]]] = []

    def __torch_function__(
        self,
        func: Callable,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func not in RELUS:
            return func(*args, **given)
        x = args[0] if args else given["input"]
        # Before the call, which may overwrite it.
        on_BU = (x.detach() > 0).flatten(1).float()
        matches_BB = (on_BU @ on_BU.T).double() + ((1 - on_BU) @ (1 - on_BU).T).double()
        seen: list[bool] = []
        out = func(*args, **given)
        if out.requires_grad:
            out.register_hook(lambda _: seen.append(True))
        self.matches.append((matches_BB, seen))
        return out
