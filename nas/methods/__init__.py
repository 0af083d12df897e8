"""Search methods: how an architecture is found.

What somebody else's part derives from is `Relaxation`, `Update`, `Regularizer` or `Perturbation`.
"""

from nas.methods.perturbations import Perturbation
from nas.methods.regularizers import Regularizer
from nas.methods.relaxations import Relaxation
from nas.methods.updates import Update

__all__ = ["Perturbation", "Regularizer", "Relaxation", "Update"]
