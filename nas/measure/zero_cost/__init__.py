"""Zero-cost measures of architectures: numbers of networks that nobody has trained."""

from nas.measure.zero_cost.base import Measure, Probe
from nas.measure.zero_cost.registry import MEASURES, SIZES, find_measure

__all__ = ["MEASURES", "SIZES", "Measure", "Probe", "find_measure"]
