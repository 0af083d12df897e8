"""Regularizers: terms on the architecture parameters, one class a file.

A configuration names each by its import path, `method.regularizers.<any name>._target_`.
"""

from nas.methods.regularizers.anchor import Anchor
from nas.methods.regularizers.base import Regularizer

__all__ = ["Anchor", "Regularizer"]
