"""The cells of DARTS and their subsets S1 to S4."""

from nas.spaces.darts.space import DartsSpace

__all__ = ["DartsSpace"]
