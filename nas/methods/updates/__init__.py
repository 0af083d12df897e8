"""Updates: which derivative of the architecture loss a method follows, one idea per file.

`FirstOrder` takes the weights as given (xi = 0), `Joint` takes it on the weights' own batch, `MixedLevel` on
both batches, `CoordinateDescent` on another batch of the weights' images, `Unrolled` differentiates through
one virtual step of the weights; `Gates`, `ScoreFunction`, `ImportanceWeights` and `WeightsAlone` are for op
weights that are drawn. A configuration names one by its import path, `method.update._target_`, with its
options beside it; null is a method that draws and trains nothing.
"""

from nas.methods.updates.base import ArchitectureGradient, Bilevel, Update
from nas.methods.updates.coordinate_descent import CoordinateDescent
from nas.methods.updates.first_order import FirstOrder
from nas.methods.updates.joint import Joint
from nas.methods.updates.mixed_level import MixedLevel
from nas.methods.updates.sampled import Gates, ImportanceWeights, ScoreFunction, WeightsAlone
from nas.methods.updates.unrolled import Unrolled, VirtualStep, exact_product, finite_difference_product

__all__ = [
    "ArchitectureGradient",
    "Bilevel",
    "CoordinateDescent",
    "FirstOrder",
    "Gates",
    "ImportanceWeights",
    "Joint",
    "MixedLevel",
    "ScoreFunction",
    "Unrolled",
    "Update",
    "VirtualStep",
    "WeightsAlone",
    "exact_product",
    "finite_difference_product",
]
