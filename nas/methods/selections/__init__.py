"""Selections: what a search ends with where alpha alone does not say it, one idea per file.

A configuration names one by its import path, `method.selection._target_`; null is what derivation makes of
alpha.
"""

from nas.methods.selections.base import Selection
from nas.methods.selections.best_of import BestOf
from nas.methods.selections.posterior import PosteriorVariance
from nas.methods.selections.projection import Projection

__all__ = ["BestOf", "PosteriorVariance", "Projection", "Selection"]
