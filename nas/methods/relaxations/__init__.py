"""Relaxations: how raw architecture parameters become op weights, one idea per file.

A configuration names one by its import path, `method.relaxation._target_`, with its options beside it.
"""

from nas.methods.relaxations.base import Relaxation
from nas.methods.relaxations.concrete import Concrete
from nas.methods.relaxations.connections import Connections
from nas.methods.relaxations.dirichlet import Dirichlet
from nas.methods.relaxations.frequencies import Frequencies
from nas.methods.relaxations.one_hot import HardConcrete, OneHot, WholeDraw
from nas.methods.relaxations.scaling import ScalingFactors
from nas.methods.relaxations.sigmoid import Sigmoid
from nas.methods.relaxations.simplex import Simplex
from nas.methods.relaxations.softmax import Softmax

__all__ = [
    "Concrete",
    "Connections",
    "Dirichlet",
    "Frequencies",
    "HardConcrete",
    "OneHot",
    "Relaxation",
    "ScalingFactors",
    "Sigmoid",
    "Simplex",
    "Softmax",
    "WholeDraw",
]
