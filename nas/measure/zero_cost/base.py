"""What a zero-cost measure is: one number of a network at its initialisation, higher for a better one.

Shapes: B images, C channels, H rows, W columns, K classes.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Probe:
    """What a measure may look at.

    Attributes:
        network: images [B, C, H, W] -> logits [B, K], at its initialisation.
        batches: images and labels [B], normalised, not augmented; at least as many as the measure asks for.
        loss: logits and labels -> the mean loss of a batch, a scalar.
        example: one image [1, C, H, W] of no particular values.
        params: parameters of the network.
        macs: multiply-adds of one image.
        seed: of what the network draws while it is measured.
    """

    network: nn.Module
    batches: Sequence[Batch]
    loss: Callable[[Tensor, Tensor], Tensor]
    example: Tensor
    params: int = 0
    macs: int = 0
    seed: int = 0


class Measure(ABC):
    """A measure of an untrained network.

    It is called with a probe and measures a copy of its network: weights, their signs and gradients, the
    statistics of batch norm, the mode and the global generators are afterwards what they were. The copy is in
    training mode, so that batch norm normalises by the batch, as in the authors' code.

    Attributes:
        batches: how many batches it reads at least; 0 where it needs no data.
        domains: what the networks that it measures may read.
        copies: whether `score` gets a copy; without one it is given the probe's own network, and must leave
            that and the global generators as they are.
    """

    batches: int = 1
    copies: bool = True
    domains: tuple[str, ...] = ("images",)

    def __call__(self, probe: Probe) -> float:
        """The number; nan where it is not defined for this network."""
        if not self.copies:
            return float(self.score(probe.network, probe))
        network = copy.deepcopy(probe.network).train()
        for parameter in network.parameters():
            parameter.requires_grad_(True)
            parameter.grad = None
        device = probe.example.device
        with torch.enable_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(probe.seed)
            return float(self.score(network, probe))

    @abstractmethod
    def score(self, network: nn.Module, probe: Probe) -> float | Tensor:
        """The number, a scalar.

        Args:
            network: the copy, which may be changed.
            probe: everything else; its own network and batches are to be left as they are.
        """


def weights_of(network: nn.Module) -> list[Tensor]:
    """The weights of convolutions and linear layers, in order; biases and batch norm's are not among them."""
    return [module.weight for module in network.modules() if isinstance(module, _ConvNd | nn.Linear)]


def gradients(scalar: Tensor, tensors: Sequence[Tensor], create_graph: bool = False) -> list[Tensor]:
    """The gradient of a scalar in each tensor, zeros where it does not depend on one."""
    if not scalar.requires_grad:
        return [torch.zeros_like(tensor) for tensor in tensors]
    return list(
        torch.autograd.grad(
            scalar, tensors, create_graph=create_graph, allow_unused=True, materialize_grads=True
        )
    )


def total(terms: Sequence[Tensor]) -> Tensor:
    """The sum of all entries of all tensors, in double precision."""
    return torch.stack([term.detach().double().sum() for term in terms]).sum()
