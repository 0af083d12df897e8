"""Search methods: how an architecture is found.

What somebody else's part derives from is `Relaxation`, `Update`, `Regularizer`, `Perturbation` or `Monitor`.
"""

from nas.methods.monitors import Monitor
from nas.methods.perturbations import Perturbation
from nas.methods.regularizers import Regularizer
from nas.methods.relaxations import Relaxation
from nas.methods.updates import Update

__all__ = ["Monitor", "Perturbation", "Regularizer", "Relaxation", "Update"]
