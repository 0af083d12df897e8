"""Black-box algorithms: searches that see an architecture's figure and nothing else.

What somebody else's algorithm derives from is `Algorithm`.
"""

from nas.algorithms.algorithm import Algorithm
from nas.algorithms.evolution import Evolution
from nas.algorithms.local_search import LocalSearch
from nas.algorithms.random_search import Random
from nas.algorithms.reinforce import Reinforce

__all__ = ["Algorithm", "Evolution", "LocalSearch", "Random", "Reinforce"]
