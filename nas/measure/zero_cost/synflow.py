"""SynFlow: what flows through a network without data (Tanaka et al. 2020)."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas.measure.zero_cost.base import Measure, Probe, gradients, total, weights_of


class Synflow(Measure):
    """sum |w * dR/dw|, where R is the sum of the outputs for an image of ones.

    Every parameter is replaced by its absolute value and batch norm by the identity, in double precision, as
    Abdelfattah et al. 2021 code it; the sum is over the weights of convolutions and linear layers.
    """

    batches = 0

    def score(self, network: nn.Module, probe: Probe) -> Tensor:
        """Of one image of ones."""
        network = without_norms(network).double()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.abs_()
        weights = weights_of(network)
        outputs_1K = network(torch.ones_like(probe.example, dtype=torch.float64))
        flows = gradients(outputs_1K.sum(), weights)
        return total([(w * g).abs() for w, g in zip(weights, flows, strict=True)])


def without_norms(network: nn.Module) -> nn.Module:
    """The network with the identity in the place of every batch norm; changed in place."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                setattr(parent, name, nn.Identity())
    return network
