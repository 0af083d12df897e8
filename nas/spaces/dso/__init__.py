"""The fully connected blocks of DSO-NAS."""

from nas.spaces.dso.space import DsoSpace

__all__ = ["DsoSpace"]
