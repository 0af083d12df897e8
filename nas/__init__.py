"""Differentiable neural architecture search: space, method, dataset and hardware as four independent choices."""

__version__ = "0.1.0"
