"""Perturbations: at which op weights a weight step is taken, one class per file.

A configuration names one by its import path, `method.perturbation._target_`; null is none.
"""

from nas.methods.perturbations.base import Perturbation
from nas.methods.perturbations.smooth import Adversarial, Random

__all__ = ["Adversarial", "Perturbation", "Random"]
