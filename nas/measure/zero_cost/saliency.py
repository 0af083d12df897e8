"""Measures from the gradient of the loss in the weights, as Abdelfattah et al. 2021 code them.

Weights are those of convolutions and linear layers. Batch norm stays and normalises by the batch.
"""

import torch
from torch import Tensor, nn

from nas.measure.zero_cost.base import Measure, Probe, gradients, total, weights_of


class Snip(Measure):
    """sum |w * dL/dw|: how much the loss changes if single weights are cut (Lee et al. 2019)."""

    def score(self, network: nn.Module, probe: Probe) -> Tensor:
        """Of the first batch."""
        weights = weights_of(network)
        slopes = gradients(_loss(network, probe), weights)
        return total([(w * g).abs() for w, g in zip(weights, slopes, strict=True)])


class Grasp(Measure):
    """sum -w * (H g): what a cut takes from the flow of gradients (Wang et al. 2020).

    g is the loss's gradient in the weights and H its Hessian, both of the first batch, without a temperature.
    Operations without second derivatives are answered by torch with an error.
    """

    def score(self, network: nn.Module, probe: Probe) -> Tensor:
        """Of the first batch."""
        weights = weights_of(network)
        slopes = gradients(_loss(network, probe), weights, create_graph=True)
        product = torch.stack([(g * g.detach()).sum() for g in slopes]).sum()
        curved = gradients(product, weights)
        return total([-w * c for w, c in zip(weights, curved, strict=True)])


class GradNorm(Measure):
    """Sum over layers of the Euclidean norm of dL/dw."""

    def score(self, network: nn.Module, probe: Probe) -> Tensor:
        """Of the first batch."""
        return total([g.norm() for g in gradients(_loss(network, probe), weights_of(network))])


class Zico(Measure):
    """Sum over layers of log sum mean|g| / std(g), over batches (Li et al. 2023).

    Mean and standard deviation (of the population) are over the gradients of a weight on every batch. Weights
    whose gradient does not change are left out, and layers of which none is left.
    """

    batches = 2

    def score(self, network: nn.Module, probe: Probe) -> float:
        """Of all batches, at the same weights."""
        weights = weights_of(network)
        slopes = [
            gradients(probe.loss(network(images_BCHW), labels_B), weights)
            for images_BCHW, labels_B in probe.batches
        ]
        score = 0.0
        for layer in zip(*slopes, strict=True):
            slopes_NW = torch.stack([g.flatten() for g in layer]).double()
            spread_W = slopes_NW.std(dim=0, correction=0)
            changing_W = spread_W > 0
            ratio = (slopes_NW.abs().mean(dim=0)[changing_W] / spread_W[changing_W]).sum()
            score += float(ratio.log()) if ratio > 0 else 0.0
        return score


def _loss(network: nn.Module, probe: Probe) -> Tensor:
    images_BCHW, labels_B = probe.batches[0]
    return probe.loss(network(images_BCHW), labels_B)
