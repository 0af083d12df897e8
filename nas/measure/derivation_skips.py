"""Derivation with at most so many operations that only pass on."""

import math
from collections.abc import Callable, Mapping

from torch import Tensor

from nas.analysis.sampling import choices_of
from nas.engine.rows import PASSING, count_skips, counted_cell
from nas.errors import require
from nas.genotype import Genotype
from nas.spaces.space import EdgeGroup


def derive_with_skips(
    derive: Callable[[Mapping[str, Tensor]], Genotype],
    scores: Mapping[str, Tensor],
    groups: Mapping[str, EdgeGroup],
    most: int,
) -> Genotype:
    """The architecture that scores stand for where at most `most` operations only pass on.

    As long as there are more, the weakest of them leaves the candidates and the rest is derived again (as in
    P-DARTS, Chen et al. 2019, section 3.3.2).

    Args:
        derive: scores {group: [E, O]} -> architecture.
        scores: what derivation ranks.
        groups: what rows and columns mean.
        most: as `count_skips` counts them.

    Raises:
        ConfigError: edges have nothing else to choose from.
    """
    left = {name: scores_EO.detach().clone() for name, scores_EO in scores.items()}
    while count_skips(genotype := derive(left)) > most:
        name = counted_cell(genotype)
        weakest, row, column = min(
            (float(left[name][row, column]), row, column)
            for row, column in choices_of(genotype, groups)[name]
            if groups[name].operations[row][column] in PASSING
        )
        require(
            weakest > -math.inf,
            f"budget.skips={most}: the edges of cell {name} have no other candidates to choose instead",
        )
        left[name][row, column] = -math.inf
    return genotype
