"""How much alike a network changes around different images (`jacob_cov` of Abdelfattah et al. 2021)."""

import math

import torch
from torch import nn

from nas.measure.zero_cost.base import Measure, Probe, gradients

SMALL = 1e-5


class Jacov(Measure):
    """-sum(log(v + 1e-5) + 1 / (v + 1e-5)) over the eigenvalues v of a correlation matrix [B, B].

    It is that of the gradients of the sum of all logits in each image (Mellor et al. 2020, first version).
    nan where an image's gradient is the same in every pixel.
    """

    def score(self, network: nn.Module, probe: Probe) -> float:
        """Of the first batch."""
        images_BCHW = probe.batches[0][0].detach().clone().requires_grad_()
        (slopes_BCHW,) = gradients(network(images_BCHW).sum(), [images_BCHW])
        alike_BB = torch.corrcoef(slopes_BCHW.flatten(1).double())
        if not bool(alike_BB.isfinite().all()):
            return math.nan
        shifted_B = torch.linalg.eigvalsh(alike_BB) + SMALL
        return -float((shifted_B.log() + 1 / shifted_B).sum())
