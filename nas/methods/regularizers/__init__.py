"""Regularizers: terms on the architecture parameters, one class per file.

A configuration names each by its import path, `method.regularizers.<any name>._target_`.
"""

from nas.methods.regularizers.anchor import Anchor
from nas.methods.regularizers.auxiliary_skip import AuxiliarySkip
from nas.methods.regularizers.base import Regularizer
from nas.methods.regularizers.beta_decay import BetaDecay
from nas.methods.regularizers.drop_path import DropPath
from nas.methods.regularizers.gate_prior import GatePrior
from nas.methods.regularizers.skip_dropout import SkipDropout
from nas.methods.regularizers.zero_one import ZeroOne

__all__ = [
    "Anchor", "AuxiliarySkip", "BetaDecay", "DropPath", "GatePrior", "Regularizer", "SkipDropout", "ZeroOne",
]  # fmt: skip
