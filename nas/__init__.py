"""Differentiable neural architecture search: space, method, dataset and hardware, chosen apart."""

__version__ = "0.1.0"
