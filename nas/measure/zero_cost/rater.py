"""Measures of one architecture after another, each network from the same seed."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nas.errors import ConfigError
from nas.genotype import Genotype
from nas.measure.steps import Numerics
from nas.measure.zero_cost.base import Batch, Measure, Probe


class Rater:
    """Builds the network of an architecture and measures it.

    Args:
        measures: by the names that their numbers are to have.
        build: the evaluation network of a genotype, without an auxiliary head, on the CPU. Its forward gives
            logits first.
        price: parameters and multiply-adds of that network.
        loss: logits [B, K] and labels [B] -> a scalar.
        example: one input of no particular values.
        batches: as many as the measures ask for, in the numbers of `where`.
        where: device and numbers, without autocast.
        seed: of the weights that every network starts with, and of what it draws in a measure.

    Attributes:
        seconds: what each measure has taken so far.
    """

    def __init__(
        self,
        measures: Mapping[str, Measure],
        build: Callable[[Genotype], nn.Module],
        price: Callable[[Genotype], tuple[int, int]],
        loss: Callable[[Tensor, Tensor], Tensor],
        example: Tensor,
        batches: Sequence[Batch],
        where: Numerics,
        seed: int,
    ):
        self.measures, self.build, self.price, self.loss = dict(measures), build, price, loss
        self.example, self.batches, self.where, self.seed = example, batches, where, seed
        self.seconds = dict.fromkeys(self.measures, 0.0)

    def __call__(self, genotype: Genotype) -> dict[str, float]:
        """The number of every measure; that of an architecture depends on no other.

        Raises:
            ConfigError: its network cannot be built, or not be measured.
            RuntimeError: one breaks down, has no memory or gives no number. Each names the architecture, and
                the measure if it has come to one.
        """
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                network = Logits(self.build(genotype)).to(self.where.device, self.where.dtype)
            params, macs = self.price(genotype)
        except Exception as error:
            raise _named(f"the network of {genotype} cannot be built", error) from error
        probe = Probe(network, self.batches, self.loss, self.example, params, macs, self.seed)
        numbers = {}
        for name, measure in self.measures.items():
            start = time.perf_counter()
            try:
                numbers[name] = measure(probe)
            except Exception as error:
                raise _named(f"measure {name} gives no number of {genotype}", error) from error
            self.seconds[name] += time.perf_counter() - start
        return numbers


def _named(what: str, error: Exception) -> Exception:
    """The error that says what it is of; a mistake of the user's stays one, and want of memory too."""
    if isinstance(error, ConfigError | torch.OutOfMemoryError):
        return type(error)(f"{what}: {error}")
    return RuntimeError(f"{what} ({type(error).__name__}: {error})")


class Logits(nn.Module):
    """An evaluation network that gives its logits alone."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Any:
        """What the network gives first."""
        return self.network(x)[0]
