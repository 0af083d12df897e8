"""Recurrent cells for language models."""

from nas.spaces.recurrent.space import RecurrentSpace

__all__ = ["RecurrentSpace"]
