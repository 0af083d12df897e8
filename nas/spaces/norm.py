"""Batch normalisation as every network here uses it."""

from torch import nn

BN_EPS = 1e-5
BN_MOMENTUM = 0.1


def batch_norm(channels: int, affine: bool) -> nn.BatchNorm2d:
    """Batch normalisation with the epsilon and momentum above; searches use `affine=False`."""
    return nn.BatchNorm2d(channels, eps=BN_EPS, momentum=BN_MOMENTUM, affine=affine)
