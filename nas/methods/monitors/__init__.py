"""Monitors: what watches a search and acts on what it sees, one class per file.

A configuration names them by import path, `method.monitors.<any name>._target_`.
"""

from nas.methods.monitors.base import Decision, Monitor, Seen
from nas.methods.monitors.best_epoch import BestEpoch
from nas.methods.monitors.eigenvalue import AdaptiveRegularization, DominantEigenvalue
from nas.methods.monitors.gradients import GradientAgreement
from nas.methods.monitors.skips import Skips

__all__ = [
    "AdaptiveRegularization",
    "BestEpoch",
    "Decision",
    "DominantEigenvalue",
    "GradientAgreement",
    "Monitor",
    "Seen",
    "Skips",
]
